"""Does a configuration fit together? Names that must exist, folders that must not swallow each other.

What must hold: each rule here prevents a loss or a loop: an inbox that holds the hub would take in what it stores, two watches
over one file would both act on it, a server beyond loopback without a key would be everybody's.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ..rules.document import Document, Problem, Where, nearest
from ..rules.terms import Mode, Target, Watch


def is_loopback(host: str) -> bool:
    """True when only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def check_server(document: Document, host: str, has_key: bool) -> Iterator[Problem]:
    """Beyond loopback there is a key."""
    if not has_key and not is_loopback(host):
        message = f"{host} can be reached from other machines: set `api_key` too, like api_key: ${{DROPDOCK_API_KEY}}"
        yield document.problem(("server", "host"), message)


def check_civitai(document: Document, url: str, has_token: bool) -> Iterator[Problem]:
    """A token is sent over TLS only, but on this machine."""
    parts = urlsplit(url)
    if has_token and parts.scheme != "https" and not is_loopback(parts.hostname or ""):
        yield document.problem(("civitai", "url"), "`token` would be sent in the clear: expected an address with https://")


def check_pipelines(document: Document, watches: Sequence[Watch], pipelines: Collection[str]) -> Iterator[Problem]:
    """Every watch's pipeline exists."""
    for i, watch in enumerate(watches):
        if watch.pipeline is not None and watch.pipeline not in pipelines:
            message = f"there is no pipeline {watch.pipeline!r}: there are {', '.join(pipelines)}"
            yield document.problem(("watch", i, "pipeline"), message, mend=nearest(watch.pipeline, pipelines))


def check_watches(document: Document, watches: Sequence[Watch]) -> Iterator[Problem]:
    """No two watches share a name, a folder, or part of one. `watches` are those of the document, in its order."""
    names: set[str] = set()
    for i, watch in enumerate(watches):
        if watch.name in names:
            yield document.problem(("watch", i, "name"), f"two watches are called {watch.name!r}")
        names.add(watch.name)
    for (_, first), (i, second) in itertools.combinations(enumerate(watches), 2):
        if not (first.enabled and second.enabled):
            continue
        where: Where = ("watch", i, "path")
        if _same(first.path, second.path):
            yield document.problem(where, f"{second.path} is watched already, as {first.name!r}")
        elif _in(second.path, first.path):
            yield document.problem(where, f"{second.path} lies in {first.path}, which is watched as {first.name!r}")
        elif _in(first.path, second.path):
            yield document.problem(where, f"{first.path}, which is watched as {first.name!r}, lies in {second.path}")


def check_folders(
    document: Document, own: Mapping[str, Path], watches: Sequence[Watch], targets: Sequence[Target]
) -> Iterator[Problem]:
    """Our own folders (`hub`, `datasets`, `data_dir`) against each other, against watches and against targets."""
    hub, datasets = own["hub"], own["datasets"]
    if _in(hub, datasets) or _in(datasets, hub):
        yield document.problem(("datasets",), f"the hub {hub} and the datasets {datasets} must not lie in each other")
    for i, watch in enumerate(watches):
        for message in _swallowed(watch, own):
            yield document.problem(("watch", i, "path"), message)
    seen: dict[str, str] = {}
    for target in targets:
        where: Where = ("targets", target.name, "path")
        real = os.path.realpath(target.path)
        if real in seen:
            yield document.problem(where, f"{target.path} is the folder of the target {seen[real]!r} already")
        seen.setdefault(real, target.name)
        if _in(target.path, hub):
            yield document.problem(where, f"{target.path} lies in the hub: links would stand among what they point to")
        for watch in watches:
            if watch.mode is Mode.INBOX and _in(target.path, watch.path):
                yield document.problem(where, f"{target.path} lies in the inbox {watch.path}")


def _swallowed(watch: Watch, own: Mapping[str, Path]) -> Iterator[str]:
    """What is wrong between one watch and our own folders."""
    for name in ("hub", "datasets", "data_dir"):
        folder = own[name]
        if watch.mode is Mode.DATASET and name == "datasets":
            continue
        if name == "data_dir" and watch.mode is not Mode.INBOX:
            continue  # a library may surround it: hidden folders and our own are not looked at
        if _in(folder, watch.path):
            yield f"`{name}` ({folder}) lies in this watched folder: what is kept there would arrive again"
        elif name != "data_dir" and _in(watch.path, folder):
            yield f"this folder lies in `{name}` ({folder})"


def _same(left: Path, right: Path) -> bool:
    return os.path.realpath(left) == os.path.realpath(right)


def _in(inner: Path, outer: Path) -> bool:
    """True when `inner` is `outer` or lies in it, links resolved."""
    return Path(os.path.realpath(inner)).is_relative_to(os.path.realpath(outer))
