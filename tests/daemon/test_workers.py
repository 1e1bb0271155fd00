"""Worker processes: what happens in them stays in them. A crash, a hang or a broken start costs one batch, never the daemon."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from dropdock.daemon.frames import News
from dropdock.daemon.workers import NotReady, Worker, WorkerDied
from dropdock.handlers.captioners.protocol import Picture
from odd import use_odd_workers
from pictures_made import picture


@pytest.fixture
async def hire(monkeypatch, tmp_path):
    """A function that makes workers with misbehaving engines; all are ended afterwards."""
    use_odd_workers(monkeypatch, tmp_path)
    made: list[Worker] = []

    def make(timeout: float = 60, **options: object) -> Worker:
        made.append(Worker("odd", "odd", options, timeout))  # type: ignore[arg-type]
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
    assert (worker.ahead, worker.device) == (4, "here")


async def test_a_crash_is_one_batch_and_the_next_starts_anew(hire):
    """WorkerDied names the code; the next call has a new process."""
    worker = hire()
    with pytest.raises(WorkerDied, match="ended with code 7"):
        await worker.caption(paths("a", "crash"))
    assert not worker.alive
    assert (await worker.caption(paths("a")))[0].text == "a picture of a"


async def test_a_hang_is_ended_after_its_time(hire):
    """No answer within the time-out: the process is killed and said to have taken too long."""
    worker = hire(timeout=0.5)
    await worker.start()
    pid = worker.pid
    with pytest.raises(WorkerDied, match="took too long"):
        await worker.caption(paths("a", "hang"))
    assert worker.flight == {0, 1}
    assert gone(pid) and not worker.alive


async def test_a_captioner_that_cannot_start_says_why(hire):
    """The engine's own sentence is the message, every time it is tried."""
    worker = hire(broken=True)
    for _ in range(2):
        with pytest.raises(NotReady, match="cannot start: no such model"):
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


async def test_a_closed_worker_gives_back_what_it_holds_and_comes_again(hire, tmp_path):
    """Gently: it ends by itself; the next batch has a new process."""
    mark = tmp_path / "starts"
    worker = hire(starts=str(mark))
    await worker.caption(paths("a"))
    pid = worker.pid
    await worker.close()
    assert gone(pid) and not worker.alive
    assert (await worker.caption(paths("b")))[0].text == "a picture of b"
    assert len(mark.read_text().split()) == 2


async def test_answers_come_while_pictures_still_go(hire):
    """Never more in flight than it likes to hold, a thousand pictures drawn from an iterator, each answered once."""
    worker, drawn, most = hire(ahead=7), 0, 0

    def draw():
        nonlocal drawn
        for n in range(1000):
            drawn += 1
            yield Picture(n, Path(f"/nowhere/{n}.png"))

    found = {}
    async for id, answer in worker.stream(draw()):
        found[id] = answer.text
        most = max(most, drawn - len(found) + 1)
    assert found == {n: f"a picture of {n}" for n in range(1000)} and most <= 7


async def test_an_engine_that_stops_says_why(hire):
    """An exception in the middle of its work is its sentence, and what was in flight is known."""
    worker = hire()
    with pytest.raises(WorkerDied, match="stopped: the card went away") as caught:
        await worker.caption(paths("a", "stop"))
    assert not isinstance(caught.value, NotReady) and worker.flight == {0, 1} and not worker.alive


async def test_its_news_is_heard(hire):
    """What it says while it loads comes before it is ready."""
    worker, heard = hire(), []
    worker._on_news = heard.append
    await worker.start()
    assert heard == [News("loading nothing")]


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
    pid = worker.pid
    asked = asyncio.ensure_future(worker.caption(paths("hang")))
    while not worker.flight:
        await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    await worker.stop()
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
    assert "320x280" in good.text and "no picture format" in bad.error


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
