"""Absence: what lies on a disk that is not there is away, keeps its row, and comes back by itself; only what was deleted departs."""

import os
from dataclasses import replace

import pytest
from dropdock.daemon import absence, rescan
from dropdock.daemon.intake import ABSENT, Intake
from dropdock.handlers import disk
from dropdock.store import away, files, history
from house_made import Home, opened
from pictures_made import picture


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


async def settled(house, *paths):
    for path in paths:
        await house.arrive(path)
    root = house.home.library.stat()
    await house.store.write(history.set_scanned, "library", 1.0, len(paths), (root.st_dev, root.st_ino))


async def states(house, *paths):
    return [((row := await house.file(path)).state, row.present) for path in paths]


async def test_a_missing_root_makes_everything_away_until_it_is_back(home):
    """Present and away, then as before: no departure, no arrival is told."""
    path, other = home.library / "a.png", home.library / "sub/b.png"
    other.parent.mkdir()
    for n, at in enumerate((path, other)):
        at.write_bytes(picture(n))
    async with opened(home) as house:
        await settled(house, path, other)
        watch, before = house.house.watch_of(path), await house.told()
        home.library.rename(home.root / "elsewhere")
        assert await absence.believed(house.house, watch, [path]) == []
        await absence.root_away(house.house, watch)
        assert await states(house, path, other) == [("away", True)] * 2
        (home.root / "elsewhere").rename(home.library)
        root = home.library.stat()
        await absence.come_back(house.house, watch, (root.st_dev, root.st_ino), (root.st_dev, root.st_ino))
        assert await states(house, path, other) == [("done", True)] * 2
        assert await house.told() == before


async def test_left_held_and_queued_come_back_as_such(home):
    """The state is told by the end and the open job."""
    left, queued, held = home.drop("note.md", b"# x"), home.drop("cat.png", picture(1)), home.drop("other.md", b"# y")
    async with opened(home) as house:
        for path in (left, queued, held):
            await house.arrive(path)
        await house.store.write(files.hold, (await house.file(held)).id, "why")
        watch = house.house.watch_of(left)
        before = await states(house, left, queued, held)
        await absence.root_away(house.house, watch)
        assert await states(house, left, queued, held) == [("away", True)] * 3
        await absence.come_back(house.house, watch, None, None)
        assert await states(house, left, queued, held) == before


async def test_a_departure_from_a_volume_that_is_unmounted_is_not_believed(home):
    """Recorded on another device than the root's, and only the root's is there now: away. On the root's own device: gone."""
    nested, own = home.library / "mnt/a.png", home.library / "b.png"
    nested.parent.mkdir()
    for n, at in enumerate((nested, own)):
        at.write_bytes(picture(n))
    async with opened(home) as house:
        await settled(house, nested, own)
        row = await house.file(nested)
        await house.store.write(lambda c: c.execute("UPDATE files SET dev=dev+7 WHERE id=?", (row.id,)))
        watch = house.house.watch_of(own)
        nested.unlink()
        own.unlink()
        true = await absence.believed(house.house, watch, [nested, own])
        assert [d.path for d in true] == [own]
        assert await states(house, nested) == [("away", True)]
        (home.library / "mnt").rmdir()
        assert await absence.believed(house.house, watch, [home.library / "mnt"]) == []


async def test_no_departure_is_believed_below_a_root_on_another_volume_than_it_was(home):
    """The share is unmounted and its mount point is left: what cannot be seen there is away until the next comparison."""
    path = home.library / "a.png"
    path.write_bytes(picture(1))
    async with opened(home) as house:
        await settled(house, path)
        root, watch = home.library.stat(), house.house.watch_of(path)
        path.unlink()
        await house.store.write(history.set_scanned, "library", 1.0, 1, (root.st_dev + 7, root.st_ino))
        assert await absence.believed(house.house, watch, [path]) == []
        assert await states(house, path) == [("away", True)]
        await house.store.write(history.set_scanned, "library", 2.0, 0, (root.st_dev, root.st_ino))
        assert [d.path for d in await absence.believed(house.house, watch, [path])] == [path]


async def test_a_disk_with_a_new_number_is_the_same_disk(home):
    """Rows follow the number, so that what is deleted later is believed, and nothing is looked at anew."""
    path = home.library / "a.png"
    path.write_bytes(picture(1))
    async with opened(home) as house:
        await settled(house, path)
        root, watch = home.library.stat(), house.house.watch_of(path)
        await house.store.write(lambda c: c.execute("UPDATE files SET dev=12345"))
        await absence.come_back(house.house, watch, (12345, root.st_ino), (root.st_dev, root.st_ino))
        assert (await house.file(path)).stamp == replace(disk.stamp(path), dev=root.st_dev)
        os.unlink(path)
        assert [d.path for d in await absence.believed(house.house, watch, [path])] == [path]


async def test_what_is_still_missing_stays_away(home):
    """Coming back is asked of the disk, path by path."""
    path, other = home.library / "a.png", home.library / "b.png"
    for n, at in enumerate((path, other)):
        at.write_bytes(picture(n))
    async with opened(home) as house:
        await settled(house, path, other)
        watch = house.house.watch_of(path)
        await absence.root_away(house.house, watch)
        path.unlink()
        await absence.come_back(house.house, watch, None, None)
        assert await states(house, path, other) == [("away", True), ("done", True)]
        assert await house.store.read(away.away, "library") == [path]


async def test_an_empty_folder_in_the_place_of_a_library_is_a_notice_until_the_library_is_back(home):
    """The watch hears, but of another folder: a person is told so; nothing departs."""
    path = home.library / "a.png"
    path.write_bytes(picture(1))
    async with opened(home) as house:
        intake = Intake(house.house, house.conveyor)
        await settled(house, path)
        watch = house.house.watch_of(path)
        home.library.rename(home.root / "elsewhere")
        home.library.mkdir()
        await intake._compare(watch, "asked for")
        assert await states(house, path) == [("away", True)]
        assert intake.notices() == (f"library: {ABSENT}",)
        home.library.rmdir()
        (home.root / "elsewhere").rename(home.library)
        await intake._compare(watch, "asked for")
        assert await states(house, path) == [("done", True)] and intake.notices() == ()


async def test_only_a_comparison_that_found_the_folder_is_told_of(home):
    """What waits for one (rules that changed) hears nothing of a library that is missing or paused, and hears what came back."""
    path = home.library / "a.png"
    path.write_bytes(picture(1))
    async with opened(home) as house:
        intake, told = Intake(house.house, house.conveyor), []
        intake.on_compared = lambda watch, back: told.append((watch, back))
        await settled(house, path)
        watch = house.house.watch_of(path)
        home.library.rename(home.root / "elsewhere")
        await intake._compare(watch, "asked for")
        intake.paused.add("library")
        (home.root / "elsewhere").rename(home.library)
        await intake._compare(watch, "asked for")
        assert told == []
        intake.paused.clear()
        await intake._compare(watch, "resumed")
        await intake._compare(watch, "asked for")
        assert told == [("library", True), ("library", False)]


async def test_a_folder_that_may_not_be_read_is_a_notice_until_it_may(home, monkeypatch):
    """Nobody looks into it, so a person is told which it is, and how to open it."""
    (home.library / "closed").mkdir()
    async with opened(home) as house:
        intake, watch, real = Intake(house.house, house.conveyor), house.house.watch_of(home.library / "x"), rescan._listing

        def refusing(path, follow):
            if path.endswith("/closed"):
                raise PermissionError(13, "Permission denied", path)
            return real(path, follow)

        with monkeypatch.context() as patch:
            patch.setattr(rescan, "_listing", refusing)
            await intake._compare(watch, "asked for")
        (said,) = intake.notices()
        assert said.startswith(f"library: {home.library}/closed may not be read") and "dropdock rescan library" in said
        await intake._compare(watch, "asked for")
        assert intake.notices() == ()
