"""What our own `move` and `copy` put under a watch: known there, at rest, and in another watch an arrival like any other."""

from pathlib import Path

import pytest
from dropdock.daemon.rescan import rescan
from dropdock.daemon.undoing import Undoer
from dropdock.daemon.whereabouts import Whereabouts
from dropdock.handlers import disk
from dropdock.rules.ignores import Ignores
from dropdock.store import deeds, history, models, rules_seen
from dropdock.store.index import Index
from house_made import Home, killed_at_its_moves, opened, sha
from model_files import write_safetensors
from pictures_made import picture

LORA = {f"lora_unet_down_blocks_{n}_attentions_0.lora_{d}.weight": ("F16", (4, 8)) for n in range(3) for d in ("down", "up")}
RULES = """
pipelines:
  inbox:
    - {name: sort, when: {kind: image}, do: [{tag: [mine]}, {move: {to: "sorted/{parent}", name: "new-{name}"}}]}
    - {name: backup, when: {kind: model}, do: [{copy: {to: "backup/{parent}"}}]}
"""
SECOND = """
  - {{path: {home}/second, mode: inbox, pipeline: second}}
pipelines:
  inbox: [{{name: away, when: {{kind: image}}, do: [{{move: "{home}/second"}}]}}]
  second: [{{name: back, when: {{kind: image}}, do: [{{VERB: "{home}/inbox"}}]}}]
"""


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path, RULES)


def two(tmp_path, verb: str) -> Home:
    """Two inboxes; the second sends everything back."""
    (tmp_path / "second").mkdir()
    home = Home(tmp_path)
    more = SECOND.replace("VERB", verb).format(home=tmp_path)
    watch, rest = more.split("pipelines:")
    home.text = home.text.replace("targets:", f"{watch.strip(chr(10))}\ntargets:") + "pipelines:" + rest
    return home


def dirty(house) -> list[Path]:
    """What a comparison of every watch finds."""
    found: list[Path] = []
    for watch in house.house.config.watches:
        with Index(house.store.db.path, watch.path) as index:
            found += rescan(watch, index, Ignores(watch.ignore, watch.max_depth)).dirty
    return found


def below(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file() and disk.OWN not in p.parts)


async def why(house, path: Path) -> str:
    return "\n".join(r.text for r in await Whereabouts(house.house, list, lambda: 0.0).why(path))


async def undone(house, verb: str):
    line = [r.id for r in await house.told() if r.event == "performed" and r.verb == verb][-1]
    return await Undoer(house.house, house.performer, house.projection, lambda path: None).undo(line)


async def test_what_is_moved_within_its_inbox_comes_to_rest(home):
    """A picture with its text and a model's copy: no comparison finds them, an arrival decides nothing, and `why` says who did it."""
    a, text, model = home.drop("cats/x.png", picture(1)), home.drop("cats/x.txt", b"a cat"), home.inbox / "m/m.safetensors"
    write_safetensors(model, LORA)
    async with opened(home) as house:
        await house.arrive(a, text)
        await house.arrive(model)
        await house.work()
        lies = ["backup/m/m.safetensors", "m/m.safetensors", "sorted/cats/new-x.png", "sorted/cats/new-x.txt"]
        assert below(home.inbox) == lies and dirty(house) == []
        at = home.inbox / "sorted/cats/new-x.png"
        await house.arrive(at, at.with_suffix(".txt"))
        await house.arrive(home.inbox / "backup/m/m.safetensors")
        await house.work()
        assert below(home.inbox) == lies and house.changed == []
        row, said = await house.file(at), await why(house, at)
        assert (row.state, row.end, row.present, row.tags, row.kind) == ("done", "left", True, ("mine",), "image")
        assert f"moved here from {a} (line" in said and "'sort'" in said and f"dropdock undo {row.placed_by}" in said
        assert f"moved here from {a}" in await why(house, at.with_suffix(".txt"))
        assert "copied here from" in await why(house, home.inbox / "backup/m/m.safetensors")
        assert f"it was moved, it lies here now: {at}" in await why(house, a)


async def test_new_rules_a_new_name_and_a_rescan_leave_it_and_force_and_a_change_do_not(home):
    """It is held to its place as what was undone: other rules and another name are no reason to decide again."""
    path, at = home.drop("cats/x.png", picture(1)), home.inbox / "sorted/cats/new-x.png"
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        await house.store.write(rules_seen.note_rules, {"inbox": "one"})
        await house.store.write(rules_seen.note_rules, {"inbox": "two"})
        assert dirty(house) == []
        other = at.rename(at.with_name("other.png"))
        await house.arrive(other)
        await house.work()
        assert below(home.inbox) == ["sorted/cats/other.png"] and dirty(house) == []
        assert await house.store.write(deeds.forget_ends, "inbox") == 1
        assert dirty(house) == [other]
        await house.arrive(other)
        await house.work()
        assert below(home.inbox) == ["sorted/sorted/new-other.png"]
        moved = home.inbox / "sorted/sorted/new-other.png"
        moved.write_bytes(picture(2))
        assert dirty(house) == [moved]


@pytest.mark.parametrize("verb", ["move", "copy"])
async def test_undone_it_is_known_at_neither_place_but_the_first(home, verb):
    """The row of the place that it left says that it is gone; the comparison finds nothing new."""
    path = home.drop("cats/x.png", picture(1)) if verb == "move" else write_safetensors(home.inbox / "m/m.safetensors", LORA)
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        (at,) = [p for p in home.inbox.rglob("*") if p.is_file() and p != path]
        answer = await undone(house, verb)
        assert answer.done and path.exists() and not at.exists(), answer
        assert dirty(house) == [] and not (await house.file(at)).present and (await house.file(path)).present


@pytest.mark.parametrize("what", ["picture", "folder", "far"])
async def test_killed_between_the_move_and_its_record_it_is_known_all_the_same(tmp_path, monkeypatch, what):
    """The next start writes the row with the action; a folder that is one model is known with all its files."""
    rules = 'pipelines: {inbox: [{name: all, do: [{move: {to: "sorted/{parent}", name: "new-{name}"}}]}]}\n'
    home = Home(tmp_path, rules)
    path = home.drop("cats/x.png", picture(1))
    if what == "folder":
        path = home.inbox / "style"
        write_safetensors(path / "adapter_model.safetensors", LORA)
        (path / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    if what == "far":
        monkeypatch.setattr("dropdock.handlers.conflict.one_volume", lambda *args: False)
    await killed_at_its_moves(home, path, made=True)
    async with opened(home) as house:
        await house.work()
        lies = [p for p in below(home.inbox) if not p.startswith("cats")]
        want = {"folder": ["adapter_config.json", "adapter_model.safetensors"]}.get(what, ["new-x.png"])
        assert [p.rsplit("/", 1)[1] for p in lies] == want and all(p.startswith("sorted/") for p in lies)
        assert [p for p in dirty(house) if "cats" not in p.parts or "sorted" in p.parts] == []
        assert all("moved here from" in note for note in [(await house.file(home.inbox / p)).note for p in lies])
        assert (await undone(house, "move")).done and path.exists()
        assert dirty(house) == [] or what == "folder"


async def test_a_folder_that_is_one_model_is_copied_and_at_rest(tmp_path):
    """The copy's files have stamps of their own, and all of them are known."""
    home = Home(tmp_path, 'pipelines: {inbox: [{name: all, do: [{copy: {to: "backup"}}]}]}\n')
    folder = home.inbox / "style"
    write_safetensors(folder / "adapter_model.safetensors", LORA)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    async with opened(home) as house:
        await house.arrive(folder)
        await house.work()
        assert len(below(home.inbox)) == 4 and dirty(house) == []
        answer = await undone(house, "copy")
        assert answer.done and len(below(home.inbox)) == 2 and dirty(house) == [], answer
        assert not (await house.file(home.inbox / "backup/style/adapter_config.json")).present


@pytest.mark.parametrize("verb", ["move", "copy"])
async def test_two_inboxes_do_not_send_a_file_back_and_forth(tmp_path, verb):
    """It arrives in the second at once and is decided by its rules; that it would go back is held, with the reason."""
    home = two(tmp_path, verb)
    path, at = home.drop("x.png", picture(1)), tmp_path / "second/x.png"
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        assert house.changed == [at] and dirty(house) == [at], "it arrives, and a crash before that is found by the comparison"
        assert f"moved here from {path}" in await why(house, at)
        await house.arrive(at)
        await house.work()
        row = await house.file(at)
        assert (row.state, row.rule, at.exists(), path.exists()) == ("held", "back", True, False)
        assert f"it came here from {path}" in row.note and "for ever" in row.note and dirty(house) == []
        assert await house.store.write(deeds.forget_ends, "second") == 1
        await house.arrive(at)
        await house.work()
        assert (await house.file(at)).state == "held" and at.exists(), "forced, it still does not go round"
        home.clock.at += 1
        at.write_bytes(picture(2))
        await house.arrive(at)
        await house.work()
        assert path.exists(), "another content is another file"


async def test_what_another_inbox_leaves_says_where_it_came_from(tmp_path):
    """No rule of the second inbox wants it: it is left there, its way is told, and another set of rules may have it."""
    home = two(tmp_path, "move")
    home.text = home.text.replace("name: back, when: {kind: image}", "name: back, when: {kind: archive}")
    path, at = home.drop("x.png", picture(1)), tmp_path / "second/x.png"
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        await house.arrive(at)
        said = await why(house, at)
        assert "it lies there, left" in said and f"move put it here from {path} (line" in said and "dropdock undo" in said
        assert dirty(house) == []
        await house.store.write(rules_seen.note_rules, {"second": "one"})
        assert await house.store.write(rules_seen.note_rules, {"second": "two"}) == {"second": 1}


async def test_a_move_that_another_watch_went_on_with_names_the_line_to_undo_first(tmp_path):
    """The later line is on another row: it is named all the same."""
    home = two(tmp_path, "copy")
    home.text = home.text.replace(f'copy: "{tmp_path}/inbox"', f'move: "{tmp_path}/kept"')
    path, at = home.drop("x.png", picture(1)), tmp_path / "second/x.png"
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        first = [r.id for r in await house.told() if r.verb == "move"][-1]
        await house.arrive(at)
        await house.work()
        last = [r.id for r in await house.told() if r.verb == "move"][-1]
        undoer = Undoer(house.house, house.performer, house.projection, lambda path: None)
        answer = await undoer.undo(first)
        assert not answer.done and f"undo {last} (move) first" in answer.note
        assert (await undoer.undo(last)).done and (await undoer.undo(first)).done and path.exists()
        assert dirty(house) == []


async def test_a_librarys_model_is_tracked_where_it_was_moved_to(tmp_path):
    """Its content is known at the new place without another hash, and after an undo at the old one."""
    home = Home(tmp_path, 'pipelines: {library: [{name: all, when: {kind: model}, do: [{move: {to: "sorted"}}]}]}\n')
    home.text = home.text.replace("mode: library}", "mode: library, pipeline: library}")
    path = write_safetensors(home.library / "a.safetensors", LORA)
    content, at = sha(path), home.library / "sorted/a.safetensors"
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        assert dirty(house) == []
        model = await house.store.read(models.get, content)
        assert model is not None and model.blob == at
        assert (await undone(house, "move")).done
        model = await house.store.read(models.get, content)
        assert model.blob == path and dirty(house) == [] and await house.store.read(history.intents) == []
