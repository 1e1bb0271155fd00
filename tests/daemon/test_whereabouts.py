"""Why: where a file ended and by which rule, or why it still waits."""

from pathlib import Path

import pytest
from dropdock.daemon.settling import Waiting
from dropdock.daemon.whereabouts import Whereabouts
from dropdock.store import history
from house_made import Home, opened
from pictures_made import picture

RULES = """
pipelines:
  inbox:
    - {name: pictures, when: {kind: image}, do: [{dataset: cats}]}
    - {name: programs, when: {suffix: .md}, do: [{run: {argv: [/no/such/program], on_error: {retry: 0, then: hold}}}]}
    - {name: broken, when: {suffix: .log}, do: [{run: [/no/such/program]}]}
"""


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path, RULES)


async def asked(house, path, waiting=()):
    """About -> the sentences."""
    found: dict[str, list[str]] = {}
    for reason in await Whereabouts(house.house, lambda: list(waiting), lambda: 100.0).why(path):
        found.setdefault(reason.about, []).append(reason.text)
    return found


async def test_a_taken_picture_says_where_it_is_why_and_how_to_undo_it(home):
    """The end, the rule with what it found, the companion's lead, the line to undo."""
    lead, text = home.drop("a.png", picture(1)), home.drop("a.txt", b"a cat")
    async with opened(home) as house:
        await house.arrive(lead, text)
        await house.work()
        found = await asked(house, lead)
        assert str(home.datasets / "cats/a.png") in found["file"][0] and "'pictures'" in found["rule"][0]
        assert "dropdock undo" in found["undo"][0] and "job" not in found
        assert "it goes with a.png" in (await asked(house, text))["file"]


async def test_a_path_that_settles_says_for_what_it_waits(home):
    """Also a folder, for what is in it."""
    path = home.inbox / "big.safetensors"
    async with opened(home) as house:
        waiting = [Waiting(path, "it is still written", 58.0)]
        assert (await asked(house, path, waiting))["waiting"] == ["still settles for 42 s: it is still written"]
        assert (await asked(house, home.inbox, waiting))["waiting"] == [
            "big.safetensors still settles for 42 s: it is still written"
        ]


async def test_a_paused_watch_an_ignored_name_and_a_place_that_nobody_watches(home):
    """What keeps a file from being looked at is said."""
    async with opened(home) as house:
        await house.store.write(history.pause_watch, "inbox", True)
        assert "paused" in (await asked(house, home.inbox / "x.png"))["watch"][0]
        await house.store.write(history.pause_watch, "inbox", False)
        assert "temporary name" in (await asked(house, home.inbox / "x.part"))["watch"][0]
        assert (await asked(house, Path("/nowhere/x.png")))["watch"] == ["it is in no watched folder"]
        assert "rescan" in (await asked(house, home.inbox / "x.png"))["file"][0]


async def test_a_failed_job_is_told_with_its_reason(home):
    """When it comes again, and, once it gave up, how to try again; a held file says what for."""
    path, held = home.drop("a.log", b"x"), home.drop("a.md", b"x")
    async with opened(home) as house:
        await house.arrive(path)
        await house.arrive(held)
        await house.work()
        assert "attempt 2 comes at" in (await asked(house, path))["job"][0]
        for _ in range(2):
            home.clock.at += 7200
            await house.work()
        found = await asked(house, path)
        assert "failed after 3 attempts" in found["job"][0] and "cannot be started" in found["job"][0]
        assert "it lies there, held" in (await asked(house, held))["file"][0]
