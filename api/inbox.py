"""Uploads: `curl -F file=@x.zip` puts files into an inbox, as if they had been dropped there.

What must hold: no file of a request appears before all of them are complete and on the disk; then each gets its name, one after the
other, which only a failing disk or the end of the daemon can cut short (the answer to the former says which appeared); the event loop
never waits for the disk; free space is kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import BodyPartReader, ClientError, web
from aiohttp.http_exceptions import HttpProcessingError

from ..rules.ignores import built_in
from . import upload, views
from .keys import CONTROL, SETTINGS
from .problems import Refused
from .queries import Query

CHUNK = 1 << 20  # bytes of one write
CHECK = 64 << 20  # bytes between two looks at the free space
PLAIN = ("", "binary", "7bit", "8bit")  # transfer encodings that mean: these are the file's bytes
MOST_FILES = 1000  # of one request


@dataclass(frozen=True, slots=True)
class Staged:
    """A complete part file, and the name it shall get."""

    part: Path
    name: str
    size: int


async def take(request: web.Request) -> web.Response:
    """Receive the files of a multipart form into the first inbox, or the one that `watch` names."""
    watch = Query(request, "watch").text("watch")
    folder = request.app[CONTROL].inbox(watch)
    if folder is None:
        raise Refused("not-found", f"There is no inbox `{watch}`." if watch else "No inbox is set up: add a watch of mode inbox.")
    if request.content_type != "multipart/form-data":
        raise Refused("unsupported-media-type", "Send a multipart form: curl -F file=@x.zip")
    with _refusals():
        await _need(request, folder, request.content_length or 0)
        async with _staging() as staged:
            async for part in _parts(request):
                staged.append(await _receive(request, part, folder))
            if not staged:
                raise Refused("bad-upload", "The form has no file: curl -F file=@x.zip")
            files = await _publish(staged)
    return views.answer({"watch": watch, "files": files}, 201)


async def _publish(staged: list[Staged]) -> list[views.View]:
    """Give complete files their names. What the disk refuses halfway is told with those that have appeared."""
    files: list[views.View] = []
    for s in staged:
        try:
            path = await asyncio.to_thread(upload.publish, s.part, s.name)
        except OSError as error:
            detail = f"Only {len(files)} of {len(staged)} files were taken in: {error.strerror}."
            raise Refused("inbox-unavailable", detail, files=files) from error
        files.append({"name": path.name, "path": str(path), "size": s.size})
    return files


async def _parts(request: web.Request) -> AsyncIterator[BodyPartReader]:
    """The file parts of the form; anything else in it is refused."""
    reader = await request.multipart()
    count = 0
    while (part := await reader.next()) is not None:
        count += 1
        if not isinstance(part, BodyPartReader) or part.filename is None or count > MOST_FILES:
            raise Refused("bad-upload", f"The form has files only, at most {MOST_FILES}: curl -F file=@x.zip")
        if part.headers.get("Content-Transfer-Encoding", "").lower() not in PLAIN or "Content-Encoding" in part.headers:
            raise Refused("bad-upload", "Files are sent as they are, without an encoding of their own.")
        yield part


@asynccontextmanager
async def _staging() -> AsyncIterator[list[Staged]]:
    """The complete part files of a request; those that were not published are gone afterwards."""
    staged: list[Staged] = []
    try:
        yield staged
    finally:
        for s in staged:
            await asyncio.to_thread(upload.discard, None, s.part)


@contextmanager
def _refusals() -> Iterator[None]:
    """What the disk or the form has against it, as a refusal. A client that went away is nobody to refuse."""
    try:
        yield
    except ConnectionError:
        raise
    except OSError as error:
        if error.errno in upload.NO_SPACE:
            raise Refused("no-space", "The inbox's volume is full.") from error
        raise Refused("inbox-unavailable", f"The inbox cannot be written: {error.strerror}.") from error
    except (ValueError, AssertionError, EOFError, ClientError, HttpProcessingError) as error:
        raise Refused("bad-upload", "The form is not well formed, or it ended too soon.") from error


async def _receive(request: web.Request, part: BodyPartReader, folder: Path) -> Staged:
    """One file into its part file, on the disk when this returns. Nothing is left when it does not."""
    name = upload.safe_name(_unescaped(part.filename or ""))
    if name is None:
        raise Refused("bad-upload", "A file has no usable name.")
    if (reason := built_in(name)) is not None:
        raise Refused("bad-upload", f"A file of this name is never taken in: {reason}.", name=name)
    path = upload.part_path(folder, name)
    file = await asyncio.to_thread(upload.create, path)
    try:
        since_check = 0
        while chunk := await part.read_chunk(CHUNK):
            await asyncio.to_thread(file.write, chunk)
            since_check += len(chunk)
            if since_check >= CHECK:
                since_check = 0
                await _need(request, folder, 0)
        return Staged(path, name, await asyncio.to_thread(upload.finish, file))
    except BaseException:
        await asyncio.to_thread(upload.discard, file, path)
        raise


def _unescaped(name: str) -> str:
    """The name as the sender has it: browsers and curl write quotes and line ends so (HTML, "multipart/form-data"), and nothing else."""
    return name.replace("%22", '"').replace("%0A", "\n").replace("%0D", "\r")


async def _need(request: web.Request, folder: Path, size: int) -> None:
    """Refuse when `size` more bytes would not leave what must stay free."""
    free = await asyncio.to_thread(upload.free, folder)
    least = request.app[SETTINGS].least_free()
    if free < size + least:
        raise Refused("no-space", f"{free} bytes are free, {size + least} would be needed.", free=free, needed=size + least)


def routes() -> list[web.RouteDef]:
    """The routes of this file."""
    return [web.post("/api/v1/inbox", take)]
