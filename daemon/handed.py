"""Handed over: pictures that the command line wants captioned while a daemon runs are captioned by the daemon, in its captioners' turns.

    command line  data_dir/asked/TOKEN  (mode 0600: captioner, style, pictures)  ->  POST /api/v1/caption {"list": TOKEN}  ->  rows
What must hold: nothing is written beside the pictures here, that is the asker's; a model is loaded only in a turn of its own and given
up when somebody waits longer than TURN; an asker that goes away ends the work; lists that nobody asked about go after a day.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..handlers.captioners.protocol import Answer, Picture
from ..rules.captions import Quality, Style
from ..store.codec import dumps, loads
from .captioning_paths import Flow, Unable, worker_of
from .config import CaptionerConfig
from .courtesy import BEAT, NETWORK, Courtesy, card_of, devices
from .frames import News
from .house import House
from .turns import Turn, Turns

FOLDER = "asked"
PRIORITY = 1  # before a bulk run, which somebody watches less closely; behind what is dropped now
TURN = 30.0  # seconds that it goes on while another captioner waits for its turn
HEARTBEAT = 5.0  # seconds without a word after which an empty row says that we are alive
OLD = 86400.0  # seconds after which a list is nobody's
Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Asked:
    """A list: who shall caption, and what."""

    captioner: str
    pictures: tuple[Picture, ...]


# ---------------------------------------------------------------- the list


def leave(data_dir: Path, asked: Asked) -> str:
    """Leave a list for the daemon; its token. Raises OSError."""
    folder = data_dir / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    _clear(folder)
    token = secrets.token_hex(16)
    rows = [[p.id, os.fspath(p.path), p.existing, p.quality] for p in asked.pictures]
    style = dumps(asked.pictures[0].style if asked.pictures else Style())
    body = json.dumps({"with": asked.captioner, "style": style, "pictures": rows})
    with os.fdopen(os.open(folder / token, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(body)
    return token


def withdraw(data_dir: Path, token: str) -> None:
    """Take a list back, when it is still there."""
    (data_dir / FOLDER / token).unlink(missing_ok=True)


def _clear(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for left in folder.iterdir():
            if time.time() - left.stat().st_mtime > OLD:
                left.unlink(missing_ok=True)


def fetch(data_dir: Path, token: str) -> Asked | None:
    """The list of a token, which is gone afterwards; None when there is none that can be read."""
    path = data_dir / FOLDER / token
    try:
        body = path.read_bytes()
        path.unlink(missing_ok=True)
        found = json.loads(body)
        style = loads(Style, found["style"])
        rows = [Picture(int(id), Path(where), style, "", str(there), bool(q)) for id, where, there, q in found["pictures"]]
        return Asked(str(found["with"]), tuple(rows))
    except (OSError, ValueError, KeyError, TypeError):
        return None


# ---------------------------------------------------------------- the daemon's side


class Handed:
    """Implements api.caption_paths.PathCaptions."""

    def __init__(self, house: House, turns: Turns, courtesy: Courtesy) -> None:
        self._house, self._turns, self._courtesy = house, turns, courtesy

    async def take(self, token: str) -> AsyncIterator[Row] | str | None:
        """The rows that are said of a list; a text says why it cannot be worked on, None that there is no such list."""
        asked = await asyncio.to_thread(fetch, self._house.config.data_dir, token)
        if asked is None:
            return None
        config = self._house.config.captioners.get(asked.captioner)
        if config is None:
            return f"The daemon knows no captioner `{asked.captioner}`: `dropdock reload` has it read the configuration."
        return self._rows(config, asked.pictures)

    async def _rows(self, config: CaptionerConfig, pictures: Sequence[Picture]) -> AsyncIterator[Row]:
        said: asyncio.Queue[Row | None] = asyncio.Queue()
        source = _Source(pictures)
        places = devices(config.options, self._courtesy.cards)
        tasks = [asyncio.create_task(self._work(config, device, source, said), name="handed over") for device in places]
        everybody = asyncio.gather(*tasks)
        everybody.add_done_callback(lambda _: said.put_nowait(None))
        try:
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT):
                        row = await said.get()
                except TimeoutError:
                    row = {}
                if row is None:
                    break
                yield row
            yield await _end(everybody)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(
                *tasks, everybody, return_exceptions=True
            )  # `everybody` too: nobody may be left to hear what it raised

    async def _work(self, config: CaptionerConfig, device: str, source: _Source, said: asyncio.Queue[Row | None]) -> None:
        """Turns until every picture is answered. Raises Unable."""
        stir = asyncio.Event()
        card = "" if config.engine in NETWORK else card_of(device, self._courtesy.cards)
        while not source.ended:
            if config.engine in NETWORK:
                await self._flow(config, device, source, said, None)
                continue
            said.put_nowait({"note": "waits for its turn"})
            await self._until_free(config, card, said)
            async with self._turns.taken(config.name, card, PRIORITY, stir.set) as turn:
                await self._flow(config, device, source, said, turn)

    async def _until_free(self, config: CaptionerConfig, card: str, said: asyncio.Queue[Row | None]) -> None:
        least = config.options.get("min_free")
        while why := await self._courtesy.before(card, int(least) if isinstance(least, (int, float)) else 0):
            said.put_nowait({"note": why})
            await asyncio.sleep(BEAT)

    async def _flow(
        self, config: CaptionerConfig, device: str, source: _Source, said: asyncio.Queue[Row | None], turn: Turn | None
    ) -> None:
        """Work until the pictures are done, or somebody else's turn has come."""
        began = time.monotonic()

        def go_on() -> bool:
            return turn is None or self._turns.wanted(turn) is None or time.monotonic() - began < TURN

        def note(text: str) -> None:
            said.put_nowait({"note": text})

        def news(told: News) -> None:
            if told.text:
                note(told.text)

        worker = worker_of(config, device, news)
        try:
            flow = Flow(
                worker,
                source,
                lambda picture, answer: said.put_nowait(row_of(picture, answer)),
                lambda why, seconds: note(f"waits {seconds:.0f} s: {why}"),
                go_on=go_on,
                on_fall=note,
            )
            await flow.run()
        finally:
            await worker.close()


class _Source(Iterator[Picture]):
    """The pictures, which several workers draw from; `ended` once none is left."""

    def __init__(self, pictures: Sequence[Picture]) -> None:
        self._left = list(reversed(pictures))

    @property
    def ended(self) -> bool:
        return not self._left

    def __next__(self) -> Picture:
        if not self._left:
            raise StopIteration
        return self._left.pop()


async def _end(everybody: asyncio.Future[list[None]]) -> Row:
    try:
        await everybody
    except Unable as error:
        return {"stopped": str(error)}
    return {"end": True}


# ---------------------------------------------------------------- rows


def row_of(picture: Picture, answer: Answer) -> Row:
    """A picture's answer as it travels."""
    quality = None if answer.quality is None else asdict(answer.quality)
    row = {"id": picture.id, "text": answer.text, "error": answer.error, "flags": list(answer.flags), "quality": quality}
    return {**row, "votes": dict(answer.votes)} if answer.votes else row


def answer_of(row: Row) -> Answer:
    """The Answer of such a row."""
    flags, scores = row.get("flags"), row.get("quality")
    quality = loads(Quality, json.dumps(scores)) if isinstance(scores, dict) else None
    said = tuple(str(f) for f in flags) if isinstance(flags, list) else ()
    votes = row.get("votes")
    who = tuple((str(tag), tuple(map(str, models))) for tag, models in votes.items()) if isinstance(votes, dict) else ()
    return Answer(str(row.get("text", "")), str(row.get("error", "")), 0.0, said, quality, who)
