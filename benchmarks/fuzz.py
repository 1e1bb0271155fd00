"""Broken files of every kind, by the ten thousand: no exception, no time beyond a cap, no memory beyond a cap.

    python benchmarks/fuzz.py [--cases N] [--first NUMBER] [--keep FOLDER]

Each case is a sound small file (safetensors, GGUF, torch's ZIP and stream, ZIP, tar, pictures) broken in one to six ways; its number gives
it again: `--first 1234 --cases 1 --keep .` writes it. The readers run in a process that may use 1 GiB of address space.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import fuzz_files  # noqa: E402
from _bench import Figure, check, report, scratch  # noqa: E402
from dropdock.rules.identify import header_of, identify  # noqa: E402
from dropdock.rules.readers.whole import is_whole  # noqa: E402

CASES = 50_000
SLOW = 1.0  # seconds that one case may take
MEMORY = 1 << 30  # bytes of address space of the process that reads
GROWTH = 100 << 20  # bytes that its peak may lie above what it is with sound files


def peak() -> int:
    """The most memory that this process has taken, in bytes; without what the process took that started it, where the system tells."""
    status = Path("/proc/self/status")
    own = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
    if own:
        return int(own[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def read(path: Path) -> str:
    """All that is ever read of a file; what it is."""
    facts = identify(path)
    is_whole(path)
    header_of(path)
    return f"{facts.kind} {facts.condition}"


def outcome_of(pool: ThreadPoolExecutor, path: Path) -> tuple[str, BaseException | None]:
    """What a file is, or the exception that must not be: any at all, so it is taken where the pool keeps it."""
    done = pool.submit(read, path)
    error = done.exception()
    return ("exception", error) if error else (done.result(), None)


def run(first: int, count: int, folder: Path) -> dict[str, object]:
    """Go through the cases: what came out how often, the bad ones, the slowest, and the growth of memory."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sound = fuzz_files.seeds()
    for name, raw in sound.items():
        (folder / name).write_bytes(raw)
        read(folder / name)
    began, outcomes, slowest = peak(), Counter[str](), (0.0, 0)
    bad: list[tuple[int, str]] = []
    with ThreadPoolExecutor(1) as pool:
        for number in range(first, first + count):
            name, raw = fuzz_files.case(number, sound)
            path = folder / name
            path.write_bytes(raw)
            start = time.perf_counter()
            outcome, error = outcome_of(pool, path)
            slowest = max(slowest, (time.perf_counter() - start, number))
            outcomes[outcome] += 1
            if error:
                bad.append((number, f"{type(error).__name__}: {error}"))
    return {"outcomes": outcomes, "bad": bad[:20], "slowest": slowest, "growth": peak() - began}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="write the cases here and read none")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(run(args.first, args.cases, args.child)))
        return 0
    if args.keep:
        for number in range(args.first, args.first + args.cases):
            name, raw = fuzz_files.case(number, fuzz_files.seeds())
            (args.keep / f"{number}-{name}").write_bytes(raw)
        return 0
    with scratch(fast=True) as folder:
        command = [sys.executable, __file__, "--first", str(args.first), "--cases", str(args.cases), "--child", str(folder)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, encoding="utf-8", check=False, env={**os.environ, "PYTHONHASHSEED": "0"}
        )
    check(done.returncode == 0, f"the process that reads lives on (exit code {done.returncode})")
    found = json.loads(done.stdout)
    seconds, number = found["slowest"]
    figures = [
        Figure("broken files that are an exception", "0", f"{len(found['bad'])} of {args.cases:,}", not found["bad"]),
        Figure("the slowest of them", f"under {SLOW:.0f} s", f"{seconds * 1000:.0f} ms (case {number})", seconds < SLOW),
        Figure(
            "memory that they take above sound files", "under 100 MiB", f"{found['growth'] >> 20} MiB", found["growth"] < GROWTH
        ),
    ]
    rows = sorted(found["outcomes"].items(), key=lambda row: -row[1])
    report(
        "Fuzz",
        ["outcome", "files"],
        rows,
        "\n".join(f"case {n}: {said}" for n, said in found["bad"]) or "Each had an answer.",
        figures,
    )
    check(not found["bad"], "no broken file is an exception")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
