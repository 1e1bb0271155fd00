"""Idle: memory and wake-ups of a daemon that watches 100,000 known files and has nothing to do, over 60 s. Goals: 80 MB, 1 wake-up/s.

Beside it, for the same 60 s, idles the least that could do: an empty aiohttp application with a plain watchdog observer. Linux only.

Memory is VmRSS of the process (its captioner's worker is not started before there is something to caption). A wake-up is a context switch
of one of its threads, wanted or not, as /proc/PID/task/*/status counts them: a thread that wakes and sleeps again is one.
"""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from _bench import Figure, report, scratch
from _library import FILES, FOLDERS, Home, Process, bare, bare_healthy, compared, daemon, healthy

SECONDS = 60
CALM = 5  # seconds after the first comparison before we look
MEMORY, WAKES = 80.0, 1.0
_SWITCHES = re.compile(r"ctxt_switches:\s*(\d+)")


@dataclass(frozen=True)
class Sample:
    """A process at one moment: context switches of each thread, CPU seconds, resident bytes, and those that are no file's."""

    switches: dict[str, int]
    cpu: float
    rss: int
    private: int


def sample(process: Process) -> Sample:
    """Read /proc, which does not disturb the process."""
    place = Path(f"/proc/{process.pid}")
    tasks = {task.name: (task / "status").read_text() for task in (place / "task").iterdir()}
    status = (place / "status").read_text()
    # schedstat counts nanoseconds, stat's ticks would be too coarse for a process that sleeps
    cpu = sum(int((place / "task" / task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    switches = {task: sum(map(int, _SWITCHES.findall(text))) for task, text in tasks.items()}
    return Sample(switches, cpu, _bytes(status, "VmRSS"), _bytes(status, "RssAnon"))


def _bytes(status: str, key: str) -> int:
    found = re.search(rf"^{key}:\s*(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def idle(before: Sample, after: Sample) -> tuple[float, float, float, float, int]:
    """MB resident, MB private, wake-ups a second, milliseconds of CPU a second, threads."""
    wakes = sum(count - before.switches.get(task, 0) for task, count in after.switches.items())
    cpu = (after.cpu - before.cpu) * 1000 / SECONDS
    return after.rss / 1e6, after.private / 1e6, wakes / SECONDS, cpu, len(after.switches)


def main() -> None:
    if not sys.platform.startswith("linux"):
        print("idle: /proc is needed", file=sys.stderr)
        return
    with scratch() as place:
        home = Home(place / "home")
        home.learn()
        for start, ready in ((bare, bare_healthy), (daemon, lambda process: healthy(home))):  # once, so that byte code is there
            process = start(home)
            process.wait_for(ready(process))
            process.stop()
        processes = [bare(home), daemon(home)]
        try:
            processes[0].wait_for(bare_healthy(processes[0]))
            processes[1].wait_for(healthy(home))
            processes[1].wait_for(compared(home))
            time.sleep(CALM)
            before = [sample(process) for process in processes]
            time.sleep(SECONDS)
            found = [idle(a, sample(process)) for a, process in zip(before, processes, strict=True)]
        finally:
            for process in processes:
                process.stop()
    rows: list[list[object]] = [
        [name, *figures] for name, figures in zip(["bare aiohttp + watchdog", "dropdock"], found, strict=True)
    ]
    rows.append(["ratio", *(ours / floor if floor >= 0.01 else "-" for floor, ours in zip(*found, strict=True))])
    rss, _, wakes, _, _ = found[1]
    notes = (
        f"{FOLDERS * FILES:,} known files, {CALM} s after the first comparison. One run of {SECONDS} s, both at the same time."
    )
    goals = [
        Figure("idle daemon, memory", f"<= {MEMORY:.0f} MB", f"{rss:.1f} MB", rss <= MEMORY),
        Figure("idle daemon, wake-ups", f"< {WAKES:.0f}/s", f"{wakes:.2f}/s", wakes < WAKES),
    ]
    report("Idle", ["process", "RSS MB", "private MB", "wake-ups/s", "CPU ms/s", "threads"], rows, notes, goals)


if __name__ == "__main__":
    main()
