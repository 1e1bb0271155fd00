"""Worker processes: what happens in them stays in them. A crash, a hang or a broken start costs one batch, never the daemon."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dropdock.daemon import workers
from dropdock.daemon.workers import Worker, WorkerDied
from odd import use_odd_workers
from pictures_made import picture


@pytest.fixture
async def hire(monkeypatch, tmp_path):
    """A function that makes workers with misbehaving engines; all are ended afterwards."""
    use_odd_workers(monkeypatch, tmp_path)
    made: list[Worker] = []

    def make(**options: object) -> Worker:
        made.append(Worker("odd", "odd", options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for worker in made:
        await worker.stop()


def paths(*names: str) -> list[Path]:
    return [Path("/nowhere") / f"{name}.png" for name in names]


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


async def test_each_picture_gets_its_answer_in_order(hire):
    """Texts and errors, a picture each; the same process serves the next batch."""
    worker = hire()
    answers = await worker.caption(paths("a", "ugly", "b"))
    assert [(a.text, a.error) for a in answers] == [("a picture of a", ""), ("", "too ugly"), ("a picture of b", "")]
    first = worker._process.pid
    assert [a.text for a in await worker.caption(paths("c"))] == ["a picture of c"] and worker._process.pid == first
    assert worker.batch == 4


async def test_a_crash_is_one_batch_and_the_next_starts_anew(hire):
    """WorkerDied names the code; the next call has a new process."""
    worker = hire()
    with pytest.raises(WorkerDied, match="ended with code 7"):
        await worker.caption(paths("a", "crash"))
    assert not worker.alive
    assert (await worker.caption(paths("a")))[0].text == "a picture of a"


async def test_a_hang_is_ended_after_its_time(hire, monkeypatch):
    """PER_PICTURE for each picture of the batch, then the process is killed and said to have taken too long."""
    worker = hire()
    await worker.caption(paths("warm"))
    pid = worker._process.pid
    monkeypatch.setattr(workers, "PER_PICTURE", 0.05)
    with pytest.raises(WorkerDied, match="took too long"):
        await worker.caption(paths("a", "hang"))
    assert gone(pid) and not worker.alive


async def test_a_captioner_that_cannot_start_says_why(hire):
    """The reason of the engine itself is in the message, every time it is tried."""
    worker = hire(broken=True)
    for _ in range(2):
        with pytest.raises(WorkerDied, match="cannot start: RuntimeError: no such model"):
            await worker.caption(paths("a"))
        assert not worker.alive


@pytest.mark.parametrize("executable, why", [("none", "No such file"), ("closed", "Permission denied")])
async def test_a_worker_that_cannot_be_executed_says_why(hire, monkeypatch, tmp_path, executable, why):
    """A Python that was taken away, or may not be run: the system's own words, not a code that no process ended with."""
    (tmp_path / "closed").write_text("#!/bin/sh\n")
    worker = hire()
    monkeypatch.setattr(sys, "executable", str(tmp_path / executable))
    with pytest.raises(WorkerDied, match=f"captioner odd cannot be started: .*{why}"):
        await worker.caption(paths("a"))
    monkeypatch.undo()
    assert not worker.alive


async def test_an_answer_to_another_question_is_not_believed(hire):
    """Five answers to four pictures: the batch fails and the process goes."""
    worker = hire()
    with pytest.raises(WorkerDied, match="sent the answer to another question"):
        await worker.caption(paths("a", "b", "c", "rude"))
    assert not worker.alive


async def test_a_worker_killed_from_outside_is_replaced(hire, tmp_path):
    """The out-of-memory killer took it while it was idle: the next batch starts another."""
    mark = tmp_path / "starts"
    worker = hire(starts=str(mark))
    await worker.caption(paths("a"))
    os.kill(worker._process.pid, signal.SIGKILL)
    await worker._process.wait()
    assert (await worker.caption(paths("b")))[0].text == "a picture of b"
    assert len(set(mark.read_text().split())) == 2


async def test_an_idle_worker_is_let_go_and_comes_back(hire, tmp_path):
    """Its memory is given back; a batch at the very moment it is let go is answered by a new one, not lost."""
    mark = tmp_path / "starts"
    worker = hire(starts=str(mark))
    await worker.caption(paths("a"))
    worker._let_go()
    assert (await worker.caption(paths("b")))[0].text == "a picture of b"
    assert len(mark.read_text().split()) == 2


async def test_stopping_ends_the_process(hire):
    """And stopping twice is nothing."""
    worker = hire()
    await worker.caption(paths("a"))
    pid = worker._process.pid
    await worker.stop()
    await worker.stop()
    assert gone(pid) and not worker.alive


async def test_a_cancelled_batch_leaves_no_process_in_an_unknown_state(hire):
    """The daemon stops while a picture is looked at: the process is ended with it."""
    worker = hire()
    await worker.caption(paths("warm"))
    pid = worker._process.pid
    asked = asyncio.ensure_future(worker.caption(paths("hang")))
    await asyncio.sleep(0)
    while not worker._busy.locked():
        await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert gone(pid)


async def test_the_real_worker_captions_real_pictures(tmp_path):
    """engine basic in its own process, over the socket."""
    (tmp_path / "a.png").write_bytes(picture(1))
    (tmp_path / "b.png").write_bytes(b"no picture")
    worker = Worker("basic", "basic", {})
    try:
        good, bad = await worker.caption([tmp_path / "a.png", tmp_path / "b.png"])
    finally:
        await worker.stop()
    assert "320x280" in good.text and "does not decode" in bad.error


PARENT = """
import asyncio, sys
from pathlib import Path
from dropdock.daemon.workers import Worker
async def main():
    worker = Worker("simple", "simple", {"text": "x"})
    await worker.caption([Path("/nowhere")])
    print("pid", worker._process.pid, flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="PR_SET_PDEATHSIG is Linux's; elsewhere the closed socket ends it"
)
def test_a_killed_parent_takes_its_workers_along():
    """kill -9 of the daemon: the worker process ends too, and holds no port or lock of it."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    try:
        assert parent.stdout is not None
        pid = next(int(line.split()[1]) for line in parent.stdout if line.startswith("pid "))
        assert not gone(pid)
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + 10
        while not gone(pid):
            assert time.monotonic() < deadline, "the worker outlived its parent"
            time.sleep(0.01)  # nothing tells us of a grandchild's end
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
