"""Pictures anywhere: whatever a captioner does, each picture is answered once, and only the guilty one fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from dropdock.daemon.captioning_paths import PATIENCE, Flow, Unable, caption_all, worker_of
from dropdock.daemon.config import CaptionerConfig
from dropdock.handlers.captioners.protocol import Answer, Picture
from odd import use_odd_workers

Made = Callable[..., CaptionerConfig]


@pytest.fixture
def odd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Made:
    """Configurations of captioners that misbehave."""
    use_odd_workers(monkeypatch, tmp_path)
    return lambda **options: CaptionerConfig("odd", "odd", options)


def pictures(*names: str) -> list[Picture]:
    return [Picture(n, Path(f"/nowhere/{name}.png")) for n, name in enumerate(names)]


class Heard(dict[str, Answer]):
    """Answers by the picture's stem; one that comes twice is a mistake."""

    def __call__(self, picture: Picture, answer: Answer) -> None:
        assert picture.path.stem not in self
        self[picture.path.stem] = answer


async def test_every_picture_is_answered(odd: Made) -> None:
    """More than the worker holds at once, a bad one among them, by two workers."""
    heard, news = Heard(), list[str]()
    names = [f"p{n}" for n in range(30)] + ["ugly"]
    await caption_all(odd(), pictures(*names), heard, news.append, ("", "cpu"))
    assert sorted(heard) == sorted(names) and heard["ugly"].error == "too ugly" and heard["p7"].text == "a picture of p7"
    assert "loading nothing" in news


async def test_a_captioner_that_runs_elsewhere_than_asked_says_so(odd: Made) -> None:
    """Once, with the reason; one that runs where it was asked to says nothing of it."""
    news: list[str] = []
    await caption_all(odd(device="cpu (CUDA was asked for: no card)"), pictures("a"), Heard(), news.append)
    await caption_all(odd(device="cpu"), pictures("a"), Heard(), news.append)
    assert [text for text in news if "runs" in text] == ["runs on cpu (CUDA was asked for: no card)"]


async def test_only_the_poisonous_picture_fails(odd: Made) -> None:
    """The worker died with four in flight: the others are asked again one by one."""
    heard = Heard()
    await caption_all(odd(), pictures("a", "crash1", "b", "c", "crash2", "d"), heard)
    assert {name for name, answer in heard.items() if answer.error} == {"crash1", "crash2"}
    assert len(heard) == 6 and "ended with code 7" in heard["crash1"].error


async def test_a_captioner_that_cannot_start_says_why(odd: Made) -> None:
    """No picture is blamed for it."""
    heard = Heard()
    with pytest.raises(Unable, match="no such model"):
        await caption_all(odd(broken=True), pictures("a"), heard, devices=("", "cpu"))
    assert not heard


async def test_a_worker_that_cannot_be_started_says_why(odd: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """The interpreter is not to be run: the reason by itself, not a group of exceptions."""
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(Unable, match="No such file"):
        await caption_all(odd(), pictures("a"), Heard())


async def test_a_captioner_that_dies_at_everything_is_given_up(odd: Made) -> None:
    """Not started again for each of a million pictures; those it was asked alone are told."""
    heard = Heard()
    with pytest.raises(Unable):
        await caption_all(odd(ahead=1), pictures(*(f"crash{n}" for n in range(50))), heard)
    assert 0 < len(heard) < 10


async def test_a_service_that_is_down_is_waited_for(odd: Made, tmp_path: Path) -> None:
    """Longer each time; once it is there every picture has its text."""
    down, heard, slept = tmp_path / "down", Heard(), list[float]()
    down.touch()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            down.unlink()

    worker = worker_of(odd(down=str(down)))
    try:
        await Flow(worker, iter(pictures("a", "b", "c")), heard, sleep=sleep).run()
    finally:
        await worker.stop()
    assert slept == [30.0, 60.0] and [heard[n].text for n in "abc"] == [f"a picture of {n}" for n in "abc"]


async def test_a_service_that_stays_down_ends_the_work(odd: Made, tmp_path: Path) -> None:
    """With its own reason, after a few questions."""
    down, slept = tmp_path / "down", list[float]()
    down.touch()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    worker = worker_of(odd(down=str(down)))
    try:
        with pytest.raises(Unable, match="connection refused"):
            await Flow(worker, iter(pictures("a", "b")), Heard(), sleep=sleep).run()
    finally:
        await worker.stop()
    assert len(slept) == PATIENCE - 1


async def test_work_that_is_ended_early_leaves_the_rest_undrawn(odd: Made) -> None:
    """What was drawn is answered, what was not is still in the iterator."""
    heard, left = Heard(), iter(pictures(*(f"p{n}" for n in range(50))))
    worker = worker_of(odd())
    try:
        await Flow(worker, left, heard, go_on=lambda: not heard).run()
    finally:
        await worker.stop()
    assert heard and len(heard) + len(list(left)) == 50
