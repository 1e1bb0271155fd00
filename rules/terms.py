"""The words: every value that travels between rooms, as frozen dataclasses and enums. No synonyms anywhere else.

What must hold: these are plain values (no I/O, no clock, no behaviour beyond derived properties), all hashable or made of
tuples and mappings that nobody changes after they are made, and all survive a trip through JSON (`store/codec.py`), because
the journal keeps them across a crash. Sizes are bytes, times are seconds since the epoch unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

# ---------------------------------------------------------------- what a file is


class Kind(StrEnum):
    """What a file is, told by its content and never by its suffix alone."""

    IMAGE = "image"
    ARCHIVE = "archive"
    MODEL = "model"
    CAPTION = "caption"  # a small UTF-8 text that could stand beside a picture (.txt, .caption)
    OTHER = "other"


class Condition(StrEnum):
    """How far a file can be trusted. `unsafe` and `invalid` are quarantined in an inbox before any rule is asked."""

    OK = "ok"
    UNKNOWN = "unknown"  # a valid container that no signature names
    INCOMPLETE = "incomplete"  # a shard set with shards missing
    INVALID = "invalid"  # damaged, or not what its container says
    NEEDS_TRUST = "needs-trust"  # a pickle with globals that are usual but not plain data (a YOLO, say)
    UNSAFE = "unsafe"  # would run code, or an archive that would write outside its folder


@dataclass(frozen=True, slots=True)
class Stamp:
    """The cheap identity of a file on disk: equal stamps mean "unchanged since we looked"."""

    size: int
    mtime_ns: int
    ino: int
    dev: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """Who says what, and how strongly.

    source is one of structure, metadata, gguf, config, civitai, sidecar, name, folder, override, size; says is "axis=value"
    (type=lora, base=sdxl, looks-like=flux1); weight is 0..1; text is the sentence a person reads.
    """

    source: str
    says: str
    weight: float
    text: str


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """A picture's header. width and height are pixels as stored, before orientation is applied."""

    format: str  # Pillow's name in lower case: jpeg, png, webp, gif, bmp, tiff, avif
    width: int
    height: int
    orientation: int = 1  # EXIF tag 274, 1..8
    animated: bool = False
    mode: str = "RGB"


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """One file of an archive as its directory lists it; kind is a guess from the name, since nothing is unpacked to look."""

    name: str
    size: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class ArchiveFacts:
    """An archive's member list. `total` is the declared unpacked size in bytes. Junk (__MACOSX, Thumbs.db) is not listed."""

    format: str  # zip, tar, tar.gz, tar.bz2, tar.xz
    members: tuple[ArchiveMember, ...]
    total: int

    @property
    def contains(self) -> frozenset[Kind]:
        return frozenset(m.kind for m in self.members)


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a model is, in the vocabulary of docs/models.md; None where an axis does not apply or cannot be told."""

    container: str  # safetensors, gguf, torch-zip, torch-legacy, diffusers
    type: str = "unknown"
    base: str = "unknown"
    variant: str | None = None
    subfamily: str | None = None
    precision: str | None = None
    lora_format: str | None = None
    roles: tuple[str, ...] = ()  # every type the file can serve as, the preferred one first
    confidences: Mapping[str, float] = field(default_factory=dict)  # axis -> 0..1

    @property
    def confidence(self) -> float:
        """The smaller of type's and base's: a sure type with an unsure base is unsure."""
        return min(self.confidences.get("type", 0.0), self.confidences.get("base", 0.0))


@dataclass(frozen=True, slots=True)
class Facts:
    """What a unit is, from its header alone."""

    path: Path  # the lead file, or the folder when the folder is the model
    kind: Kind
    size: int  # bytes of the lead file, or of all files of a folder
    condition: Condition = Condition.OK
    reason: str | None = None  # a slug, e.g. truncated-data; given with every condition but ok
    image: ImageFacts | None = None
    archive: ArchiveFacts | None = None
    model: ModelFacts | None = None
    evidence: tuple[Evidence, ...] = ()
    conflicts: tuple[str, ...] = ()
    folder: bool = False


@dataclass(frozen=True, slots=True)
class Digests:
    """Both digests of one read: sha256 is the content address, xxh3 (xxh3-128) the cheap identity. Lower-case hex."""

    sha256: str
    xxh3: str
    size: int


@dataclass(frozen=True, slots=True)
class Hashes:
    """The hashes by which sites and tools call one file, lower-case hex (handlers/hashes.py has the definitions).

    None: not asked for, or the file has none.
    """

    sha256: str
    autov1: str | None = None
    autov2: str | None = None
    autov3: str | None = None
    blake3: str | None = None
    crc32: str | None = None


@dataclass(frozen=True, slots=True)
class Published:
    """What CivitAI publishes about one content, reduced to what is used. Texts are one line each and bounded (rules/civitai.py)."""

    model: int  # the id of the model's page
    version: int  # the id of the version that holds the file
    name: str  # of the model
    release: str = ""  # the version's own name
    type: str = ""  # as CivitAI writes it: LORA, Checkpoint, ...
    file_type: str = ""  # of the very file: Model, VAE, Text Encoder, ...
    base: str = ""  # its baseModel as it writes it: Flux.1 D, Illustrious, ...
    file: str = ""  # the file's name there
    words: tuple[str, ...] = ()  # the trigger words that its author names
    nsfw: bool = False
    page: str = ""  # the address of the model's page


# ---------------------------------------------------------------- watching


class Mode(StrEnum):
    """What a watch does with what it finds: take it in, track it where it lies, or read back edits of a dataset."""

    INBOX = "inbox"
    LIBRARY = "library"
    DATASET = "dataset"


@dataclass(frozen=True, slots=True)
class Watch:
    """A folder, its mode and its pipeline."""

    name: str
    path: Path
    mode: Mode
    pipeline: str | None = None
    settle: float = 2.0  # seconds of quiet before a unit is looked at
    patience: float = 30.0  # seconds a quiet, closed but unfinished file is waited for
    ignore: tuple[str, ...] = ()  # glob patterns over the path relative to the watch
    max_depth: int | None = None  # folders below the watch root; None is no limit
    enabled: bool = True
    poll: float | None = None  # seconds between polls; None uses file events
    rescan: float = 600.0  # seconds between full comparisons with the store, jittered by a quarter


@dataclass(frozen=True, slots=True)
class FileEvent:
    """A hint that something under a watch changed. Never the truth: only "look at this path again"."""

    watch: str
    path: Path
    closed: bool = False  # a writer closed it, or it was renamed into place: it may be settled sooner


@dataclass(frozen=True, slots=True)
class Arrival:
    """A unit gone quiet, complete and unchanged: a lead file with its companions, or a folder that is one model."""

    watch: str
    lead: Path
    stamp: Stamp
    companions: tuple[Path, ...] = ()
    folder: bool = False
    whole: bool = True  # False: it stayed unfinished beyond the watch's patience


@dataclass(frozen=True, slots=True)
class Departure:
    """A path that the store knows and the disk no longer has."""

    watch: str
    path: Path


# ---------------------------------------------------------------- deciding


@dataclass(frozen=True, slots=True)
class Known:
    """What the store remembers of a unit that rules may ask about; handed in, so that deciding stays pure."""

    seen: bool = False  # the same content was taken in before
    tags: frozenset[str] = frozenset()
    type: str | None = None  # the user's override of the model type
    base: str | None = None  # the user's override of the base
    dataset: str | None = None  # the dataset the picture belongs to
    first_seen: float | None = None
    watch: Watch | None = None


Param = str | int | float | bool | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Action:
    """One instruction as data: a verb of docs/rules.md and its parameters, placeholders already filled."""

    verb: str
    params: Mapping[str, Param] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        """The parameter as text; `default` when it is absent or None."""
        value = self.params.get(name)
        return default if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Check:
    """One condition of a rule as it was asked: key, what was wanted, what was found."""

    key: str
    expected: str
    actual: str
    ok: bool


@dataclass(frozen=True, slots=True)
class RuleTrace:
    """How one rule answered; `checks` ends at the first condition that failed."""

    rule: str
    matched: bool
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What should happen and WHY: the rule (or the built-in reason) that fired, its actions, and how every rule answered."""

    rule: str | None  # None: no rule matched, the unit is left where it is
    actions: tuple[Action, ...] = ()
    trace: tuple[RuleTrace, ...] = ()
    pipeline: str | None = None
    why: str = ""


# ---------------------------------------------------------------- performing


class End(StrEnum):
    """Where a dropped path ended. Its bytes are found there (law 2)."""

    HUB = "hub"
    DATASET = "dataset"
    TRASH = "trash"
    QUARANTINE = "quarantine"
    MOVED = "moved"
    LEFT = "left"
    HELD = "held"


class Status(StrEnum):
    """How an action went."""

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    DEFERRED = "deferred"  # it became a Job


@dataclass(frozen=True, slots=True)
class Move:
    """One rename on one volume, the only way bytes change place. `stamp` is what `src` must still be; None: our own staging.

    A folder moves whole. `dst` must not exist, unless `over` is set (a sidecar of ours that is written anew, or a file that stays
    under another name); `replaces` is what `dst` must still be then. Such a move is never taken back, so it comes last in its list,
    but for what the link that it replaces pointed to. A folder that is replaced must hold just the files of `holds` (relative path and
    stamp); it comes out at `src`, and another move takes it from there.
    """

    src: Path
    dst: Path
    stamp: Stamp | None = None
    over: bool = False
    replaces: Stamp | None = None
    holds: tuple[tuple[str, Stamp], ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The recorded end of one dropped path."""

    path: Path
    end: End
    at: Path
    note: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """One model kept in the hub, or tracked in a library (then `blob` is the library file and `in_hub` is False)."""

    sha256: str
    xxh3: str
    size: int
    name: str  # the file's name as dropped
    blob: Path
    facts: Facts
    in_hub: bool = True
    folder: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One picture of a dataset. `rel` is relative to the dataset's folder, with forward slashes."""

    dataset: str  # slug
    rel: str
    sha256: str
    xxh3: str
    stamp: Stamp
    image: ImageFacts
    dhash: str | None = None  # 64-bit difference hash, 16 hex digits
    flags: tuple[str, ...] = ()  # near-duplicate:REL, small
    origin: str = ""  # the archive or path it came from


@dataclass(frozen=True, slots=True)
class Caption:
    """The text of one picture in one caption set."""

    dataset: str
    rel: str
    set: str
    text: str
    source: str  # imported, generated, manual
    captioner: str = ""
    stamp: Stamp | None = None  # of the .txt beside the picture, once it lies there


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a dataset holds already, for the hand that adds to it."""

    slug: str
    path: Path
    names: frozenset[str] = frozenset()  # relative paths of its pictures
    contents: Mapping[str, str] = field(default_factory=dict)  # sha256 -> rel
    dhashes: Mapping[str, str] = field(default_factory=dict)  # rel -> difference hash
    captioned: frozenset[str] = frozenset()  # relative paths of its pictures that have a text in the active set


@dataclass(frozen=True, slots=True)
class Aside:
    """A file or folder put into the trash or the quarantine, with the reason and until when it is kept."""

    place: End  # TRASH or QUARANTINE
    path: Path
    original: Path
    reason: str
    until: float


@dataclass(frozen=True, slots=True)
class Back:
    """A path that lies again where it came from: held until it changes, or, with `decide`, looked at anew by the rules."""

    path: Path
    stamp: Stamp
    watch: str
    decide: bool = False


@dataclass(frozen=True, slots=True)
class TakenBack:
    """What an undo or a restore makes untrue, beside its moves."""

    line: int | None = None  # the line of history that is undone
    back: tuple[Back, ...] = ()
    items: tuple[tuple[str, str], ...] = ()  # (dataset, rel) of pictures that leave
    datasets: tuple[str, ...] = ()  # slugs of datasets that are gone with their last picture
    models: tuple[tuple[str, Path | None], ...] = ()  # contents that leave the hub, and where they are tracked again
    origins: tuple[tuple[str, Path], ...] = ()  # (SHA-256, dropped path) of names that go
    adopted: tuple[Path, ...] = ()  # places where no link is wanted any more
    tags: tuple[str, ...] = ()
    aside: tuple[int, ...] = ()  # ids of what leaves the trash or the quarantine


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action did, as values that the store records in one transaction with the history line."""

    status: Status
    note: str = ""
    ended: tuple[Ended, ...] = ()
    models: tuple[Model, ...] = ()
    deploy: tuple[str, ...] = ()  # SHA-256 of models that are wanted by targets from now on
    items: tuple[Item, ...] = ()
    captions: tuple[Caption, ...] = ()
    aside: tuple[Aside, ...] = ()
    tags: tuple[str, ...] = ()
    undo: tuple[Move, ...] = ()  # the moves that would take it back
    targets: tuple[str, ...] = ()  # those that `deploy` is about; none named: all
    adopted: tuple[Path, ...] = ()  # places where a link to the (one) model of this Outcome stands and is wanted from now on
    taken_back: TakenBack | None = None
    placed: tuple[tuple[Path, Stamp], ...] = ()  # what `move` and `copy` put somewhere, as it lies there; the lead first


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that is left of an action once its staging is done: the moves that make it real, and the Outcome they make true.

    The journal keeps it; after a crash the moves are finished and the Outcome recorded, or, before any move, it is dropped.
    """

    outcome: Outcome
    moves: tuple[Move, ...] = ()
    staging: tuple[Path, ...] = ()  # folders of ours to clear afterwards


class Lane(StrEnum):
    """Where a job waits: each lane has its own number of workers."""

    HASH = "hash"
    CPU = "cpu"
    NET = "net"
    CAPTION = "caption"


class JobState(StrEnum):
    """A job's life. `failed` is kept with its reason and can be retried; done jobs are pruned after a while."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True)
class Job:
    """An action that waits for a worker. `key` is the idempotency key: while a job of that key is open no second one is made."""

    id: int
    key: str
    lane: Lane
    state: JobState
    payload: Mapping[str, object]
    title: str
    priority: int = 0  # higher first
    attempts: int = 0
    max_attempts: int = 3
    progress: float | None = None  # 0..1
    error: str | None = None
    run_at: float = 0.0
    created: float = 0.0
    finished: float | None = None


# ---------------------------------------------------------------- deploying


@dataclass(frozen=True, slots=True)
class Target:
    """An app that wants files: its root folder and the name of its layout."""

    name: str
    layout: str
    path: Path
    enabled: bool = True
    relative: bool = False  # relative symlinks instead of absolute ones
    map: tuple[tuple[str, str], ...] = ()  # type -> folder below the app's own, over what the layout says


class LinkState(StrEnum):
    """What stands at a wanted link's place."""

    OK = "ok"
    MISSING = "missing"
    BROKEN = "broken"
    ADOPTABLE = "adoptable"  # a user's own file with the same content
    CONFLICT = "conflict"  # a user's own file with other content
    FOREIGN = "foreign"  # somebody else's link
    UNMAPPED = "not mapped"  # the target's layout has no folder for this type


@dataclass(frozen=True, slots=True)
class Link:
    """One symlink that a target should have: `at` is where it stands, `to` the hub file it names."""

    target: str
    type: str
    at: Path
    to: Path
    sha256: str
