"""New rules are asked about what the old ones left, and about nothing else."""

from __future__ import annotations

import asyncio

import pytest
from dropdock.daemon.redeciding import Libraries, changed_libraries, redecide, rules_digest
from dropdock.rules.terms import Lane
from dropdock.store import away as away_rows
from dropdock.store import files, jobs
from house_made import Home, opened
from model_files import write_safetensors
from pictures_made import picture

NONE = "pipelines: {inbox: [{name: words, when: {suffix: .never}, do: [trash]}]}\n"
SOME = "pipelines: {inbox: [{name: words, when: {suffix: .md}, do: [trash]}]}\n"


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path, NONE)


def with_rules(home, rules):
    return Home(home.root, rules)


async def test_what_was_left_is_decided_again_when_the_rules_changed(home):
    """before: left by the old rules -> other rules, after a restart -> the new rule has it; a held file stays held."""
    note, held = home.drop("a.md", b"# words"), home.drop("b.md", b"# mine")
    async with opened(home) as house:
        assert await redecide(house.house) == {}
        for path in (note, held):
            await house.arrive(path)
        await house.store.write(files.hold, (await house.file(held)).id, "a person asked")
        assert await redecide(house.house) == {}
        await house.arrive(note)
        assert (await house.file(note)).state == "left"
    async with opened(with_rules(home, SOME)) as house:
        assert await redecide(house.house) == {"inbox": 1} and await redecide(house.house) == {}
        for path in (note, held):
            await house.arrive(path)
        assert (await house.file(note)).state == "queued" and (await house.file(held)).state == "held"
        assert len(await house.store.read(jobs.listing)) == 1


async def test_what_has_ended_otherwise_is_not_asked_about_again(home):
    """A picture that waits in its job keeps what was decided, and a library's file is no inbox's."""
    path, other = home.drop("a.png", picture(1)), home.library / "notes.md"
    other.write_text("words")
    async with opened(with_rules(home, "pipelines: {inbox: [{name: p, when: {kind: image}, do: [dataset]}]}\n")) as house:
        await redecide(house.house)
        await house.arrive(path)
        await house.arrive(other)
    async with opened(with_rules(home, SOME)) as house:
        assert await redecide(house.house) == {}


ADOPT = "pipelines: {library: [{name: take, when: {kind: model}, do: [adopt]}]}\n"
TAG = "pipelines: {library: [{name: mark, when: {kind: model}, do: [{tag: [mine]}]}]}\n"
TENSORS = {"a.lora_down.weight": ("F16", (4, 640)), "a.lora_up.weight": ("F16", (640, 4))}


async def again(house, back=False):
    """What happens behind a comparison of the library, in a daemon that has just been started."""
    return await Libraries(house.house).redecide("library", back)


def model(home, name, extra=1):
    return write_safetensors(home.library / name, {**TENSORS, "b": ("F16", (extra,))})


async def test_a_library_is_decided_by_its_new_rules_without_being_read_again(home, monkeypatch):
    """before: tracked, no rule wants them -> a rule adopts models: each is taken in; a held one, one a disk took away and a text stay."""
    paths = [model(home, f"{n}.safetensors", n) for n in range(1, 5)]
    taken, waiting, held, away = paths
    (home.library / "a.txt").write_text("words")
    async with opened(home) as house:
        assert await again(house) == 0
        for path in (taken, held, away, home.library / "a.txt"):
            await house.arrive(path)
        await house.work()
        await house.arrive(waiting)  # its job waits to hash it
        await house.store.write(files.hold, (await house.file(held)).id, "a person asked")
        gone = (await house.file(away)).id
        await house.store.write(files.set_state, gone, "away")
        assert await again(house) == 0
    monkeypatch.setattr("dropdock.daemon.conveyor.identify", None)  # nothing is looked into
    async with opened(with_rules(home, ADOPT)) as house:
        assert await again(house) == 2
        assert await again(house) == 0
        row = await house.file(taken)
        assert (row.state, row.rule, bool(row.sha256)) == ("queued", "take", True)
        await house.work()
        assert [path.is_symlink() for path in paths] == [True, True, False, False]
        assert {(await house.file(path)).state for path in (held, away)} == {"held", "away"}
        assert [r.note for r in await house.told() if r.note.startswith("the rules changed")] != []


async def test_what_is_away_is_asked_about_when_it_is_back(home):
    """before: the disk is away while the rules change -> nothing of it is queued; back again -> a rule takes it in, once."""
    here, away = model(home, "a.safetensors", 1), model(home, "b.safetensors", 2)
    async with opened(home) as house:
        await again(house)
        for path in (here, away):
            await house.arrive(path)
        await house.work()
        await house.store.write(away_rows.leave, "library", away)
    async with opened(with_rules(home, ADOPT)) as house:
        libraries = Libraries(house.house)
        assert await libraries.redecide("library", False) == 1 and (await house.file(away)).state == "away"
        assert await libraries.redecide("library", False) == 0
        await house.store.write(away_rows.come_back, "library", [away])
        assert await libraries.redecide("library", True) == 1
        await house.work()
        assert here.is_symlink() and away.is_symlink()
        assert await changed_libraries(house.house) == [] and await libraries.redecide("library", True) == 0


async def test_a_library_is_asked_about_behind_a_comparison(home):
    """Nothing is queued before its folder was found, for it may be on a disk that is not there, or paused."""
    async with opened(home) as house:
        await again(house)
        await house.arrive(model(home, "a.safetensors"))
        await house.work()
    async with opened(with_rules(home, ADOPT)) as house:
        assert await changed_libraries(house.house) == ["library"]
        libraries = Libraries(house.house)
        task = asyncio.create_task(libraries.run())
        await asyncio.sleep(0)
        assert await house.store.read(jobs.listing, state="queued") == []
        libraries.compared("inbox", False)
        libraries.compared("library", False)
        while await changed_libraries(house.house):
            await asyncio.sleep(0)
        task.cancel()
        assert [job.title for job in await house.store.read(jobs.listing, state="queued")] == ["adopt: a.safetensors"]


async def test_a_rule_that_moves_a_file_is_quicker_than_its_hash(home):
    """before: it waits to be hashed -> a new rule moves it: the hashing has nothing to do any more, and says nothing."""
    path, moved = model(home, "a.safetensors"), home.root / "elsewhere/a.safetensors"
    async with opened(home) as house:
        await again(house)
        await house.arrive(path)
    rules = f"pipelines: {{library: [{{name: out, when: {{kind: model}}, do: [{{move: {{to: '{home.root}/elsewhere'}}}}]}}]}}\n"
    async with opened(with_rules(home, rules)) as house:
        assert await again(house) == 1
        await house.work(Lane.CPU)
        await house.work(Lane.HASH)
        row = await house.file(path)
        assert moved.exists() and (row.state, row.end_at) == ("done", moved)
        assert [job.state for job in await house.store.read(jobs.listing)] == ["done", "done"]
        assert "track" not in [line.verb for line in await house.told()]


async def test_what_a_library_rule_had_is_not_asked_about_again(home):
    """A rule that took it keeps it, though it only tagged it: other rules are for what none had."""
    async with opened(with_rules(home, TAG)) as house:
        await again(house)
        await house.arrive(model(home, "a.safetensors"))
        await house.work()
        assert (await house.file(home.library / "a.safetensors")).tags == ("mine",)
    async with opened(with_rules(home, ADOPT)) as house:
        assert await again(house) == 0


async def test_a_file_that_changed_since_is_left_to_its_own_arrival(home):
    """It was replaced after it was recorded: its job finds that out and touches nothing."""
    path = model(home, "a.safetensors")
    async with opened(home) as house:
        await again(house)
        await house.arrive(path)
        await house.work()
    model(home, "a.safetensors", 7)
    async with opened(with_rules(home, ADOPT)) as house:
        assert await again(house) == 1
        await house.work()
        assert not path.is_symlink() and list(home.hub.rglob("*.safetensors")) == []


async def test_only_what_rules_say_counts(home):
    """Another text of the same rules has the same digest; another rule, order, or pipeline has not."""
    same = "# a comment\npipelines:\n  inbox:\n    - do: [trash]\n      when:\n        suffix: .never\n      name: words\n"
    found = []
    for rules in (NONE, same, SOME):
        async with opened(with_rules(home, rules)) as house:
            found.append(rules_digest(house.house, "inbox"))
    assert found[0] == found[1] != found[2]
