"""Staging in a folder of somebody else's: in the journal while it is filled, cleared by the next start, and refusals leave no folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from dropdock.daemon.marking import STAGING
from dropdock.handlers import disk
from dropdock.rules.terms import Outcome, Prepared, Status
from dropdock.store import history
from hands import other_volume
from house_made import Home, Killed, opened, sha
from model_files import write_safetensors

LORA = {f"lora_unet_down_blocks_{n}_attentions_0.lora_{d}.weight": ("F16", (4, 8)) for n in range(3) for d in ("down", "up")}


@pytest.mark.parametrize("verb", ["move", "copy"])
async def test_while_it_is_filled_it_is_in_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    """The row is there from the first byte until the moves are journalled; afterwards the folder has the file, and nothing of ours."""
    with other_volume(tmp_path) as far:
        home = Home(tmp_path, f"pipelines: {{inbox: [{{name: all, do: [{{{verb}: {{to: {far}/there}}}}]}}]}}\n")
        path = home.drop("a.bin", b"words")
        seen: list[tuple[list[str], bool]] = []
        async with opened(home) as house:
            real = disk.copy_checked

            def looking(source, target, *args, **more):  # type: ignore[no-untyped-def]
                import sqlite3

                with sqlite3.connect(home.root / "data/dropdock.db") as c:
                    rows = c.execute("SELECT verb, prepared FROM journal").fetchall()
                (folder,) = json.loads(rows[0][1])["staging"]
                seen.append(([verb for verb, _ in rows], Path(folder) in target.parents))
                return real(source, target, *args, **more)

            monkeypatch.setattr(disk, "copy_checked", looking)
            await house.arrive(path)
            await house.work()
            assert seen == [([STAGING], True)] and await house.store.read(history.intents) == []
        assert (far / "there/a.bin").read_bytes() == b"words" and not (far / disk.OWN).exists()


async def test_what_a_dead_process_was_filling_is_cleared(tmp_path: Path) -> None:
    """before: half a copy in somebody's folder -> after the start: their own files only."""
    theirs = tmp_path / "elsewhere"
    half = theirs / disk.OWN / "staging/token"
    half.mkdir(parents=True)
    (half / "a.bin").write_bytes(b"ha")
    (theirs / "own.txt").write_text("mine")
    home = Home(tmp_path)
    async with opened(home) as house:
        await house.store.intend(STAGING, Prepared(Outcome(Status.SKIPPED), staging=(half,)), None, None, 0)
    async with opened(home) as house:
        assert await house.store.read(history.intents) == []
    assert [p.name for p in theirs.iterdir()] == ["own.txt"]


@pytest.mark.parametrize("verb", ["move", "copy"])
async def test_what_was_full_when_the_process_died_is_moved_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Killed between the intent of the moves and the end of the mark: the next start makes the moves, and leaves nothing of ours."""
    with other_volume(tmp_path) as far:
        home = Home(tmp_path, f"pipelines: {{inbox: [{{name: all, do: [{{{verb}: {{to: {far}/there}}}}, {{tag: after}}]}}]}}\n")
        path = home.drop("a.bin", b"words")

        async with opened(home) as house:
            await house.arrive(path)
            real = house.store.write

            async def dying(work, *args, **more):  # type: ignore[no-untyped-def]
                if work is history.settle_intent:
                    raise Killed
                return await real(work, *args, **more)

            with monkeypatch.context() as patch:
                patch.setattr(house.store, "write", dying)
                with pytest.raises(Killed):
                    await house.work()
            assert [row.verb for row in await house.store.read(history.intents)] == [STAGING, verb]
        async with opened(home) as house:
            assert await house.store.read(history.intents) == [] and not house.house.waiting
            await house.work()
            assert await house.performed(verb) == ["done"] and (await house.file(path)).tags == ("after",)
        assert (far / "there/a.bin").read_bytes() == b"words" and not (far / "there" / disk.OWN).exists()
        assert not (far / disk.OWN).exists() and path.exists() is (verb == "copy")


@pytest.mark.parametrize("mode", ["library", "inbox"])
async def test_a_refused_action_leaves_no_empty_folder_in_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """The file changes before its last move: it stays where it is, and the hub has no folder for what never came."""
    rules = "pipelines: {library: [{name: in, do: [adopt]}], inbox: [{name: in, do: [store]}]}\n"
    home = Home(tmp_path, rules)
    path = write_safetensors((home.library if mode == "library" else home.inbox) / "a.safetensors", LORA)
    async with opened(home) as house:
        real = disk.carry_out

        def late(moves, *args, **more):  # type: ignore[no-untyped-def]
            path.unlink()
            path.write_bytes(b"new")
            return real(moves, *args, **more)

        monkeypatch.setattr(disk, "carry_out", late)
        await house.arrive(path)
        await house.work()
        assert path.read_bytes() == b"new" and sha(path) and house.changed == [path]
    assert [p.name for p in home.hub.iterdir() if p.name != disk.OWN] == [] and home.staging_left() == []
