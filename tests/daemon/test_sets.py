"""Caption sets at work: the sidecars follow the active set and what is written by hand, whatever dies or is edited meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from captions_made import home_of, take
from dropdock.daemon import sets as at_work
from dropdock.daemon.readback import read_back
from dropdock.daemon.sets import Texts
from dropdock.handlers import disk
from dropdock.rules.captions import Edit, Style
from dropdock.rules.identify import identify
from dropdock.rules.terms import Caption, Lane
from dropdock.store import captions, datasets, history, jobs, sets
from house_made import Home, Killed, Opened, opened
from pictures_made import picture

PROSE = {"0.txt": "a text\n", "1.txt": "a text\n", "2.txt": "mine"}  # what set `main` has: two generated, one imported
TAGS = {"0": "one, two", "2": "three"}  # what set `tags` has


@asynccontextmanager
async def house(tmp_path: Path) -> AsyncIterator[tuple[Opened, Texts]]:
    """Three pictures with texts in `main`, which lies beside them, and two of them with texts in `tags`."""
    home = home_of(tmp_path)
    async with opened(home) as it:
        if not await it.store.read(datasets.listing):
            await take(it, {f"{n}.png": picture(n, (64, 64)) for n in range(3)} | {"2.txt": b"mine"})
            await it.work(Lane.CAPTION)
            await it.store.write(sets.create, "cats", "tags", "", Style(kind="tags"), 1.0)
            for stem, text in TAGS.items():
                await it.store.write(
                    datasets.put_caption, Caption("cats", f"{stem}.png", "tags", text, "generated", "tagger"), 1.0
                )
            assert texts(home) == PROSE
        yield it, Texts(it.house)


async def carry_out(it: Opened, by: Texts, tick: Callable[[float], None] = lambda fraction: None) -> None:
    """Do the one job that waits."""
    (job,) = await it.store.claim(Lane.CPU, it.house.owner, 5)
    await by.perform(job, tick)


def texts(home: Home) -> dict[str, str]:
    """What lies beside the pictures."""
    return {p.name: p.read_text() for p in (home.datasets / "cats").glob("*.txt")}


async def told(it: Opened, name: str) -> dict[str, tuple[str, str]]:
    """Stem -> text and source of a set."""
    return {Path(r.rel).stem: (r.text, r.source) for r in await it.store.read(captions.listing, "cats", name)}


def aside(home: Home) -> list[str]:
    return sorted(p.name for p in (home.datasets / disk.OWN / "trash").rglob("*.txt"))


async def test_another_set_takes_the_place_beside_the_pictures(tmp_path: Path) -> None:
    """Its texts lie there; a text whose picture has none in it is in the trash; back again everything is as it was."""
    async with house(tmp_path) as (it, by):
        await by.activate("cats", "tags")
        await carry_out(it, by)
        assert texts(it.home) == {"0.txt": "one, two\n", "2.txt": "three\n"} and aside(it.home) == ["1.txt"]
        assert await it.store.read(datasets.active_name, "cats") == "tags" and it.home.staging_left() == []
        await by.activate("cats", "main")
        await carry_out(it, by)
        assert {k: v.strip() for k, v in texts(it.home).items()} == {k: v.strip() for k, v in PROSE.items()}
        assert await told(it, "main") == {"0": ("a text", "generated"), "1": ("a text", "generated"), "2": ("mine", "imported")}
        assert await told(it, "tags") == {"0": ("one, two", "generated"), "2": ("three", "generated")}
        assert [r.note for r in await it.told()][-1] == "set main: 3 texts lie beside the pictures"
        assert await it.store.read(history.intents) == [] and it.house.mine == set()


async def test_our_own_texts_are_not_read_back_as_somebodys(tmp_path: Path) -> None:
    """What the watcher finds after a switch is unchanged to us."""
    async with house(tmp_path) as (it, by):
        await by.activate("cats", "tags")
        await carry_out(it, by)
        before = await it.told()
        for path in sorted((it.home.datasets / "cats").glob("*.txt")):
            await it.arrive(path)
        assert await it.told() == before and (await told(it, "tags"))["0"] == ("one, two", "generated")


async def test_an_edit_that_nobody_has_read_yet_stays_in_its_set(tmp_path: Path) -> None:
    """The file becomes the other set's, the words are kept as written by hand in the set they were written in."""
    async with house(tmp_path) as (it, by):
        (it.home.datasets / "cats/0.txt").write_text("by hand")
        await by.activate("cats", "tags")
        await carry_out(it, by)
        assert texts(it.home)["0.txt"] == "one, two\n" and (await told(it, "main"))["0"] == ("by hand", "manual")


async def test_an_edit_while_the_set_changes_belongs_to_what_lies_there(tmp_path: Path) -> None:
    """Read back before its picture's turn: the old set's, though the new one is active already."""
    async with house(tmp_path) as (it, by):
        await by.activate("cats", "tags")
        path = it.home.datasets / "cats/0.txt"
        path.write_text("by hand")
        await read_back(it.house, [(path, {path: disk.stamp(path)}, identify(path))])
        assert (await told(it, "main"))["0"] == ("by hand", "manual") and (await told(it, "tags"))["0"][0] == "one, two"
        await carry_out(it, by)
        assert texts(it.home)["0.txt"] == "one, two\n"


async def test_a_text_that_we_know_nothing_of_stays(tmp_path: Path) -> None:
    """Put beside a picture that had none, and not read yet."""
    async with house(tmp_path) as (it, by):
        await by.activate("cats", "tags")
        await carry_out(it, by)
        (it.home.datasets / "cats/1.txt").write_text("whose?")
        await by.activate("cats", "main")
        await carry_out(it, by)
        assert texts(it.home)["1.txt"] == "whose?" and (await told(it, "main"))["1"][0] == "a text"


@pytest.mark.parametrize("at", ["before the moves", "after a move", "before it is recorded"])
async def test_a_crash_anywhere_is_finished_by_the_next_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """kill -9 in the middle: the same end as without it, nothing twice, nothing lost."""
    monkeypatch.setattr(at_work, "PORTION", 2)
    real, calls = disk.carry_out, []

    def dies(moves: object, *more: object) -> None:
        calls.append(moves)
        if at == "before the moves" or (at == "after a move" and len(calls) == 2):
            raise Killed
        real(moves, *more)  # type: ignore[arg-type]
        if at == "before it is recorded":
            raise Killed

    async with house(tmp_path) as (it, by):
        await by.activate("cats", "tags")
        monkeypatch.setattr(disk, "carry_out", dies)
        with pytest.raises(Killed):
            await carry_out(it, by)
    monkeypatch.setattr(disk, "carry_out", real)
    async with house(tmp_path) as (it, by):
        await carry_out(it, by)
        assert texts(it.home) == {"0.txt": "one, two\n", "2.txt": "three\n"} and aside(it.home) == ["1.txt"]
        assert await told(it, "main") == {"0": ("a text", "generated"), "1": ("a text", "generated"), "2": ("mine", "imported")}
        assert await told(it, "tags") == {"0": ("one, two", "generated"), "2": ("three", "generated")}
        assert await it.store.read(history.intents) == [] and it.home.staging_left() == []


async def test_a_cancelled_change_leaves_a_mixture_that_knows_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled after the first portion; activating the other set again makes it whole."""
    monkeypatch.setattr(at_work, "PORTION", 1)

    def cancelled(fraction: float) -> None:
        raise at_work_cancelled

    at_work_cancelled = disk.Changed("cancelled")
    async with house(tmp_path) as (it, by):
        job = await by.activate("cats", "tags")
        with pytest.raises(disk.Changed):
            await carry_out(it, by, cancelled)
        await it.store.write(jobs.cancel, job, it.store.now())
        assert texts(it.home) == {**PROSE, "0.txt": "one, two\n"}
        await by.activate("cats", "main")
        await carry_out(it, by)
        assert {k: v.strip() for k, v in texts(it.home).items()} == {k: v.strip() for k, v in PROSE.items()}


async def test_one_change_of_a_dataset_at_a_time(tmp_path: Path) -> None:
    """A second one is refused, and does not become active."""
    async with house(tmp_path) as (it, by):
        assert await by.activate("cats", "tags") is not None
        assert await by.activate("cats", "main") is None and await by.edit("cats", "main", Edit(find="a")) is None
        assert await it.store.read(datasets.active_name, "cats") == "tags"


# ---------------------------------------------------------------- by hand


async def item(it: Opened, stem: str) -> int:
    return next(i.id for i in await it.store.read(datasets.items, "cats") if i.rel == f"{stem}.png")


async def test_a_text_by_hand_is_manual_and_lies_there(tmp_path: Path) -> None:
    """Of the active set the file follows; of another one nothing moves; history has a line."""
    async with house(tmp_path) as (it, by):
        assert await by.write("cats", await item(it, "0"), "main", "by hand") == ""
        assert await by.write("cats", await item(it, "1"), "tags", "four") == ""
        assert texts(it.home) == {**PROSE, "0.txt": "by hand\n"}
        assert (await told(it, "main"))["0"] == ("by hand", "manual") and (await told(it, "tags"))["1"] == ("four", "manual")
        assert [r.note for r in await it.told()][-2:] == ["by hand", "four"]


async def test_a_text_that_is_forgotten_goes_to_the_trash(tmp_path: Path) -> None:
    """The row is gone, the file is kept aside; of another set only the row."""
    async with house(tmp_path) as (it, by):
        assert await by.write("cats", await item(it, "2"), "main", None) == ""
        assert await by.write("cats", await item(it, "0"), "tags", None) == ""
        assert set(texts(it.home)) == {"0.txt", "1.txt"} and aside(it.home) == ["2.txt"]
        assert set(await told(it, "main")) == {"0", "1"} and set(await told(it, "tags")) == {"2"}


async def test_a_text_by_hand_is_not_written_over_an_edit_outside(tmp_path: Path) -> None:
    """Whoever asks is told why."""
    async with house(tmp_path) as (it, by):
        (it.home.datasets / "cats/0.txt").write_text("edited")
        assert "outside" in await by.write("cats", await item(it, "0"), "main", "by hand")
        assert texts(it.home)["0.txt"] == "edited" and (await told(it, "main"))["0"][0] == "a text"


async def test_many_are_shown_first_and_changed_then(tmp_path: Path) -> None:
    """What changes is manual from then on, what does not keeps its source; the sidecars follow."""
    async with house(tmp_path) as (it, by):
        edit = Edit(find="text", replace="word", prepend=("ohwx",))
        shown = await by.preview("cats", "main", edit)
        assert (shown.changed, shown.captions) == (3, 3) and ("0.png", "a text", "ohwx, a word") in shown.examples
        assert texts(it.home) == PROSE
        await by.edit("cats", "main", edit)
        await carry_out(it, by)
        assert texts(it.home) == {"0.txt": "ohwx, a word\n", "1.txt": "ohwx, a word\n", "2.txt": "ohwx, mine\n"}
        await by.edit("cats", "tags", Edit(remove=("one",)))
        await carry_out(it, by)
        assert await told(it, "tags") == {"0": ("two", "manual"), "2": ("three", "generated")}
