"""The plan: each file is planned after those before it, and nothing is touched."""

import pytest
from dropdock.daemon.planning import Planner
from dropdock.daemon.undoing import Undoer
from hands import snapshot
from house_made import Home, opened, sha
from model_files import write_safetensors
from pictures_made import picture, zipped

LORA = {f"lora_unet_down_blocks_{n}_attentions_0.lora_{d}.weight": ("F16", (4, 8)) for n in range(3) for d in ("down", "up")}
RULES = """
pipelines:
  inbox:
    - {name: zips, when: {kind: archive}, do: [{unpack: {dataset: "{parent}"}}]}
    - {name: loose, when: {kind: image, path: "*"}, do: [{move: {to: sorted, name: picture.png}}]}
    - {name: pictures, when: {kind: image}, do: [dataset, {caption: basic}]}
    - {name: models, when: {kind: model}, do: [store, deploy]}
    - {name: rubbish, when: {suffix: .md}, do: [trash, {tag: never}]}
  library:
    - {name: take in, when: {kind: model}, do: [adopt]}
"""


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path, RULES)


def plan(home, *paths):
    """Name -> the steps, of all that lies there; and nothing may be touched by asking."""
    before = snapshot(home.root)
    bad = []
    with Planner(home.config, 1_700_000_000.0, lambda path, error: bad.append(path)) as planner:
        found = {p.explanation.path.rsplit("/", 1)[1]: p for p in planner.plan(paths)}
    assert snapshot(home.root) == before and not bad
    return found


def test_two_copies_of_one_model_are_kept_once(home):
    """The second is told as a further name; a third of the same size but other bytes is kept."""
    one = write_safetensors(home.inbox / "a.safetensors", LORA)
    (home.inbox / "b.safetensors").write_bytes(one.read_bytes())
    (home.inbox / "c.safetensors").write_bytes(one.read_bytes()[:-1] + b"\x07")
    found = plan(home, home.inbox)
    assert [found[f"{n}.safetensors"].steps[0].note.split(":")[0] for n in "abc"] == [
        "into the hub", "the hub keeps the same bytes as a.safetensors", "into the hub",
    ]  # fmt: skip
    assert found["a.safetensors"].steps[0].at == home.hub / sha(one)[:2] / sha(one) / "a.safetensors"
    assert found["a.safetensors"].steps[1].note == "wanted by comfyui"


def test_two_files_with_one_target_name_get_two_names(home):
    """The name that the first would take is taken for the second; the same bytes would go to the trash."""
    for name, n in (("a", 1), ("b", 2), ("c", 1)):
        home.drop(f"{name}.png", picture(n))
    found = plan(home, *(home.inbox / f"{n}.png" for n in "abc"))
    assert found["a.png"].steps[0].at == home.inbox / "sorted/picture.png"
    assert found["b.png"].steps[0].at == home.inbox / "sorted/picture (2).png"
    assert "the same bytes would lie at" in found["c.png"].steps[0].note


def test_a_dataset_that_will_exist_is_no_new_one(home):
    """The ZIP makes it, the picture joins it under a free stem, the same ZIP again brings nothing."""
    for name in ("cats/a.zip", "cats/b.zip"):
        (home.inbox / "cats").mkdir(exist_ok=True)
        zipped(home.inbox / name, {"x.png": picture(1)})
    home.drop("cats/p.png", picture(2))
    home.drop("cats/p.jpg", picture(3, form="JPEG"))
    home.drop("cats/sub/q.png", picture(2))
    found = plan(home, home.inbox)
    assert "a new dataset cats" in found["a.zip"].steps[0].note and "trash" in found["b.zip"].steps[0].note
    assert len(found["b.zip"].steps) == 1
    assert [found[n].steps[0].note for n in ("p.jpg", "p.png")] == [
        "into the dataset cats as p.jpg", "into the dataset cats as p-2.png",
    ]  # fmt: skip
    assert "the same picture as p-2.png" in found["q.png"].steps[0].note


def test_nothing_follows_the_trash(home):
    """A chain ends where the performer would end it."""
    home.drop("a.md", b"x")
    assert [s.verb for s in plan(home, home.inbox)["a.md"].steps] == ["trash"]


async def test_what_is_remembered_counts_and_what_was_undone_is_held(home):
    """A model that the hub keeps already, and a file that waits for a person."""
    path = write_safetensors(home.inbox / "a.safetensors", LORA)
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        again = write_safetensors(home.library / "b.safetensors", LORA)
        assert "a link takes its place" in plan(home, again)["b.safetensors"].steps[0].note
        undoer = Undoer(house.house, house.performer, house.projection, lambda p: None)
        await undoer.undo(next(r.id for r in await house.told() if r.verb == "store"))
        found = plan(home, path)["a.safetensors"]
        assert found.steps == () and found.note.startswith("held: undone")
        assert plan(home, again)["b.safetensors"].steps[0].note == "into the hub, and a link in its place"


def test_an_archive_that_holds_more_is_told_as_held(home):
    """A ZIP with a picture and a model stays where it is; a text or two does not keep it."""
    zipped(home.inbox / "more.zip", {"x.png": picture(1), "a.safetensors": b"weights", "read me.txt": b"hi"})
    zipped(home.inbox / "plain.zip", {"y.png": picture(2), "read me.txt": b"hi"})
    found = plan(home, home.inbox)
    more, plain = found["more.zip"].steps[0], found["plain.zip"].steps[0]
    assert "held, with more in it: a.safetensors" in more.note and more.at == home.inbox / "more.zip"
    assert plain.note.endswith("the archive into the trash")


async def test_a_picture_is_told_by_the_name_that_it_gets(home):
    """Neither the name of a caption nor a folder below the dataset's is overlooked: the plan is what is done."""
    told = {home.drop("cats/x.txt", picture(1, form="JPEG")): "x.jpg", home.drop("cats/sub/y.png", picture(2)): "sub/y.png"}
    for path, rel in told.items():
        step = plan(home, path)[path.name].steps[0]
        assert (step.note, step.at) == (f"into a new dataset cats as {rel}", home.datasets / "cats" / rel)
    async with opened(home) as house:
        for path in told:
            await house.arrive(path)
        await house.work()
    assert all((home.datasets / "cats" / rel).is_file() for rel in told.values())
