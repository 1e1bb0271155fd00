"""Plans asked of the daemon: the command's own plan, within the folders that are served, and nothing is touched."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from dropdock.daemon.cli import cli
from dropdock.daemon.plans import Plans
from hands import snapshot
from house_made import Home, opened
from pictures_made import picture

RULES = "pipelines: {inbox: [{name: pictures, when: {kind: image}, do: [dataset]}, {name: rest, do: [{move: {to: sorted}}]}]}\n"


async def test_it_is_the_plan_of_the_command(tmp_path: Path) -> None:
    """The same units with the same steps, in the same order; files stay as they are."""
    home = Home(tmp_path, RULES)
    (tmp_path / "config.yaml").write_text(home.text)
    for name, n in (("a", 1), ("b", 2), ("c", 1)):
        home.drop(f"cats/{name}.png", picture(n))
    before = snapshot(home.inbox)
    async with opened(home) as house:
        found = await Plans(house.house).plan(home.inbox, 10)
        assert found is not None and not found.more and found.unreadable == []
        said = CliRunner().invoke(cli, ["plan", "--json", str(home.inbox), "--config", str(tmp_path / "config.yaml")])
        assert [json.loads(line) for line in said.stdout.splitlines()] == list(found.units) and len(found.units) == 3
        assert Plans(house.house).library("library") == home.library and Plans(house.house).library("x") is None
    assert snapshot(home.inbox) == before


async def test_a_long_plan_is_cut_and_says_so(tmp_path: Path) -> None:
    """The first units, and that there are more; a limit that fits says that there are none."""
    home = Home(tmp_path, RULES)
    for n in range(4):
        home.drop(f"{n}.bin", b"%d" % n)
    async with opened(home) as house:
        for most, more in ((3, True), (4, False)):
            found = await Plans(house.house).plan(home.inbox, most)
            assert found is not None and (len(found.units), found.more) == (most, more)


async def test_what_is_served_by_nobody_is_not_there(tmp_path: Path) -> None:
    """Outside, behind a link that leads outside, missing, a name that no disk can hold: all alike."""
    home = Home(tmp_path, RULES)
    (tmp_path / "secret.bin").write_bytes(b"x")
    (home.inbox / "out").symlink_to(tmp_path / "secret.bin")
    async with opened(home) as house:
        plans = Plans(house.house)
        for path in (tmp_path / "secret.bin", home.inbox / "out", home.inbox / "none", home.inbox / ("x" * 300), tmp_path):
            assert await plans.plan(path, 5) is None
