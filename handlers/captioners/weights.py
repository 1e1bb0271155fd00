"""Where a tagger's files are: a name of the table, a folder, a repository of the Hugging Face hub, or an address, brought to one folder.

What must hold: a model that is there is not asked for again; a download has a temporary name until it is whole and is never larger than
was said; whatever is in the way (no network, a gated repository, an extra that is not installed) is one line that says what to do, and what
the hub's client says of its retries goes into our log at debug and nowhere else.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import re
import shutil
import urllib.error
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from .registry import LABELS, MODELS, OWN, Entry, NoSuchTagger, described, entries, entry
from .stand_ins import stand_in

if TYPE_CHECKING:
    from tqdm import tqdm

Tell = Callable[[str], None]
MOST = 16_000_000_000  # bytes of one file
CHUNK = 1 << 20
TIMEOUT = 60.0  # seconds without a byte
SPARE = 1_000_000_000  # bytes that stay free on the disk
_log = logging.getLogger("dropdock.weights")  # stderr sees nothing of it where nobody set logs up: in a worker, in a command


class NoWeights(RuntimeError):
    """The files cannot be had; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Hub:
    """How the Hugging Face hub is asked. Empty: as its client finds it (HF_ENDPOINT, HF_HOME, HF_TOKEN, a login)."""

    token: str = ""
    offline: bool = False
    endpoint: str = ""
    cache: Path | None = None


@dataclass(frozen=True, slots=True)
class Weights:
    """A model's files on this machine, and what is known of it."""

    entry: Entry
    model: Path
    labels: Path


def find(name: str, hub: Hub, tell: Tell) -> Weights:
    """The files of a model: a name of the table, a folder (it holds a slash, or begins with a point or ~), owner/repository, or an address.

    Downloads what is missing and tells of it. Raises NoWeights, for what only stands in for a model too, or NoSuchTagger.
    """
    found = _found(name, hub, tell)
    for path in (found.model, found.labels):
        _real(path, str(path))
    return found


def _real(path: Path, called: str) -> None:
    """Raises NoWeights for a file that is a pointer, a page or empty."""
    try:
        what = stand_in(path)
    except OSError as error:
        raise NoWeights(f"{called} cannot be read: {(error.strerror or str(error)).lower()}") from None
    if what:
        raise NoWeights(f"{called} is {what}")


def _found(name: str, hub: Hub, tell: Tell) -> Weights:
    if name.startswith(("http://", "https://")):
        return _from_address(name, hub, tell)
    if name in entries():
        return _from_hub(entries()[name], hub, tell)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return in_folder(folder)
    if folder.is_absolute() or name.startswith((".", "~")):
        raise NoWeights(f"there is no folder {folder}")
    parts = name.split("/")
    if len(parts) >= 2 and all(parts):
        known = next((e for e in entries().values() if e.repo == "/".join(parts[:2]) and e.folder == "/".join(parts[2:])), None)
        plain = replace(described(Path(parts[-1])), repo="/".join(parts[:2]), folder="/".join(parts[2:]))
        return _from_hub(known or plain, hub, tell)
    raise NoSuchTagger(
        f"there is no tagger {name}: name a folder, owner/repository, an address, or one of {', '.join(entries())}"
    )


def is_local(name: str) -> bool:
    """Whether `find` fetches nothing for this name: a folder, or no name that anybody knows."""
    if name.startswith(("http://", "https://")) or name in entries():
        return False
    folder = Path(name).expanduser()
    return folder.is_dir() or folder.is_absolute() or name.startswith((".", "~")) or len(name.split("/")) < 2


def in_folder(folder: Path, known: Entry | None = None) -> Weights:
    """A folder with a model and the names of its scores. Raises NoWeights naming what is missing."""
    entry = known or described(folder)
    model = _first(folder, (*entry.files[:1], *MODELS)) or next(iter(sorted(folder.glob("*.onnx"))), None)
    if model is None:
        raise NoWeights(f"{folder} holds no model.onnx")
    labels = _first(folder, (entry.labels, *LABELS))
    if labels is None:
        raise NoWeights(f"{folder} holds no names of tags: {LABELS[0]} is missing")
    return Weights(entry, model, labels)


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if name and (folder / name).is_file()), None)


# ---------------------------------------------------------------- the hub


def _from_hub(known: Entry, hub: Hub, tell: Tell) -> Weights:
    model, *others = known.files
    labels = known.labels or LABELS[0]
    found = [_fetched(known, file, hub, tell) for file in (labels, *others, model)]
    folder = found[-1].parent
    own = described(folder) if (folder / OWN).is_file() or known.name not in entries() else known
    if "preprocess.json" in known.files:
        own = replace(described(folder), name=known.name)
    return Weights(replace(own, name=known.name), found[-1], found[0])


def _fetched(known: Entry, file: str, hub: Hub, tell: Tell) -> Path:
    """One file of a repository in the hub's own cache. Raises NoWeights."""
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
    except ImportError as error:
        mend = "pipx inject dropdock huggingface_hub (or pip install 'dropdock[hub]'), or name a folder"
        raise ImportError(f"{known.name} has to be downloaded and huggingface_hub is not installed: {mend}") from error

    _hush()
    try:
        return Path(
            hf_hub_download(
                known.repo,
                file,
                subfolder=known.folder or None,
                revision=known.revision,
                token=hub.token or None,
                endpoint=hub.endpoint or None,
                cache_dir=hub.cache,
                local_files_only=hub.offline,
                tqdm_class=_progress(f"downloading {known.name}: {file}", tell),
            )
        )
    except GatedRepoError:
        page = f"https://huggingface.co/{known.repo}"
        raise NoWeights(f"{known.repo} wants its terms accepted: accept them at {page}, then set `token` or HF_TOKEN") from None
    except RepositoryNotFoundError:
        raise NoWeights(f"the hub has no repository {known.repo}, or shows it only with a token (`token` or HF_TOKEN)") from None
    except LocalEntryNotFoundError as error:
        raise NoWeights(_absent(known, file, hub, error)) from None
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise NoWeights(f"{known.repo}/{file} cannot be downloaded: {_line(error)}") from None


def _hush() -> None:
    """Have the hub's client print nothing: it brings a handler of its own that writes every retry to stderr, below our bar."""
    theirs = logging.getLogger("huggingface_hub")
    if not any(isinstance(handler, _ToDebug) for handler in theirs.handlers):
        theirs.handlers[:] = [_ToDebug()]
        theirs.propagate = False
        _log.setLevel(logging.DEBUG)
        warnings.filterwarnings("ignore", module="huggingface_hub")  # little room, no links: what comes of it is told as an error


class _ToDebug(logging.Handler):
    """What the hub's client says, in our log, a line each, without the signatures that its addresses carry."""

    def emit(self, record: logging.LogRecord) -> None:
        _log.debug("huggingface_hub: %s", re.sub(r"\?\S+", "?…", " ".join(record.getMessage().split())))


def _progress(what: str, tell: Tell) -> type[tqdm]:
    """The bar that the client draws, as one that tells instead: at most once a hundredth."""
    from tqdm import tqdm

    class Progress(tqdm):  # type: ignore[misc]  # it has no types
        """Counts bytes."""

        said = -1

        def __init__(self, *args: object, **rest: object) -> None:
            super().__init__(*args, **{**rest, "disable": False, "file": _Silent()})

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            part = int(100 * self.n / self.total) if self.total else 0
            if part != self.said and self.unit == "B":
                self.said = part
                tell(f"{what} {part} %")
            return bool(shown)

    return Progress


class _Silent:
    """Where a bar that nobody sees is drawn."""

    def write(self, text: str) -> int:
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""


def _absent(known: Entry, file: str, hub: Hub, error: Exception) -> str:
    if hub.offline or os.environ.get("HF_HUB_OFFLINE", "") in ("1", "true", "True", "ON"):
        return f"{known.repo}/{file} is not in the cache and this is offline: download it once, or name a folder that holds it"
    cause = error.__cause__ or error
    return f"{known.repo}/{file} is not in the cache and the hub does not answer: {_line(cause)}"


def _line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]


# ---------------------------------------------------------------- addresses


def _from_address(address: str, hub: Hub, tell: Tell) -> Weights:
    """A folder behind http, or its model: what is needed of it, in a folder of our own cache that is named by the address."""
    parts = urllib.parse.urlsplit(address)
    path = parts.path.rstrip("/")
    base, file = path.rsplit("/", 1) if path.endswith(".onnx") else (path, MODELS[0])
    name = base.rsplit("/", 1)[-1] or parts.hostname or "tagger"
    known = entries().get(name)
    cache = hub.cache or Path(platformdirs.user_cache_dir("dropdock")) / "taggers"
    folder = cache / hashlib.sha256(address.encode()).hexdigest()[:16] / name
    files = [(known.labels if known else "") or LABELS[0], *(known.files[1:] if known else ()), known.files[0] if known else file]
    for wanted in files:
        if not (folder / wanted).is_file():
            if hub.offline:
                raise NoWeights(f"{address} was never downloaded and this is offline")
            at = urllib.parse.urlunsplit(parts._replace(path=f"{base}/{urllib.parse.quote(wanted)}"))
            download(at, folder / wanted, lambda part, wanted=wanted: tell(f"downloading {name}: {wanted} {part} %"))  # type: ignore[misc]
    return in_folder(folder, known or entry(name, {"files": [files[-1]], "activation": "auto", "thresholds": {}}))


def download(address: str, path: Path, told: Callable[[int], None], most: int = MOST) -> None:
    """A file of at most `most` bytes, whole or not at all; `told` hears each percent. Raises NoWeights."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer, part.open("wb") as file:  # nosec B310: http and https only, see find()
            size = int(answer.headers.get("Content-Length") or 0)
            room = shutil.disk_usage(path.parent).free - SPARE
            if size > min(most, room):
                raise NoWeights(f"{address} has {size:,} bytes and {max(0, min(most, room)):,} are what may be taken")
            done, said = 0, -1
            while chunk := answer.read(CHUNK):
                done += len(chunk)
                if done > min(most, room):
                    raise NoWeights(f"{address} is larger than what may be taken")
                file.write(chunk)
                if size and 100 * done // size != said:
                    said = 100 * done // size
                    told(said)
            if size and done != size:
                raise NoWeights(f"{address} broke off after {done:,} of {size:,} bytes")
            file.flush()
            os.fsync(file.fileno())
        _real(part, f"what {address} gives")  # kept, it would never be fetched again
        part.replace(path)
    except urllib.error.HTTPError as error:
        raise NoWeights(f"{address} answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoWeights(f"{address} cannot be downloaded: {_line(error)}") from None
    finally:
        part.unlink(missing_ok=True)
