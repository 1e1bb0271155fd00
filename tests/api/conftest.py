"""A face over a real store: the application with stand-ins for the daemon, on a real SQLite file and a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from dropdock.api.app import build
from dropdock.api.ports import DaemonStatus, Event, FaceSettings, Family, Reload
from dropdock.api.views import happening
from dropdock.rules.terms import (
    Action,
    Aside,
    Caption,
    End,
    Ended,
    Evidence,
    Facts,
    ImageFacts,
    Item,
    Kind,
    Lane,
    Model,
    ModelFacts,
    Outcome,
    Stamp,
    Status,
    Verdict,
)
from dropdock.store import files, history, jobs, links, models
from dropdock.store.database import Database
from dropdock.store.history import Happening
from dropdock.store.rows import LinkRow
from dropdock.store.store import Entry, NewJob, Store

STAMP = Stamp(10, 123_456_789, 7, 1)
SHA = "ab" * 32
LORA = ModelFacts("safetensors", "lora", "sdxl", confidences={"type": 0.97, "base": 0.8})
START = 1_000_000.0
READY = DaemonStatus("1.2.3", 4711, START, True, waiting=2, workers={"hash": 1, "caption": 1})


@dataclass
class FakeControl:
    """The daemon as far as the face asks it; jobs and watches are changed in the real store."""

    store: Store
    box: Path | None
    state: DaemonStatus = READY
    explained: dict[Path, str] = field(default_factory=dict)
    asked: list[object] = field(default_factory=list)
    dead: tuple[str, ...] = ()
    reloaded: Reload = field(default_factory=Reload)
    families: tuple[Family, ...] = ()

    def status(self) -> DaemonStatus:
        return self.state

    async def rescan(self, watch: str | None, force: bool = False) -> list[str]:
        self.asked.append(("rescan", watch, force))
        names = [w.name for w in await self.store.read(history.watches)]
        if watch is not None and watch not in names:
            raise KeyError(watch)
        if watch == "broken":
            raise RuntimeError("secret inside")
        return names if watch is None else [watch]

    async def pause_watch(self, name: str, paused: bool) -> bool:
        return await self.store.write(history.pause_watch, name, paused)

    async def cancel_job(self, job_id: int) -> bool:
        return await self.store.write(jobs.cancel, job_id, self.store.now()) is not None

    async def pause_job(self, job_id: int) -> bool:
        return await self.store.write(jobs.pause, job_id)

    async def resume_job(self, job_id: int) -> bool:
        return await self.store.write(jobs.resume, job_id)

    async def retry_job(self, job_id: int) -> bool:
        return await self.store.write(jobs.retry, job_id, self.store.now())

    async def pause_lane(self, lane: Lane, paused: bool) -> None:
        await self.store.write(jobs.pause_lane, lane, paused)

    async def explain(self, path: Path) -> str | None:
        self.asked.append(path)
        return self.explained.get(path)

    async def set_type(self, sha256: str, type: str | None, base: str | None) -> None:
        await self.store.write(models.override, sha256, type, base, 1.0)

    def inbox(self, watch: str | None) -> Path | None:
        return self.box if watch in (None, "inbox") else None

    async def failing(self) -> tuple[str, ...]:
        return self.dead

    def settings(self) -> dict[str, object]:
        return {"server": {"port": 8484, "api_key": "***"}}

    async def reload(self) -> Reload:
        return self.reloaded

    def meters(self) -> tuple[Family, ...]:
        return self.families


class FakeFeed:
    """A feed over the real history: replays what is behind `after`, then what is told; None sent by a test ends the stream."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.listeners: set[asyncio.Queue[Event | None]] = set()

    @asynccontextmanager
    async def subscribe(self, after: int | None) -> AsyncIterator[AsyncIterator[Event]]:
        queue: asyncio.Queue[Event | None] = asyncio.Queue()
        if after is not None:
            for row in await self.store.read(history.since, after):
                queue.put_nowait(happening(row))
        self.listeners.add(queue)

        async def events() -> AsyncIterator[Event]:
            while (event := await queue.get()) is not None:
                yield event

        try:
            yield events()
        finally:
            self.listeners.discard(queue)

    def send(self, event: Event | None) -> None:
        for queue in self.listeners:
            queue.put_nowait(event)

    async def tell(self, happened: Happening) -> int:
        """Write a line of history and send it to all listeners, as the daemon does."""
        number = await self.store.write(history.tell, happened, self.store.now())
        self.send(happening((await self.store.read(history.since, number - 1, 1))[0]))
        return number


@dataclass
class Face:
    """The whole set-up of one test."""

    store: Store
    control: FakeControl
    feed: FakeFeed
    box: Path
    settings: FaceSettings

    def app(self, **changes: object):
        return build(self.store, self.control, self.feed, replace(self.settings, **changes))


@pytest.fixture
async def face(tmp_path):
    box = tmp_path / "inbox"
    box.mkdir()
    async with Database(tmp_path / "dropdock.db") as database:
        store = Store(database, lambda: START + 60)
        yield Face(store, FakeControl(store, box), FakeFeed(store), box, FaceSettings(min_free=0))


@pytest.fixture
async def client(face, aiohttp_client):
    return await aiohttp_client(face.app())


async def arrive(store: Store, path: Path, state: str = "queued", *, others: tuple[Path, ...] = (), job: bool = True):
    """A settled model with companions, as the conveyor records it; (file id, job id)."""
    evidence = (Evidence("structure", "type=lora", 0.97, "It has lora_A keys."),)
    facts = Facts(path, Kind.MODEL, STAMP.size, model=LORA, evidence=evidence)
    new = NewJob(f"perform:{path}", Lane.HASH, f"store {path.name}", {"step": 0, "token": "hidden"}) if job else None
    stamps = {p: STAMP for p in (path, *others)}
    unit = files.Unit("inbox", path, stamps, facts, Verdict("models", (Action("store"),), why="surely"), new, state)
    return (await store.take([unit]))[0]


@pytest.fixture
async def full(face):
    """A store with one of everything."""
    store = face.store
    lora = Path("/in/a.safetensors")
    await store.write(history.put_watch, "inbox", Path("/in"), "inbox")
    await store.write(history.put_watch, "comfy", Path("/comfy/models"), "library")
    file_id, job_id = await arrive(store, lora, others=(Path("/in/a.preview.png"),))
    held, _ = await arrive(store, Path("/in/what.bin"), "held", job=False)
    kept = Model(SHA, "cd" * 16, 10, lora.name, Path("/hub/ab/a.safetensors"), Facts(lora, Kind.MODEL, 10, model=LORA))
    ended = Ended(lora, End.HUB, kept.blob)
    done = Outcome(Status.DONE, "kept", ended=(ended,), models=(kept,), deploy=(SHA,))
    await store.record(Entry("store", done, lora, "models", file_id, job_id))
    pictures = tuple(Item("cats", f"{n}.png", f"{n}" * 64, f"{n}" * 32, STAMP, ImageFacts("png", 64, 48)) for n in range(3))
    caption = Caption("cats", "0.png", "", "a cat", "imported", stamp=STAMP)
    bad = Aside(End.QUARANTINE, Path("/in/.dropdock/quarantine/1/x.pkl"), Path("/in/x.pkl"), "would run code", START + 14 * 86400)
    more = Outcome(Status.DONE, "3 pictures", items=pictures, captions=(caption,), aside=(bad,))
    await store.record(Entry("unpack", more, Path("/in/cats.zip"), "zipped", dataset_watch="datasets", datasets_root=Path("/ds")))
    good = LinkRow(Path("/comfy/loras/a.safetensors"), "comfyui", "lora", kept.blob, SHA, "ok", True, "symlink", START)
    await store.write(links.put, [good, replace(good, at=Path("/forge/a.safetensors"), target="forge", state="conflict")])
    queued = await store.enqueue(
        NewJob("hash:1", Lane.HASH, "hash b", {}), NewJob("cap:1", Lane.CAPTION, "caption cats", {"file": held})
    )
    return {"file": file_id, "held": held, "jobs": queued}


@pytest.fixture
def make_arrive():
    return arrive
