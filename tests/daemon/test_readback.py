"""Reading datasets back: what a person does in a dataset's folder is what the store knows, and our own writes are not taken for theirs."""

import os

import pytest
from dropdock.rules.terms import Departure, Lane
from dropdock.store import captions, datasets, runs, sets
from dropdock.store.jobs import NewJob
from dropdock.store.runs import NewRun
from house_made import Home, Opened, opened
from pictures_made import picture, zipped

MORE = """
captioners:
  text: {engine: simple, text: "a text"}
pipelines:
  inbox:
    - name: zips
      when: {kind: archive}
      do: [{unpack: {dataset: "{stem}"}}]
    - name: pictures
      when: {kind: image}
      do: [{dataset: "{parent}"}, {caption: {with: text}}]
"""


@pytest.fixture
async def house(tmp_path):
    home = Home(tmp_path, MORE)
    zipped(home.inbox / "cats.zip", {"a.png": picture(1), "sub/b.png": picture(2), "sub/b.txt": b"a dog"})
    async with opened(home) as house:
        await house.arrive(home.inbox / "cats.zip")
        await house.work()
        await house.work(Lane.CAPTION)
        yield house


async def item(house: Opened, rel: str):
    return await house.store.read(datasets.item, "cats", rel)


async def test_own_writes_do_not_come_back(house):
    """Pictures and texts that we put there are known with their stamps: arriving, they do nothing."""
    before = await house.told()
    for path in (house.home.datasets / "cats").rglob("*.*"):
        await house.arrive(path)
    assert await house.told() == before
    assert {(await item(house, rel)).source for rel in ("a.png", "sub/b.png")} == {"generated", "imported"}


@pytest.mark.parametrize("rel, text", [("a.png", "a.txt"), ("sub/b.png", "sub/b.txt")])
async def test_an_edited_text_becomes_the_manual_caption(house, rel, text):
    """Ours or imported: the words on disk are the caption of the active set, marked as manual, and nothing is written there."""
    path = house.home.datasets / "cats" / text
    path.write_text("what I see\n")
    await house.arrive(path)
    found = await item(house, rel)
    assert (found.caption, found.source) == ("what I see", "manual") and path.read_text() == "what I see\n"
    assert await house.store.read(datasets.has_caption, "cats", rel, "main")
    before = await house.told()
    await house.arrive(path)
    assert await house.told() == before, "read back once"


@pytest.mark.parametrize("rel, text", [("a.png", "a.txt"), ("sub/b.png", "sub/b.txt")])
async def test_a_text_that_is_deleted_is_missing_until_one_lies_there_again(house, rel, text):
    """Also one that came along: a run over what is missing picks its picture; its words are kept, and count when they are back."""
    path = house.home.datasets / "cats" / text
    words = path.read_bytes()
    was = await item(house, rel)
    path.unlink()
    await house.conveyor.depart([Departure("datasets", path)])
    wish = NewRun("cats", "text", picks="missing")
    assert await house.store.read(runs.count, wish, "caption") == 1
    assert not await house.store.read(datasets.has_caption, "cats", rel, "main")
    (found,) = await house.store.read(captions.beside, "cats", "main", only=[was.id])
    assert found.deleted and found.own.text == was.caption and (await item(house, rel)).caption is None
    assert [d.captioned for d in await house.store.read(datasets.listing)] == [1]
    assert [s.captions for s in await house.store.read(sets.listing, "cats")] == [1]
    assert rel not in (await house.store.read(datasets.holdings, "cats")).captioned
    path.write_bytes(words)
    await house.arrive(path)
    assert await house.store.read(runs.count, wish, "caption") == 0
    assert (await item(house, rel)).caption == was.caption


async def test_a_deleted_text_is_written_anew(house):
    """By a rule or a run, though it was by hand; a picture whose name begins alike keeps its own."""
    cats = house.home.datasets / "cats"
    (cats / "a.b.png").write_bytes(picture(5))
    (cats / "a.b.txt").write_text("its own")
    (cats / "a.txt").write_text("by hand")
    await house.arrive(cats / "a.b.png", cats / "a.b.txt")
    await house.arrive(cats / "a.txt")
    (cats / "a.txt").unlink()
    await house.conveyor.depart([Departure("datasets", cats / "a.txt")])
    asked = {"dataset": "cats", "rel": "a.png", "captioner": "text", "set": "main", "only": "missing"}
    await house.store.enqueue(NewJob("again", Lane.CAPTION, "caption a.png", asked))
    await house.work(Lane.CAPTION)
    found = await item(house, "a.png")
    assert (found.caption, found.source, (cats / "a.txt").read_text()) == ("a text", "generated", "a text\n")
    assert (await item(house, "a.b.png")).caption == "its own" and (cats / "a.b.txt").read_text() == "its own"


async def test_a_text_that_comes_again_takes_the_place_of_a_deleted_one(house):
    """The same picture dropped with a text: the one that is there has that text now."""
    cats = house.home.datasets / "cats"
    (cats / "sub/b.txt").unlink()
    await house.conveyor.depart([Departure("datasets", cats / "sub/b.txt")])
    lead, text = house.home.drop("cats/again.png", picture(2)), house.home.drop("cats/again.txt", b"a new dog")
    await house.arrive(lead, text)
    await house.work()
    found = await item(house, "sub/b.png")
    assert (found.caption, (cats / "sub/b.txt").read_text()) == ("a new dog", "a new dog")
    assert not (cats / "again.png").exists()


async def test_a_picture_put_there_by_hand_is_recorded_with_its_text(house):
    """Bytes stay where and as they are; digests, size and caption are known."""
    lead, text = house.home.datasets / "cats/new.png", house.home.datasets / "cats/new.txt"
    lead.write_bytes(picture(5))
    text.write_text("by hand")
    await house.arrive(lead, text)
    found = await item(house, "new.png")
    assert (found.width, found.caption, found.source, found.origin) == (320, "by hand", "manual", "by hand")
    assert lead.read_bytes() == picture(5) and text.read_text() == "by hand"


async def test_a_dataset_made_by_hand_is_one(house):
    """A new folder of pictures below the datasets folder is a dataset of its name."""
    lead = house.home.datasets / "dogs/x.png"
    lead.parent.mkdir()
    lead.write_bytes(picture(6))
    await house.arrive(lead)
    assert [d.slug for d in await house.store.read(datasets.listing)] == ["cats", "dogs"]


async def test_a_changed_picture_is_another_content(house):
    """Painted over: its new digest is recorded under the same path."""
    path = house.home.datasets / "cats/a.png"
    old = await item(house, "a.png")
    path.write_bytes(picture(7))
    await house.arrive(path)
    new = await item(house, "a.png")
    assert new.id == old.id and new.sha256 != old.sha256


async def test_what_is_no_whole_picture_is_not_recorded_and_not_moved(house):
    """Half a file in a dataset stays where it is and is nobody's item; neither is a file beside the datasets."""
    half, loose = house.home.datasets / "cats/half.png", house.home.datasets / "loose.png"
    half.write_bytes(picture(8)[:800])
    loose.write_bytes(picture(9))
    for path in (half, loose):
        await house.arrive(path)
        assert path.exists()
    assert await item(house, "half.png") is None
    assert [d.slug for d in await house.store.read(datasets.listing)] == ["cats"]


async def test_a_file_that_cannot_be_read_keeps_no_other_back(house, monkeypatch):
    """One closed file in a batch: the other one is read back."""
    from dropdock.daemon import readback
    from dropdock.handlers import disk
    from dropdock.rules.terms import Arrival

    closed, open_ = house.home.datasets / "cats/closed.png", house.home.datasets / "cats/open.png"
    closed.write_bytes(picture(10))
    open_.write_bytes(picture(11))
    real = readback._read

    def refusing(home, slug, stamps, known):
        if closed in stamps:
            raise PermissionError(13, os.strerror(13))
        return real(home, slug, stamps, known)

    monkeypatch.setattr(readback, "_read", refusing)
    await house.conveyor.take([Arrival("datasets", p, disk.stamp(p)) for p in (closed, open_)])
    assert await item(house, "closed.png") is None and await item(house, "open.png") is not None
    monkeypatch.setattr(readback, "_read", real)
    await house.arrive(closed)
    assert await item(house, "closed.png") is not None, "it was not noted as known, so it is found again"


async def test_odd_names_find_their_picture(house):
    """Brackets and stars in a name are letters."""
    lead, text = house.home.datasets / "cats/a [1].png", house.home.datasets / "cats/a [1].txt"
    lead.write_bytes(picture(12))
    await house.arrive(lead)
    text.write_text("one of many")
    await house.arrive(text)
    assert (await item(house, "a [1].png")).caption == "one of many"


async def test_a_batch_is_one_question_a_dataset_and_one_transaction(house, monkeypatch):
    """However many pictures with texts were put into two datasets by hand, and though one of them is gone again meanwhile."""
    from dropdock.daemon import readback
    from dropdock.handlers import disk
    from dropdock.rules.terms import Arrival

    asked: list[str] = []
    real_holdings, real_read = readback.datasets.holdings, readback._read
    gone = house.home.datasets / "dogs/03.png"

    def holdings(c, slug):
        asked.append(slug)
        return real_holdings(c, slug)

    def read(home, slug, stamps, known):
        if gone in stamps:
            gone.unlink()
        return real_read(home, slug, stamps, known)

    monkeypatch.setattr(readback.datasets, "holdings", holdings)
    monkeypatch.setattr(readback, "_read", read)
    arrivals = []
    for n in range(24):
        lead = house.home.datasets / ("cats", "dogs")[n % 2] / f"{n:02}.png"
        lead.parent.mkdir(exist_ok=True)
        lead.write_bytes(picture(100 + n))
        lead.with_suffix(".txt").write_text(f"number {n}")
        arrivals.append(Arrival("datasets", lead, disk.stamp(lead), (lead.with_suffix(".txt"),)))
    commits = 0

    def count() -> None:
        nonlocal commits
        commits += 1

    house.store.db.on_commit = count
    await house.conveyor.take(arrivals)
    assert (sorted(asked), commits) == (["cats", "dogs"], 1)
    found = {d.slug: d for d in await house.store.read(datasets.listing)}
    assert (found["cats"].pictures, found["dogs"].pictures, found["dogs"].captioned) == (2 + 12, 11, 11)
    assert (await house.store.read(datasets.item, "dogs", "23.png")).caption == "number 23"


async def test_a_text_goes_to_a_picture_of_the_same_batch(house):
    """A picture put by hand and, as a unit of its own behind it, the text of another suffix that belongs to it."""
    from dropdock.handlers import disk
    from dropdock.rules.terms import Arrival

    lead, text = house.home.datasets / "birds/x.png", house.home.datasets / "birds/x.caption"
    lead.parent.mkdir()
    lead.write_bytes(picture(13))
    text.write_text("a bird")
    await house.conveyor.take([Arrival("datasets", p, disk.stamp(p)) for p in (lead, text)])
    assert (await house.store.read(datasets.item, "birds", "x.png")).caption == "a bird"
