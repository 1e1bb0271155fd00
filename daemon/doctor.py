"""Doctor: is everything as dropdock needs it? Each finding is ok, warn or fail, with the mend. Looks only, changes nothing.

What must hold: every check stands in CHECKS and answers for itself, so that one failure hides no other; a `fail` is something that will
lose work or keep the daemon from running, a `warn` something that costs speed or comfort; every warn and fail says what to do.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from PIL import features

from ..rules.ignores import Ignores
from ..rules.measures import show_size
from ..rules.terms import Mode
from ..store.database import migrations
from ..store.history import compared
from ..store.hub import expected
from . import hub, instance
from .app_folders import recognise
from .config import Config
from .explaining import DATABASE, open_memory
from .machine import Machine

COUNTED = 500_000  # folders that are counted at most: past any limit there is
FEW_TIMES = 5  # free space of less than so many times `free_space` is said
CHANGE_DISK = "move it to a local disk"

T = TypeVar("T")


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer: which check, how bad, what was found, and what to do about it."""

    check: str
    level: Level
    text: str
    mend: str = ""


def examine(config: Config, machine: Machine) -> Iterator[Finding]:
    """Every finding, check by check."""
    for check in CHECKS:
        yield from check(config, machine)


# ---------------------------------------------------------------- the daemon and its memory


def _daemon(config: Config, machine: Machine) -> Iterator[Finding]:
    running = instance.find(config.data_dir)
    if running is not None:
        yield Finding("daemon", Level.OK, f"running: pid {running.pid} at {running.url or 'no address yet'}")
        return
    yield Finding("daemon", Level.OK, "not running")
    server = config.server
    if server.port and _listened(server.host, server.port):
        text = f"something else listens at {server.host}:{server.port}"
        yield Finding("daemon", Level.FAIL, text, "end it, or set another `server.port`")
    unit = Path.home() / ".config/systemd/user/dropdock.service"
    if machine.linger is False and unit.exists():
        yield Finding("daemon", Level.WARN, "the user service ends when you log out", 'loginctl enable-linger "$USER"')


def _listened(host: str, port: int) -> bool:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


def _database(config: Config, machine: Machine) -> Iterator[Finding]:
    path = config.data_dir / DATABASE
    if not path.exists():
        yield Finding("database", Level.OK, f"{path} is not there yet: the first start makes it")
        return
    memory = open_memory(path)
    if memory is None:
        yield Finding("database", Level.FAIL, f"{path} cannot be opened", "see its permissions")
        return
    backups = ", ".join(p.name for p in sorted(path.parent.glob(f"{path.name}.before-*"))) or "none"
    restore = f"stop the daemon and put a backup in its place (there: {backups}), or move it away to start anew"
    try:
        said = [str(row[0]) for row in memory.execute("PRAGMA integrity_check(3)")]
        version = int(memory.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.Error as error:
        said, version = [str(error)], 0
    finally:
        memory.close()
    newest = migrations()[-1][0]
    if said != ["ok"]:
        yield Finding("database", Level.FAIL, f"{path} is damaged: {said[0]}", restore)
    elif version > newest:
        yield Finding("database", Level.FAIL, f"{path} is of a newer dropdock", "use that one, or restore the backup it made")
    else:
        later = "" if version == newest else "; the next start brings it up to date, after a backup"
        yield Finding("database", Level.OK, f"{path} is whole, {show_size(path.stat().st_size)}{later}")


# ---------------------------------------------------------------- folders and disks


def _roots(config: Config) -> dict[str, Path]:
    """Name -> folder, of all that we use; the implied dataset watch is `datasets` itself."""
    own = {"data_dir": config.data_dir, "hub": config.hub, "datasets": config.datasets}
    watched = {f"watch {w.name}": w.path for w in config.watches if w.enabled and w.path != config.datasets}
    return own | watched


def _folders(config: Config, machine: Machine) -> Iterator[Finding]:
    """Every folder can be read, and written where we write; what was there before is there."""
    libraries = {f"watch {w.name}" for w in config.watches if w.mode is Mode.LIBRARY}
    when = "next" if (config.data_dir / DATABASE).exists() else "first"
    for name, path in _roots(config).items():
        here = next(p for p in (path, *path.parents) if p.exists())
        if name == "hub" and (why := hub.absent(path, _remembers(config, expected, path) or [])):
            yield Finding("folders", Level.FAIL, why, hub.mend(path))
        elif here != path and name in libraries:
            yield Finding("folders", Level.WARN, f"{name}: {path} is not there", "mount it, or take the watch out")
        elif here != path and _remembers(config, compared, path):
            yield Finding(
                "folders", Level.WARN, f"{name}: {path} is not there any more", f"mount its disk, or make it: mkdir -p {path}"
            )
        elif not here.is_dir():
            yield Finding("folders", Level.FAIL, f"{name}: {here} is no folder", "name another one")
        elif not os.access(here, os.R_OK | os.X_OK):
            yield Finding("folders", Level.FAIL, f"{name}: {here} cannot be read", f"chmod u+rx {here}, or run as its owner")
        elif not os.access(here, os.W_OK):
            level = Level.WARN if name in libraries else Level.FAIL
            yield Finding("folders", level, f"{name}: {here} cannot be written", f"chmod u+w {here}, or run as its owner")
        else:
            yield Finding("folders", Level.OK, f"{name}: {path}" + ("" if here == path else f" (made at the {when} start)"))
    yield from _private(config.data_dir)


def _remembers(config: Config, ask: Callable[[sqlite3.Connection, Path], T], path: Path) -> T | None:
    """What the store says of a folder; None where it cannot be asked, which is a finding of its own."""
    memory = open_memory(config.data_dir / DATABASE)
    if memory is None:
        return None
    try:
        return ask(memory, path)
    except sqlite3.Error:
        return None
    finally:
        memory.close()


def _private(data_dir: Path) -> Iterator[Finding]:
    """The database tells what somebody keeps; a key may stand beside it."""
    if data_dir.is_dir() and os.name == "posix" and stat.S_IMODE(data_dir.stat().st_mode) & 0o077:
        yield Finding("folders", Level.WARN, f"others can look into {data_dir}", f"chmod 700 {data_dir}")


def _disks(config: Config, machine: Machine) -> Iterator[Finding]:
    """The kind of each file system, and its free space."""
    polled = {f"watch {w.name}" for w in config.watches if w.poll is not None}
    disks: dict[Path, list[str]] = {}
    for name, path in _roots(config).items():
        mount = machine.mount_of(path)
        disks.setdefault(mount.point, []).append(name)
        if not mount.network:
            continue
        if name == "data_dir":
            text = f"data_dir lies on a network disk ({mount.kind}): the database can be damaged there"
            yield Finding("disks", Level.FAIL, text, f"{CHANGE_DISK}: `data_dir`")
        elif name.startswith("watch ") and name not in polled:
            text = f"{name} lies on a network disk ({mount.kind}), which sends no events"
            yield Finding("disks", Level.WARN, text, "set `poll: 1 min` for it")
        elif name in ("hub", "datasets"):
            yield Finding("disks", Level.WARN, f"{name} lies on a network disk ({mount.kind}): slow", CHANGE_DISK)
    for point, names in disks.items():
        yield _free(point, names, machine.mount_of(point).kind, config.free_space)


def _free(point: Path, names: list[str], kind: str, floor: int) -> Finding:
    free = shutil.disk_usage(point).free
    text = f"{point} ({kind}): {show_size(free)} free, holds {', '.join(names)}"
    if free < floor:
        return Finding(
            "disks", Level.FAIL, f"{text}; nothing is written below {show_size(floor)}", "make room, or lower `free_space`"
        )
    if free < FEW_TIMES * floor:
        return Finding("disks", Level.WARN, text, "make room soon")
    return Finding("disks", Level.OK, text)


def _watch_limit(config: Config, machine: Machine) -> Iterator[Finding]:
    if machine.watch_limit is None:
        return
    heard = [w for w in config.watches if w.enabled and w.poll is None and w.path.is_dir()]
    folders = sum(_count(w.path, Ignores(w.ignore, w.max_depth)) for w in heard)
    text = f"{folders} folders to watch, {machine.watch_limit} allowed"
    more = max(524_288, 4 * folders)
    mend = f"echo fs.inotify.max_user_watches={more} | sudo tee /etc/sysctl.d/60-dropdock.conf && sudo sysctl --system"
    if folders > machine.watch_limit:
        yield Finding("watch limit", Level.FAIL, f"{text}: changes in the others are found by rescans only", mend)
    elif folders > machine.watch_limit / 2:
        yield Finding("watch limit", Level.WARN, f"{text}, by all programs together", mend)
    else:
        yield Finding("watch limit", Level.OK, text)


def _count(root: Path, ignores: Ignores) -> int:
    """The folders that a watch would watch, itself included."""
    count = 0
    for at, folders, _ in os.walk(root):
        count += 1
        if count >= COUNTED:
            break
        rel = Path(at).relative_to(root)
        folders[:] = [f for f in folders if not ignores.skip((rel / f).as_posix(), True)]
    return count


# ---------------------------------------------------------------- apps and libraries


def _targets(config: Config, machine: Machine) -> Iterator[Finding]:
    for target in config.targets:
        name = f"{target.name}: {target.path}"
        app = recognise(target.path)
        if not target.enabled:
            yield Finding("targets", Level.OK, f"{name} (disabled)")
        elif not target.path.is_dir():
            mend = f"correct `targets.{target.name}.path`, or set `enabled: false`"
            yield Finding("targets", Level.FAIL, f"{name} is not there", mend)
        elif not os.access(target.path, os.W_OK | os.X_OK):
            yield Finding("targets", Level.FAIL, f"{name} cannot be written", f"chmod u+w {target.path}, or run as its owner")
        elif app is not None and app != target.layout:
            mend = f"set `layout: {app}`, or name another folder"
            yield Finding("targets", Level.WARN, f"{name} looks like {app}, not {target.layout}", mend)
        else:
            yield Finding("targets", Level.OK, name + (f" ({app})" if app else ""))


def _engines(config: Config, machine: Machine) -> Iterator[Finding]:
    runtimes = [name for name in machine.packages if name.startswith("onnxruntime")]
    wanted = sorted(c.name for c in config.captioners.values() if c.engine == "onnx")
    shown = ", ".join(f"{name} {machine.packages[name]}" for name in runtimes)
    if len(runtimes) > 1:
        text = f"{shown} are both installed: they overwrite each other's files"
        mend = "pip uninstall onnxruntime onnxruntime-gpu, then install one of the extras cpu and gpu"
        yield Finding("onnxruntime", Level.FAIL, text, mend)
    elif not runtimes and wanted:
        text = f"not installed, and {', '.join(wanted)} need it"
        yield Finding("onnxruntime", Level.FAIL, text, "pipx inject dropdock onnxruntime (or onnxruntime-gpu)")
    elif not runtimes:
        yield Finding("onnxruntime", Level.OK, "not installed, and nothing needs it")
    elif machine.providers is None:
        yield Finding(
            "onnxruntime",
            Level.FAIL,
            f"{shown} cannot be loaded",
            "install it anew; its own words: python -c 'import onnxruntime'",
        )
    elif runtimes == ["onnxruntime-gpu"] and "CUDAExecutionProvider" not in machine.providers:
        mend = "install the extra of your CUDA: gpu for 13, gpu-cu12 for 12"
        yield Finding("onnxruntime", Level.WARN, f"{shown} finds no CUDA: it will run on the processor", mend)
    else:
        yield Finding("onnxruntime", Level.OK, f"{shown}: {', '.join(machine.providers)}")


def _pictures(config: Config, machine: Machine) -> Iterator[Finding]:
    """The formats that people drop; a Pillow that was built by hand may lack some."""
    missing = [name for name, feature in (("JPEG", "jpg"), ("PNG", "zlib"), ("WebP", "webp")) if not features.check(feature)]
    if missing:
        text = f"Pillow cannot decode {', '.join(missing)}"
        yield Finding("pictures", Level.FAIL, text, "install Pillow's own wheel: pip install --force-reinstall pillow")
    elif not features.check("avif"):
        yield Finding("pictures", Level.WARN, "Pillow cannot decode AVIF", "install Pillow's own wheel")
    else:
        yield Finding("pictures", Level.OK, "JPEG, PNG, WebP and AVIF can be decoded")


CHECKS: tuple[Callable[[Config, Machine], Iterator[Finding]], ...] = (
    *(_daemon, _database, _folders, _disks, _watch_limit, _targets, _engines, _pictures),
)
