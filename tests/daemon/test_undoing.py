"""Undo, restore and release on a real home: what comes back, what stays, and what is said when it cannot be."""

from contextlib import asynccontextmanager

import pytest
from dropdock.daemon.undoing import Undoer
from dropdock.handlers import disk
from dropdock.rules.terms import Arrival, Facts, Kind, Lane, Model, ModelFacts
from dropdock.store import blobs, datasets, deeds, files, history, links, models
from hands import other_volume
from house_made import Home, Killed, opened, sha
from model_files import write_safetensors
from pictures_made import picture, zipped

LORA = {f"lora_unet_down_blocks_{n}_attentions_0.lora_{d}.weight": ("F16", (4, 8)) for n in range(3) for d in ("down", "up")}
RULES = """
pipelines:
  inbox:
    - {name: zips, when: {kind: archive}, do: [{unpack: {dataset: "{stem}"}}]}
    - {name: pictures, when: {kind: image, path: "cats/**"}, do: [dataset, {caption: basic}]}
    - {name: tagged, when: {kind: image, path: "tagged/**"}, do: [{tag: [new, seen]}]}
    - {name: unwanted, when: {suffix: .md}, do: [{trash: {keep: 14 days}}]}
    - {name: models, when: {kind: model}, do: [store, deploy]}
"""


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path, RULES)


@asynccontextmanager
async def undoing(home):
    async with opened(home) as house:
        house.touched = []
        house.undoer = Undoer(house.house, house.performer, house.projection, house.touched.append)
        yield house


async def line(house, verb: str) -> int:
    """The newest line of a verb that was done."""
    return [r.id for r in await house.told() if r.event == "performed" and r.verb == verb][-1]


async def taken(house, path, *companions):
    await house.arrive(path, *companions)
    await house.work()


def lora(home, name: str = "a.safetensors"):
    return write_safetensors(home.inbox / name, LORA)


async def test_an_undone_store_gives_the_model_back_and_takes_its_links(home):
    """The file with its companion lies where it was dropped, held; hub, record and links are as before."""
    path, preview = lora(home), home.drop("a.preview.png", picture(1))
    content = sha(path)
    async with undoing(home) as house:
        await taken(house, path, preview)
        await house.projection.project()
        assert [p for p in home.app.rglob("*.safetensors")]
        answer = await house.undoer.undo(await line(house, "store"))
        assert answer.done and sha(path) == content and preview.exists(), answer
        row = await house.file(path)
        assert (row.state, row.present, row.end) == ("held", True, "held") and "rescan --force" in row.note
        assert await house.store.read(models.get, content) is None
        assert not [p for p in home.app.rglob("*.safetensors")] and not [p for p in home.hub.rglob("*") if p.is_file()]


async def test_what_was_undone_is_held_until_it_changes_or_is_forced(home):
    """The next rescan takes nothing; `rescan --force` and a change let the rules decide again."""
    path = lora(home)
    async with undoing(home) as house:
        await taken(house, path)
        await house.undoer.undo(await line(house, "store"))
        await taken(house, path)
        assert (await house.file(path)).state == "held"
        assert await house.store.write(deeds.forget_ends, "inbox") == 1
        await taken(house, path)
        assert (await house.file(path)).end == "hub"


async def test_an_undo_is_not_done_twice_and_not_undone(home):
    """The second wish is told which line did it; the undo's own line has no undo."""
    path = lora(home)
    async with undoing(home) as house:
        await taken(house, path)
        stored = await line(house, "store")
        assert (await house.undoer.undo(stored)).done
        again, back = await house.undoer.undo(stored), await house.undoer.undo(await line(house, "undo"))
        assert not again.done and "already" in again.note and not back.done and "not undone" in back.note
        assert await house.undoer.undo(99_999) is None


async def test_a_file_that_changed_since_is_left_alone(home):
    """Somebody wrote into the hub's file: nothing moves, the links come again, and the reason is told."""
    path = lora(home)
    async with undoing(home) as house:
        await taken(house, path)
        blob = next(p for p in home.hub.rglob("*.safetensors"))
        with blob.open("ab") as file:
            file.write(b"more")
        answer = await house.undoer.undo(await line(house, "store"))
        assert not answer.done and "changed since" in answer.note and blob.exists() and not path.exists()
        (model,) = await house.store.read(models.listing)
        assert model.wanted == "*"


async def test_a_later_copy_of_the_same_bytes_must_be_undone_first(home):
    """The hub's one blob stands for two dropped files; undone in the right order both lie there again."""
    one = lora(home)
    async with undoing(home) as house:
        await taken(house, one)
        first = await line(house, "store")
        two = lora(home, "b.safetensors")
        await taken(house, two)
        second = await line(house, "store")
        answer = await house.undoer.undo(first)
        assert not answer.done and f"undo {second}" in answer.note
        assert (await house.undoer.undo(second)).done and (await house.undoer.undo(first)).done
        assert sha(one) == sha(two)


async def test_something_new_at_the_old_place_is_never_replaced(home):
    """A new file of that name: refused, both stay."""
    path = lora(home)
    async with undoing(home) as house:
        await taken(house, path)
        path.write_bytes(b"new")
        answer = await house.undoer.undo(await line(house, "store"))
        assert not answer.done and "something stands at" in answer.note and path.read_bytes() == b"new"


async def test_an_undone_deploy_takes_the_links_and_keeps_the_model(home):
    """Who wanted it before wants it again: nobody."""
    path = lora(home)
    async with undoing(home) as house:
        await taken(house, path)
        assert (await house.undoer.undo(await line(house, "deploy"))).done
        (model,) = await house.store.read(models.listing)
        assert model.wanted is None and model.in_hub


async def test_with_an_undone_store_the_deploy_behind_it_is_undone_too(home):
    """The model left the hub, so its deploy is not offered any more, and says by which line it ended; the other model's is."""
    path, other = lora(home), write_safetensors(home.inbox / "b.safetensors", {**LORA, "more": ("F16", (2,))})
    async with undoing(home) as house:
        await taken(house, path)
        ended = await line(house, "deploy")
        await taken(house, other)
        stands = await line(house, "deploy")
        assert (await house.undoer.undo(min(r.id for r in await house.told() if r.verb == "store"))).done
        offered = {r.id for r in await house.told() if r.undoable and r.undone is None}
        assert ended not in offered and stands in offered
        refused = await house.undoer.undo(ended)
        assert not refused.done and refused.note == f"it was undone already, by line {await line(house, 'undo')}"


async def test_an_order_about_a_model_that_is_not_kept_any_more_says_so(home):
    """A line of before, whose model left the hub: why it cannot be taken back is told."""
    path = lora(home)
    async with undoing(home) as house:
        await taken(house, path)
        await house.store.write(lambda c: c.execute("DELETE FROM models"))
        refused = await house.undoer.undo(await line(house, "deploy"))
        assert not refused.done and refused.note == "the hub does not keep this model any more"


async def test_an_undone_unpack_gives_the_archive_back_and_keeps_what_was_edited(home):
    """Pictures go to the trash with the captions we made; an edited text and a changed picture stay, and both are told."""
    made = {f"{n}.png": picture(n) for n in range(4)} | {"0.txt": b"came with it"}
    path = zipped(home.inbox / "cats.zip", made)
    content = sha(path)
    async with undoing(home) as house:
        await taken(house, path)
        dataset = home.datasets / "cats"
        (dataset / "1.txt").write_text("mine")
        (dataset / "2.png").write_bytes(picture(77))
        answer = await house.undoer.undo(await line(house, "unpack"))
        assert answer.done and "2.png: changed since" in answer.note and "1.txt: the text was edited" in answer.note
        assert sha(path) == content and sorted(p.name for p in dataset.iterdir()) == ["1.txt", "2.png"]
        kept = {r.original.name for r in await house.store.read(history.kept_aside, "trash")}
        assert kept == {"0.png", "0.txt", "1.png", "3.png"}
        assert [i.rel for i in await house.store.read(datasets.items, "cats")] == ["2.png"]
        assert (await house.file(dataset / "0.png")).end == "trash"


async def test_an_undone_unpack_leaves_no_empty_dataset(home):
    """Everything went: the folder and the record of the dataset are gone, and the same archive may come again."""
    path = zipped(home.inbox / "cats.zip", {"a.png": picture(1)})
    async with undoing(home) as house:
        await taken(house, path)
        assert (await house.undoer.undo(await line(house, "unpack"))).done
        assert not (home.datasets / "cats").exists() and await house.store.read(datasets.listing) == []
        await house.store.write(deeds.forget_ends, None)
        await taken(house, path)
        assert (home.datasets / "cats/a.png").exists()


async def test_an_undone_picture_returns_with_its_text_and_our_caption_goes(home):
    """What was dropped comes back as it was; a caption that a captioner wrote goes to the trash."""
    one, text, two = home.drop("cats/a.png", picture(1)), home.drop("cats/a.txt", b"tabby"), home.drop("cats/b.png", picture(2))
    async with undoing(home) as house:
        await house.arrive(one, text)
        await house.arrive(two)
        await house.work(Lane.HASH, Lane.CPU, Lane.CAPTION)
        assert (home.datasets / "cats/b.txt").exists()
        for row in [r.id for r in await house.told() if r.verb == "dataset"]:
            answer = await house.undoer.undo(row)
            assert answer.done, answer
        assert text.read_bytes() == b"tabby" and one.exists() and two.exists() and not (home.datasets / "cats").exists()
        assert [r.original.name for r in await house.store.read(history.kept_aside, "trash")] == ["b.txt"]


async def test_a_picture_that_the_dataset_had_already_comes_back(home):
    """Its line put it into the trash, and that is taken back; the picture that is there stays."""
    one, two = home.drop("cats/a.png", picture(1)), home.drop("cats/b.png", picture(1))
    async with undoing(home) as house:
        await taken(house, one)
        await taken(house, two)
        assert not two.exists()
        answer = await house.undoer.undo([r.id for r in await house.told() if r.verb == "dataset"][-1])
        assert answer.done, answer
        assert two.read_bytes() == picture(1) and (home.datasets / "cats/a.png").exists()


async def test_tags_that_were_new_go(home):
    """A tag that was there before the rule gave it stays."""
    path = home.drop("tagged/a.png", picture(1))
    async with undoing(home) as house:
        await house.arrive(path)
        await house.store.write(files.tag, (await house.file(path)).id, ["seen"])
        await house.work()
        assert (await house.file(path)).tags == ("new", "seen")
        assert (await house.undoer.undo(await line(house, "tag"))).done
        assert (await house.file(path)).tags == ("seen",)


async def test_trash_is_undone_until_it_expired(home):
    """A trashed file returns; after its retention the reason is that it expired."""
    one, two = home.drop("a.md", b"one"), home.drop("b.md", b"two")
    async with undoing(home) as house:
        await taken(house, one)
        assert (await house.undoer.undo(await line(house, "trash"))).done and one.read_bytes() == b"one"
        assert await house.store.read(history.kept_aside, "trash") == []
        await taken(house, two)
        (row,) = await house.store.read(history.kept_aside, "trash")
        row.path.unlink()
        await house.store.write(history.set_aside_state, row.id, "expired")
        answer = await house.undoer.undo(await line(house, "trash"))
        assert not answer.done and "expired" in answer.note


async def test_restored_is_held_and_released_is_decided_again(home):
    """Both put the file back with its companion; only the released one is looked at again."""
    for name in ("a", "b"):
        home.drop(f"{name}.md", name.encode())
    async with undoing(home) as house:
        for name in ("a", "b"):
            await taken(house, home.inbox / f"{name}.md")
        ids = [r.id for r in await house.store.read(history.kept_aside, "trash")]
        assert (await house.undoer.restore(ids[0], False)).done and house.touched == []
        assert (await house.undoer.restore(ids[1], True)).done and house.touched == [home.inbox / "b.md"]
        for name in ("a", "b"):
            await taken(house, home.inbox / f"{name}.md")
        assert [(await house.file(home.inbox / f"{n}.md")).present for n in ("a", "b")] == [True, False]
        again = await house.undoer.restore(ids[0], False)
        assert not again.done and "restored already" in again.note and await house.undoer.restore(12_345, False) is None


async def test_a_broken_picture_of_an_archive_is_restored_beside_it(home):
    """Its place was inside the archive: it comes into the folder where the archive was dropped."""
    path = zipped(home.inbox / "cats.zip", {"a.png": picture(1), "broken.jpg": picture(2, form="JPEG")[:600]})
    async with undoing(home) as house:
        await taken(house, path)
        (row,) = await house.store.read(history.kept_aside, "quarantine")
        answer = await house.undoer.restore(row.id, False)
        assert (
            answer.done and (home.inbox / "broken.jpg").exists() and (await house.file(home.inbox / "broken.jpg")).state == "held"
        )


async def test_killed_in_the_middle_of_an_undo_the_next_start_finishes_it(home, monkeypatch):
    """The intent is durable, one move of two is made: recovery makes the other, records all, and the line is undone once."""
    path, preview = lora(home), home.drop("a.preview.png", picture(1))
    async with undoing(home) as house:
        await taken(house, path, preview)
        real, made = disk.rename_new, []

        def dying(source, target):
            if made:
                raise Killed
            made.append(target)
            real(source, target)

        monkeypatch.setattr(disk, "rename_new", dying)
        with pytest.raises(Killed):
            await house.undoer.undo(await line(house, "store"))
        monkeypatch.setattr(disk, "rename_new", real)
    async with undoing(home) as house:
        assert path.exists() and preview.exists() and await house.store.read(history.intents) == []
        row = await house.file(path)
        assert (row.state, row.present) == ("held", True) and await house.store.read(models.listing) == []
        assert not (await house.undoer.undo(await line(house, "store"))).done


async def test_a_folder_model_comes_back_whole(home):
    """Every file of the folder is present and held again, and a rescan finds nothing new."""
    folder = home.inbox / "pipe"
    folder.mkdir()
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (folder / "unet").mkdir()
    write_safetensors(folder / "unet/diffusion_pytorch_model.safetensors", {"conv_in.weight": ("F16", (320, 4, 3, 3))})
    async with undoing(home) as house:
        watch = house.house.watch_of(folder)
        unit = Arrival(watch.name, folder, disk.stamp(folder), (), True)
        await house.conveyor.take([unit])
        await house.work()
        answer = await house.undoer.undo(await line(house, "store"))
        assert answer.done, answer
        before = len(await house.told())
        await house.conveyor.take([unit])
        assert len(await house.told()) == before
        assert (await house.file(folder / "unet/diffusion_pytorch_model.safetensors")).state == "held"


LIBRARY = RULES + "  library:\n    - {name: take in, when: {kind: model}, do: [adopt]}\n"


async def test_an_adopted_file_is_wanted_where_it_was_and_undo_puts_it_back(tmp_path):
    """The projection keeps the link at its place; undone, the library has its own file again and the hub nothing."""
    home = Home(tmp_path, LIBRARY)
    path = write_safetensors(home.library / "a.safetensors", LORA)
    content, ino = sha(path), path.stat().st_ino
    async with undoing(home) as house:
        await taken(house, path)
        assert path.is_symlink() and (await house.file(path)).end == "hub"
        path.unlink()
        await house.projection.project()
        assert path.is_symlink() and sha(path) == content
        answer = await house.undoer.undo(await line(house, "adopt"))
        assert answer.done and not path.is_symlink() and path.stat().st_ino == ino, answer
        await house.projection.project()
        await taken(house, path)
        row = await house.file(path)
        assert (row.state, row.present) == ("held", True) and not [p for p in home.hub.rglob("*") if p.is_file()]
        assert await house.store.read(models.listing) == []


async def test_an_adopted_file_that_was_edited_since_says_where_it_is(tmp_path):
    """An app wrote through the link: the bytes are kept as what they are now, and the reason says where."""
    home = Home(tmp_path, LIBRARY)
    path = write_safetensors(home.library / "a.safetensors", LORA)
    content = sha(path)
    async with undoing(home) as house:
        await taken(house, path)
        row = await house.store.read(models.get, content)
        facts = Facts(row.blob, Kind.MODEL, 10, model=ModelFacts("safetensors", "lora"))
        new = home.hub / "00" / ("0" * 64) / "a.safetensors"
        new.parent.mkdir(parents=True)
        row.blob.rename(new)
        await house.store.write(models.keep, Model("0" * 64, "x", 10, new.name, new, facts), new, 1.0)
        await house.store.write(blobs.succeed, content, "0" * 64)
        await house.store.write(blobs.pass_on)
        answer = await house.undoer.undo(await line(house, "adopt"))
        assert not answer.done and f"is kept as {new}" in answer.note and str(path) in answer.note


async def test_a_second_adoption_is_undone_from_the_trash(tmp_path):
    """Its own bytes were in the trash: they come back over the link, and the hub keeps the first one's."""
    home = Home(tmp_path, LIBRARY)
    one, two = (write_safetensors(home.library / f"{n}.safetensors", LORA) for n in "ab")
    content = sha(one)
    async with undoing(home) as house:
        await taken(house, one)
        first = await line(house, "adopt")
        await taken(house, two)
        assert not (await house.undoer.undo(first)).done
        answer = await house.undoer.undo(await line(house, "adopt"))
        assert answer.done and not two.is_symlink() and sha(two) == content and one.is_symlink(), answer
        assert (await house.undoer.undo(first)).done and not one.is_symlink() and sha(one) == content


async def test_a_persons_file_in_the_links_place_stays(tmp_path):
    """Somebody put a file where the link stood: the adoption is not undone over it."""
    home = Home(tmp_path, LIBRARY)
    path = write_safetensors(home.library / "a.safetensors", LORA)
    async with undoing(home) as house:
        await taken(house, path)
        path.unlink()
        path.write_bytes(b"mine")
        answer = await house.undoer.undo(await line(house, "adopt"))
        assert not answer.done and "something stands at" in answer.note and path.read_bytes() == b"mine"


async def test_across_volumes_an_app_finds_its_file_between_any_two_moves(tmp_path, monkeypatch):
    """The copy leaves the hub only when the file stands at its place again; cut off in between, it is asked for once more."""
    with other_volume(tmp_path) as far:
        home = Home(tmp_path, LIBRARY, hub=far / "hub")
        path = write_safetensors(home.library / "a.safetensors", LORA)
        content = sha(path)
        async with undoing(home) as house:
            await taken(house, path)
            assert path.resolve().is_relative_to(far)
            real, broken, seen = disk.rename_new, [True], []

            def looking(source, target):
                seen.append((sha(path), path.is_symlink()))
                if broken:
                    raise OSError(5, "no such luck")
                real(source, target)

            monkeypatch.setattr(disk, "rename_new", looking)
            adopted = await line(house, "adopt")
            assert not (await house.undoer.undo(adopted)).done and not path.is_symlink() and sha(path) == content
            await house.projection.project()
            broken.clear()
            answer = await house.undoer.undo(adopted)
            assert answer.done and seen == [(content, False)] * 2 and sha(path) == content, answer
            assert (await house.file(path)).state == "held" and await house.store.read(history.kept_aside, "trash") != []
            assert await house.store.read(links.listing) == [] and await house.store.read(models.listing) == []
            assert {r.original.parent for r in await house.store.read(history.kept_aside, "trash")} == {
                far / f"hub/{content[:2]}/{content}"
            }


@pytest.mark.parametrize("at", ["carry_out", "record"])
async def test_killed_after_the_moves_of_an_undo_no_empty_folder_is_left_in_the_hub(tmp_path, monkeypatch, at):
    """Whoever finishes the undo, this process or the next, the hub has nothing of that content, not even a folder."""
    home = Home(tmp_path, LIBRARY)
    path = write_safetensors(home.library / "a.safetensors", LORA)
    async with undoing(home) as house:
        await taken(house, path)
        carry_out = disk.carry_out

        def dying(*args, **more):
            if at == "carry_out":
                carry_out(*args, **more)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(*((disk, "carry_out") if at == "carry_out" else (house.store, "record")), dying)
            with pytest.raises(Killed):
                await house.undoer.undo(await line(house, "adopt"))
    async with undoing(home) as house:
        assert not path.is_symlink() and (await house.file(path)).state == "held"
        assert [p.name for p in home.hub.iterdir() if p.name != disk.OWN] == []


async def test_killed_after_an_undo_is_recorded_no_empty_folder_is_left(tmp_path, monkeypatch):
    """What tidies runs before the intent is settled, so there is no moment in which nobody would."""
    home = Home(tmp_path, LIBRARY)
    path = write_safetensors(home.library / "a.safetensors", LORA)
    async with undoing(home) as house:
        await taken(house, path)
        record = house.store.record

        async def dying(*entries):
            await record(*entries)
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(house.store, "record", dying)
            with pytest.raises(Killed):
                await house.undoer.undo(await line(house, "adopt"))
    async with undoing(home):
        assert not path.is_symlink() and [p.name for p in home.hub.iterdir() if p.name != disk.OWN] == []


async def test_killed_before_the_intent_nothing_is_undone_and_the_links_come_again(home, monkeypatch):
    """The links go first, and only in memory does nobody want the model: a crash then costs it no target."""
    path = lora(home)
    async with undoing(home) as house:
        await taken(house, path)
        await house.projection.project()

        async def dying(*_):
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(house.store, "intend", dying)
            with pytest.raises(Killed):
                await house.undoer.undo(await line(house, "store"))
        assert not list(home.app.rglob("*.safetensors"))
    async with undoing(home) as house:
        (model,) = await house.store.read(models.listing)
        await house.projection.project()
        assert model.wanted == "*" and list(home.app.rglob("*.safetensors")) and not path.exists()
