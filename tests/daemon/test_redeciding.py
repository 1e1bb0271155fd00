"""New rules are asked about what the old ones left, and about nothing else."""

from __future__ import annotations

import pytest
from dropdock.daemon.redeciding import redecide, rules_digest
from dropdock.store import files, jobs
from house_made import Home, opened
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
    """A picture that waits in its job, and a library's file, keep what was decided."""
    path, other = home.drop("a.png", picture(1)), home.library / "notes.md"
    other.write_text("words")
    async with opened(with_rules(home, "pipelines: {inbox: [{name: p, when: {kind: image}, do: [dataset]}]}\n")) as house:
        await redecide(house.house)
        await house.arrive(path)
        await house.arrive(other)
    async with opened(with_rules(home, SOME)) as house:
        assert await redecide(house.house) == {}


async def test_only_what_rules_say_counts(home):
    """Another text of the same rules has the same digest; another rule, order, or pipeline has not."""
    same = "# a comment\npipelines:\n  inbox:\n    - do: [trash]\n      when:\n        suffix: .never\n      name: words\n"
    found = []
    for rules in (NONE, same, SOME):
        async with opened(with_rules(home, rules)) as house:
            found.append(rules_digest(house.house, "inbox"))
    assert found[0] == found[1] != found[2]
