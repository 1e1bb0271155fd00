"""Captioning: how near the pipeline comes to what the model alone can do, and to what the scripts that people use do.

`./run bench caption --quick` takes fewer pictures; `--only tiny` (vit, card, idle, long) one part. Everything is made once into the cache
folder (DROPDOCK_BENCH_CACHE, else ~/.cache/dropdock-bench; 0.8 GB).
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import onnxruntime
import psutil
from _bench import Figure, check, report
from _dropped import beyond
from _images import pictures
from _loops import SIDE, Script, load
from _models import TAGS, model
from dropdock.daemon.workers import Worker
from dropdock.handlers.captioners.onnx import Onnx
from dropdock.handlers.captioners.pixels import GAP, Decoded, Shape, decode, squared
from dropdock.handlers.captioners.protocol import Fixed, Picture
from dropdock.handlers.sidecars import Wanted, Writer
from dropdock.rules.terms import Param

CACHE = Path(os.environ.get("DROPDOCK_BENCH_CACHE", "~/.cache/dropdock-bench")).expanduser()
ROUNDS = 3
PARTS = 10  # of the pictures that a large model sees: the shorter the turns, the less another's load tells
CARD = 0.025  # seconds a picture on the simulated card
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
Options = Mapping[str, Param]


@dataclass(frozen=True)
class Run:
    """Pictures a second from the first sidecar to the last, and CPU seconds a picture, children included."""

    speed: float
    cpu: float


class Sidecars:
    """Writes texts as the product does, into a folder of its own, and knows when the first and the last was there."""

    def __init__(self) -> None:
        self.folder, self.at, self.failed = tempfile.TemporaryDirectory(), list[float](), 0
        self._writer = Writer(self._told)

    def put(self, picture: Picture, text: str) -> None:
        self._writer.put(Wanted(picture.path, Path(self.folder.name, f"{picture.id}.txt")), text)

    def _told(self, wanted: Wanted, text: str, why: str) -> None:
        self.at.append(time.perf_counter())
        self.failed += bool(why)

    def done(self, count: int, cpu: float) -> Run:
        self._writer.close()
        check(len(self.at) == count and not self.failed, "every picture has its sidecar")
        self.folder.cleanup()
        return Run((count - 1) / (self.at[-1] - self.at[0]), cpu / count)


class Warm:
    """The product's worker process, its model loaded, as the daemon and `dropdock caption` use it."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.worker = Worker("bench", "onnx", {"models": (str(folder),), "device": "cpu", **options})
        self.runner, started = asyncio.Runner(), time.perf_counter()
        self.runner.run(self.worker.start())
        self.startup = time.perf_counter() - started

    def __call__(self, paths: Sequence[Path]) -> Run:
        return self.runner.run(self._run(paths))

    async def _run(self, paths: Sequence[Path]) -> Run:
        sidecars, wanted = Sidecars(), [Picture(n, path) for n, path in enumerate(paths)]
        before = self._cpu()
        async for id, answer in self.worker.stream(iter(wanted)):
            sidecars.put(wanted[id], answer.text or answer.error)
        return sidecars.done(len(wanted), self._cpu() - before)

    def _cpu(self) -> float:
        there = psutil.Process(self.worker.pid).cpu_times()
        return there.user + there.system + time.process_time()

    def close(self) -> None:
        self.runner.run(self.worker.close())
        self.runner.close()


def bare(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """The model alone, as a script would open it."""
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), providers=["CPUExecutionProvider"])
    return lambda rows: np.asarray(session.run(None, {"input": rows})[0])


def loop(work: Callable[[Path], object], count: int, children: Sequence[int] = ()) -> Run:
    """A rival, measured from its first to its last sidecar by the clock of the files."""

    def cpu() -> float:
        return time.process_time() + sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in children)

    with tempfile.TemporaryDirectory() as out:
        before = cpu()
        work(Path(out))
        used, stamps = cpu() - before, sorted(p.stat().st_mtime for p in Path(out).iterdir())
    first = sum(1 for stamp in stamps if stamp - stamps[0] < 0.02)  # the texts of one batch come together
    return Run((len(stamps) - first) / (stamps[-1] - stamps[0]), used / count)


def middle(runs: Sequence[Run]) -> Run:
    """The median of each value."""
    return Run(statistics.median(r.speed for r in runs), statistics.median(r.cpu for r in runs))


# ---------------------------------------------------------------- the parts


def tiny(paths: Sequence[Path]) -> None:
    """A model that costs nothing: what is measured is everything around it."""
    folder = model(CACHE, "tiny")
    off, on, exact = (Warm(folder, o) for o in ({"quality": False}, {}, {"quality": False, "exact": True}))
    script = Script(folder, bare(folder))
    with ProcessPoolExecutor(2) as processes:
        list(processes.map(load, paths[:4]))
        children = list(processes._processes)
        ways: dict[str, Callable[[], Run]] = {
            "dropdock, quality off": lambda: off(paths),
            "plain loop": lambda: loop(lambda out: script.alone(paths, out), len(paths)),
            "dropdock, quality on": lambda: on(paths),
            "plain loop, 2 loader processes": lambda: loop(
                lambda out: script.with_loaders(list(paths), out, processes), len(paths), children
            ),
            "dropdock, exact": lambda: exact(paths),
        }
        rounds = [{name: way() for name, way in ways.items()} for _ in range(ROUNDS)]
    for warm in (off, on, exact):
        warm.close()
    found = {name: middle([r[name] for r in rounds]) for name in ways}
    ours, plain, loaders = found["dropdock, quality off"], found["plain loop"], found["plain loop, 2 loader processes"]
    full, bound = found["dropdock, quality on"], CORES / ours.cpu
    apart = difference(paths)
    figures = [
        Figure(
            "captioning, tiny model / plain loop", ">= 2.2x", f"{ours.speed / plain.speed:.2f}x", ours.speed >= 2.2 * plain.speed
        ),
        Figure(
            "the same / plain loop with 2 loaders",
            ">= 1.4x",
            f"{ours.speed / loaders.speed:.2f}x",
            ours.speed >= 1.4 * loaders.speed,
        ),
        Figure("share of cores / CPU per picture", ">= 0.9", f"{ours.speed / bound:.2f}", ours.speed >= 0.9 * bound),
        Figure("CPU per picture, quality off", "<= 33 ms", f"{ours.cpu * 1e3:.1f} ms", ours.cpu <= 0.033),
        Figure("CPU per picture, quality on", "<= 37 ms", f"{full.cpu * 1e3:.1f} ms", full.cpu <= 0.037),
        Figure("mean difference to the exact pixels", "<= 0.25 of 255", f"{apart:.3f}", apart <= 0.25),
    ]
    rows = [[name, run.speed, run.cpu * 1e3, run.speed / plain.speed] for name, run in found.items()]
    notes = f"{len(paths)} pictures, sidecars written, median of {ROUNDS} rounds in turns; start-up {off.startup:.1f} s apart."
    report("Captioning, all but the model", ["way", "pictures/s", "CPU ms each", "to the loop"], rows, notes, figures)


def difference(paths: Sequence[Path]) -> float:
    """Mean difference of the pixels a model sees by default to those of the exact way, over all pictures, of 255."""
    apart = []
    for path in paths:
        quick, exact = decode(path, int(GAP * SIDE)), decode(path, 0)
        check(isinstance(quick, Decoded) and isinstance(exact, Decoded), f"{path.name} decodes")
        assert isinstance(quick, Decoded) and isinstance(exact, Decoded)
        both = [np.asarray(squared(found, Shape(SIDE)), np.int16) for found in (quick, exact)]
        apart.append(float(np.abs(both[0] - both[1]).mean()))
    return statistics.fmean(apart)


def vit(paths: Sequence[Path], runs: int) -> None:
    """A model of the real size: how much of the time it is kept busy."""
    folder = model(CACHE, "vit")
    run, warm = bare(folder), Warm(folder, {})
    rng = np.random.default_rng(0)
    rows = {batch: rng.uniform(0, 255, (batch, SIDE, SIDE, 3)).astype(np.float32) for batch in (1, 2, 4)}
    run(rows[1])
    limits: dict[int, list[Run]] = {batch: [] for batch in rows}
    ours: list[Run] = []
    for part in np.array_split(np.arange(len(paths)), PARTS):
        for batch, given in rows.items():
            count, started, used = max(1, runs // batch), time.perf_counter(), time.process_time()
            for _ in range(count):
                run(given)
            took, used = time.perf_counter() - started, time.process_time() - used
            limits[batch].append(Run(count * batch / took, used / count / batch))
        ours.append(warm([paths[n] for n in part]))
    warm.close()
    _, best = max((middle(speeds).speed, batch) for batch, speeds in limits.items())
    share = statistics.median(run.speed / limit.speed for run, limit in zip(ours, limits[best], strict=True))
    cpu = middle(limits[best]).cpu / middle(ours).cpu  # no machine lets both be nearer to each other
    table = [[f"session.run, batch {batch}", middle(s).speed, middle(s).cpu * 1e3, ""] for batch, s in limits.items()]
    table.append(["dropdock, to sidecars", middle(ours).speed, middle(ours).cpu * 1e3, share])
    figures = [Figure("captioning with a ViT-B/16 on the CPU / bare session.run", ">= 0.96", f"{share:.3f}", share >= 0.96)]
    notes = (
        f"{len(paths)} pictures in {PARTS} parts, in turns with {runs} pictures run bare at each batch; the share is the median of the "
        f"parts. By CPU time alone it is {cpu:.3f}. Start-up {warm.startup:.1f} s apart."
    )
    report("Captioning at the speed of the model", ["way", "pictures/s", "CPU ms each", "share"], table, notes, figures)


class Waiting:
    """A card that needs CARD seconds a picture and no CPU: a session that sleeps."""

    def __init__(self, session: object) -> None:
        self._session = session
        self._scores = np.where(np.arange(TAGS) % 400 == 50, 0.9, 0.1).astype(np.float32)[None]

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)

    def run(self, outputs: Sequence[str], inputs: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        count = len(next(iter(inputs.values())))
        time.sleep(CARD * count)
        return [np.repeat(self._scores, count, axis=0)]


def card(paths: Sequence[Path]) -> None:
    """A simulated accelerator: whether it is ever waited for."""
    from dropdock.handlers.captioners.runtime import opened

    with patch("dropdock.handlers.captioners.onnx.opened", lambda at, where: (Waiting(opened(at, where)[0]), "simulated")):
        made = {
            name: Onnx({"models": (str(model(CACHE, "tiny")),), "batch": 8, **options})
            for name, options in {
                "shrink first": {"quality": False},
                "with quality": {},
                "exact": {"quality": False, "exact": True},
            }.items()
        }
    rounds: dict[str, list[float]] = {name: [] for name in made}
    for _, (name, captioner) in itertools.product(range(ROUNDS), made.items()):
        sidecars, wanted = Sidecars(), [Picture(n, path) for n, path in enumerate(paths)]
        for id, answer in captioner.captions(Fixed(wanted)):
            sidecars.put(wanted[id], answer.text)
        rounds[name].append(sidecars.done(len(wanted), 0.0).speed * CARD)
    share = {name: statistics.median(values) for name, values in rounds.items()}
    figures = [
        Figure(
            "simulated card of 40 pictures/s, shrink-first",
            ">= 0.95",
            f"{share['shrink first']:.3f}",
            share["shrink first"] >= 0.95,
        ),
        Figure("the same, exact", ">= 0.89", f"{share['exact']:.3f}", share["exact"] >= 0.89),
    ]
    rows = [[name, value / CARD, value] for name, value in share.items()]
    notes = (
        f"run() waits {CARD * 1e3:.0f} ms a picture and uses no CPU; {len(paths)} pictures, median of {ROUNDS} rounds in turns."
    )
    report("Captioning on a simulated card", ["way", "pictures/s", "share of its limit"], rows, notes, figures)


def idle(paths: Sequence[Path]) -> None:
    """One picture while nothing is done, model warm, by the worker alone and by a whole daemon; the loop of whoever listens to a job."""
    folder = model(CACHE, "tiny")
    warm, run = Warm(folder, {}), bare(folder)
    extra = []
    for n, path in enumerate(paths[:30]):
        started = time.perf_counter()
        warm.runner.run(_one(warm.worker, Picture(n, path)))
        whole = time.perf_counter() - started
        run(load(path)[None].astype(np.float32))
        extra.append(whole - (time.perf_counter() - started - whole))
    gap = warm.runner.run(_gap(warm.worker, paths))
    warm.close()
    late, most = statistics.median(extra), max(extra)
    dropped = beyond(folder, paths[:12], lambda path: run(load(path)[None].astype(np.float32)))
    usual, worst = statistics.median(dropped), max(dropped)
    figures = [
        Figure(
            "one picture dropped into an idle daemon, to its sidecar, beyond settle + decode + run",
            "<= 100 ms",
            f"{usual * 1e3:.0f} ms (worst {worst * 1e3:.0f} ms)",
            worst <= 0.1,
        ),
        Figure(
            "the same by the worker alone",
            "<= 100 ms",
            f"{late * 1e3:.0f} ms (worst {most * 1e3:.0f} ms)",
            most <= 0.1,
        ),
        Figure("longest gap of the loop during a job", "<= 50 ms", f"{gap * 1e3:.0f} ms", gap <= 0.05),
    ]
    rows = [
        ["dropped into a daemon, beyond settle + decode + run", usual * 1e3, worst * 1e3],
        ["sent to the worker, beyond decode + run", late * 1e3, most * 1e3],
        ["gap of the loop", "", gap * 1e3],
    ]
    notes = "Model warm, tiny. Decode + run is what a plain script takes for the same picture; below 0 we decode faster than it."
    report("Captioning when idle", ["what", "median ms", "worst ms"], rows, notes, figures)


async def _one(worker: Worker, picture: Picture) -> None:
    async for _ in worker.stream([picture]):
        pass


async def _gap(worker: Worker, paths: Sequence[Path]) -> float:
    gaps, over = [], asyncio.Event()

    async def tick() -> None:
        last = time.perf_counter()
        while not over.is_set():
            await asyncio.sleep(0.002)
            now = time.perf_counter()
            gaps.append(now - last - 0.002)
            last = now

    ticking = asyncio.create_task(tick())
    async for _ in worker.stream([Picture(n, path) for n, path in enumerate(paths)]):
        pass
    over.set()
    await ticking
    return max(gaps)


def long(paths: Sequence[Path], count: int) -> None:
    """Ten thousand pictures through one worker: its memory."""
    warm = Warm(model(CACHE, "tiny"), {})
    light = sorted(paths, key=lambda p: p.stat().st_size)[: max(8, len(paths) // 5)]
    process, sizes = psutil.Process(warm.worker.pid), []
    for _ in range(10):
        warm([light[n % len(light)] for n in range(count // 10)])
        sizes.append(process.memory_info().rss / 1e6)
    warm.close()
    grown = sizes[-1] - sizes[1]
    figures = [Figure(f"memory of the worker, picture {count // 5} to {count}", "<= +20 MB", f"{grown:+.0f} MB", grown <= 20)]
    rows = [[f"after {count // 10 * (n + 1):,}", size] for n, size in enumerate(sizes)]
    report("Captioning for long", ["pictures", "MB"], rows, "Resident memory of the worker process, tiny model.", figures)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=("tiny", "vit", "card", "idle", "long"))
    asked = parser.parse_args()
    few = asked.quick
    paths = pictures(CACHE / f"pictures-{60 if few else 240}", 60 if few else 240)
    parts: dict[str, Callable[[], None]] = {
        "tiny": lambda: tiny(paths),
        "vit": lambda: vit(paths[:60] if few else paths[:200], 4 if few else 8),
        "card": lambda: card(paths),
        "idle": lambda: idle(paths),
        "long": lambda: long(paths, 1000 if few else 10_000),
    }
    for name, part in parts.items():
        if asked.only in (None, name):
            part()


if __name__ == "__main__":
    main()
