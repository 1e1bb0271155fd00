"""Archive members: what an archive may hold, checked before the first byte is written, and reading them one by one.

What must hold: an archive with traversal, absolute or drive names, links, devices, encrypted or overlapping members, or over a limit,
is refused whole (zipfile would silently rewrite such names and accept overlaps); declared sizes are only believed as far as the
bytes agree; names are repaired before they are judged.
"""

from __future__ import annotations

import itertools
import lzma
import re
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from ..rules.header import Damaged
from ..rules.readers import archives, zipdir
from .task import UnpackLimits

RATIO_FROM = 1 << 20  # bytes: a ratio says nothing of smaller archives
_DRIVE = re.compile(r"^[A-Za-z]:")
DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, ValueError, OSError)


class Refused(Exception):
    """The archive must not be unpacked; the message is the reason for the quarantine."""


@dataclass(frozen=True, slots=True)
class Member:
    """One regular file of an archive, with its repaired name (forward slashes) and declared size."""

    name: str
    size: int
    open_as: object  # what the library calls it


def judge_name(name: str, limits: UnpackLimits) -> str:
    """The name as a relative path. Raises Refused when it points elsewhere, or is too deep or too long."""
    rel = name.replace("\\", "/")
    shown = rel.encode("utf-8", "backslashreplace").decode()[:120]
    if "\0" in rel:
        raise Refused(f"a member's name holds a NUL byte: {shown!r}")
    if rel.startswith("/") or _DRIVE.match(rel):
        raise Refused(f"a member has an absolute name: {shown!r}")
    parts = [p for p in rel.split("/") if p not in ("", ".")]
    if ".." in parts:
        raise Refused(f"a member points outside the archive: {shown!r}")
    if len(parts) - 1 > limits.depth:
        raise Refused(f"a member lies {len(parts) - 1} folders deep, {limits.depth} are allowed: {shown!r}")
    if any(len(p.encode("utf-8", "surrogateescape")) > limits.name for p in parts):
        raise Refused(f"a member's name is longer than {limits.name} bytes: {shown!r}")
    return "/".join(parts)


def _judge_totals(members: Sequence[Member], packed: int, limits: UnpackLimits) -> None:
    total = sum(m.size for m in members)
    if len(members) > limits.files:
        raise Refused(f"the archive holds {len(members)} files, {limits.files} are allowed")
    if total > limits.total:
        raise Refused(f"the archive would unpack to {total >> 20} MiB, {limits.total >> 20} MiB are allowed")
    if total > RATIO_FROM and total > packed * limits.ratio:
        raise Refused(f"the archive would unpack to {total // max(1, packed)} times its size, {limits.ratio:g} times are allowed")


# ---------------------------------------------------------------- ZIP


def zip_members(file: BinaryIO, size: int, limits: UnpackLimits) -> list[Member]:
    """The regular files of a ZIP, all checks done. Raises Refused."""
    found = zipdir.read_directory(file, size)
    if isinstance(found, Damaged):
        raise Refused(f"{found.reason}: {found.text}")
    if len(found) > limits.files * 4:
        raise Refused(f"the archive holds {len(found)} members, {limits.files} files are allowed")
    encoding = guess_encoding([m.raw for m in found if not _is_utf8(m.raw)])
    _no_overlap(file, found)
    members = []
    for m in found:
        name = m.raw.decode("utf-8") if _is_utf8(m.raw) else m.raw.decode(encoding, "replace")
        rel = judge_name(name, limits)
        mode = m.attributes >> 16 & 0o170000 if m.unix else 0
        if mode not in (0, 0o100000, 0o040000):
            raise Refused(f"a member is a link or a device: {rel!r}")
        if m.encrypted:
            raise Refused("the archive needs a password")
        if name.endswith(("/", "\\")) or mode == 0o040000:
            continue
        if m.method not in (0, 8, 9, 12, 14, 93):
            raise Refused(f"a member is packed in a way that is not known (method {m.method}): {rel!r}")
        members.append(Member(rel, m.size, m))
    _judge_totals(members, size, limits)
    return members


def _no_overlap(file: BinaryIO, members: Sequence[zipdir.ZipMember]) -> None:
    spans = []
    for m in members:
        start = zipdir.data_at(file, m)
        if isinstance(start, Damaged):
            raise Refused(f"{start.reason}: {start.text}")
        spans.append((m.offset, start + m.packed))
    spans.sort()
    for (_, end), (start, _) in itertools.pairwise(spans):
        if start < end:
            raise Refused("members of the archive overlap each other")


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


# In the order they are tried; the blocks whose letters speak for each, and the share of all foreign letters they must have.
_ENCODINGS = (
    ("cp932", ("HIRAGANA", "KATAKANA", "CJK"), 0.9),
    ("euc_kr", ("HANGUL",), 0.8),
    ("gb18030", ("CJK",), 0.8),
    ("cp866", ("CYRILLIC SMALL", "CYRILLIC CAPITAL"), 0.95),
    ("cp1251", ("CYRILLIC SMALL", "CYRILLIC CAPITAL"), 0.95),
)
_TWO_FOREIGN = re.compile(r"[^\x00-\x7f]{2}")


def guess_encoding(raws: Sequence[bytes]) -> str:
    """The encoding that names which are not UTF-8 were written in: the first of the usual ones in which they make sense.

    Kana speak for Shift-JIS, Hangul for EUC-KR, Han for GB18030, Cyrillic letters for the Russian pages; else ZIP's own cp437.
    """
    if not raws:
        return "utf-8"
    text = b"\n".join(raws)
    return next((encoding for encoding, blocks, share in _ENCODINGS if _makes_sense(text, encoding, blocks, share)), "cp437")


def _makes_sense(raw: bytes, encoding: str, blocks: tuple[str, ...], share: float) -> bool:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    foreign = [ch for ch in text if ord(ch) > 127]
    known = [unicodedata.name(ch, "") for ch in foreign]
    if not foreign or sum(n.startswith(blocks) for n in known) < share * len(known):
        return False
    if any("HALFWIDTH" in n for n in known):  # half-width katakana is what other encodings look like in Shift-JIS
        return False
    if encoding == "cp932":
        return any(n.startswith(("HIRAGANA", "KATAKANA")) for n in known)
    if (
        encoding == "gb18030"
    ):  # an umlaut of cp437 and the ASCII letter behind it are a rare sign there: usual ones are in GB 2312
        return len("".join(foreign).encode("gb2312", "ignore")) >= 2 * share * len(foreign)
    if encoding in ("cp866", "cp1251"):  # words are mostly small letters side by side; one ß or é among ASCII is no Russian
        return sum("SMALL" in n for n in known) * 2 >= len(known) and _TWO_FOREIGN.search(text) is not None
    return True


class ZipReader:
    """Reads members of a checked ZIP. A member that holds more than it declared, or another checksum, is damage."""

    def __init__(self, path: Path, limits: UnpackLimits) -> None:
        self._file = path.open("rb")
        try:
            self.members = zip_members(self._file, path.stat().st_size, limits)
            self._zip = zipfile.ZipFile(self._file)
            self._infos = {info.header_offset: info for info in self._zip.infolist()}
        except BaseException:
            self._file.close()
            raise

    def read(self, member: Member) -> BinaryIO:
        """An open stream of one member's bytes; its checksum is verified at the end."""
        info = self._infos.get(cast(zipdir.ZipMember, member.open_as).offset)
        if info is None:
            raise Refused(f"the archive's directory contradicts itself at {member.name!r}")
        return cast(BinaryIO, self._zip.open(info))

    def __iter__(self) -> Iterator[tuple[Member, BinaryIO]]:
        for member in self.members:
            yield member, self.read(member)

    def close(self) -> None:
        """Close the archive."""
        self._zip.close()
        self._file.close()


class _Told:
    """An open file that tells of every read, as the fraction 0..1 of it that lies before the next one. Whoever is told may raise."""

    def __init__(self, file: BinaryIO, size: int, tick: Callable[[float], None]) -> None:
        self._file, self._size, self._tick = file, max(1, size), tick
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """Some bytes, once it was told."""
        self._tick(min(1.0, self._file.tell() / self._size))
        return self._file.read(size)


class TarReader:
    """Reads the members of a tar, plain or packed, in one pass; checks each as it comes, so nothing is trusted in advance.

    `tick` hears the fraction of the archive that was read at every read, also while an unwanted member is skipped, and may raise.
    """

    def __init__(self, path: Path, limits: UnpackLimits, tick: Callable[[float], None] = lambda fraction: None) -> None:
        self._limits = limits
        self._packed = path.stat().st_size
        self._file = path.open("rb")
        try:
            told = cast(BinaryIO, _Told(self._file, self._packed, tick))
            self._tar = tarfile.open(fileobj=told, mode="r:*")  # noqa: SIM115  # closed by close()
        except BaseException:
            self._file.close()
            raise

    def __iter__(self) -> Iterator[tuple[Member, BinaryIO]]:
        seen: list[Member] = []
        total = 0
        for info in self._tar:
            rel = judge_name(info.name, self._limits)
            if info.isdir():
                continue
            if not info.isreg():
                raise Refused(f"a member is a link or a device: {rel!r}")
            member = Member(rel, info.size, info)
            seen.append(member)
            total += info.size
            if (
                len(seen) > self._limits.files
                or total > self._limits.total
                or (total > RATIO_FROM and total > self._packed * self._limits.ratio)
            ):
                _judge_totals(seen, self._packed, self._limits)
            stream = self._tar.extractfile(info)
            if stream is not None:
                yield member, cast(BinaryIO, stream)

    def close(self) -> None:
        """Close the archive."""
        self._tar.close()
        self._file.close()


def is_zip(path: Path) -> bool:
    """Whether the archive is a ZIP by its first bytes."""
    with path.open("rb") as file:
        return file.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def strip_top(names: Sequence[str]) -> int:
    """1 when all names lie in one single top folder, which is then dropped; else 0. Junk does not count."""
    tops = {PurePosixPath(n).parts[0] for n in names if not archives.is_junk(n)}
    inside = all(len(PurePosixPath(n).parts) > 1 for n in names if not archives.is_junk(n))
    return int(len(tops) == 1 and inside)
