"""What is done with a file whose action fails, and actions that wait for somebody else, on a real home with a real queue."""

import sys

import pytest
from aiohttp import web
from dropdock.daemon.reload import effective
from dropdock.daemon.undoing import Undoer
from dropdock.handlers import disk
from dropdock.rules.terms import Lane
from dropdock.store import files, history, jobs, models
from house_made import Home, Killed, opened
from model_files import write_safetensors

LORA = {f"lora_unet_down_blocks_{n}_attentions_0.lora_{d}.weight": ("F16", (4, 8)) for n in range(3) for d in ("down", "up")}
FAILS = f"[{sys.executable}, -c, raise SystemExit(3)]"


def home_of(tmp_path, do: str, when: str = "{suffix: .md}") -> Home:
    more = "  forge: {layout: forge, path: %s}\n" % (tmp_path / "forge")
    (tmp_path / "forge/models").mkdir(parents=True)
    return Home(tmp_path, f"{more}pipelines:\n  inbox:\n    - {{name: it, when: {when}, do: [{do}]}}\n")


async def attempt(house) -> None:
    """Wait out the pause of the queue, and work."""
    house.home.clock.at += 7200
    await house.work()


async def failed_for_good(house, path):
    """Let the queue try until it gives up; the one job, failed with the program's own words."""
    await house.arrive(path)
    for _ in range(4):
        await attempt(house)
    (job,) = await house.store.read(jobs.listing)
    assert str(job.state) == "failed" and "failed with 3" in job.error
    return job


async def test_a_failing_action_is_tried_again_and_then_quarantined(tmp_path):
    """`retry: 1, then: quarantine`: two attempts, then the file is aside with the program's own words, and the chain ends."""
    home = home_of(tmp_path, f"{{run: {{argv: {FAILS}, on_error: {{retry: 1, then: quarantine}}}}}}, {{tag: after}}")
    path = home.drop("a.md", b"words")
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        assert path.exists() and [j.attempts for j in await house.store.read(jobs.listing)] == [1]
        await attempt(house)
        row = await house.file(path)
        assert row.end == "quarantine" and "failed with 3" in row.note and row.tags == ()
        assert [str(j.state) for j in await house.store.read(jobs.listing)] == ["done"]
        (aside,) = await house.store.read(history.kept_aside, "quarantine")
        assert aside.path.read_bytes() == b"words"


async def test_what_was_taken_in_is_not_put_aside(tmp_path):
    """Behind `move` there is nothing to quarantine: the job is listed as failed; `trash` there is skipped, and says why."""
    do = f"{{move: {{to: {tmp_path}/kept}}}}, {{run: {{argv: {FAILS}, on_error: {{retry: 0, then: quarantine}}}}}}"
    home = home_of(tmp_path, do)
    path = home.drop("a.md", b"words")
    async with opened(home) as house:
        await failed_for_good(house, path)
        assert await house.store.read(history.kept_aside, None) == []
    home = home_of(tmp_path / "other", f"{{move: {{to: {tmp_path}/other/kept}}}}, trash, {{tag: after}}")
    path = home.drop("a.md", b"words")
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        (line,) = [r for r in await house.told() if r.verb == "trash"]
        row = await house.file(path)
        assert (line.status, row.end, row.tags) == ("skipped", "moved", ("after",)) and "taken in already" in line.note
        assert (tmp_path / "other/kept/a.md").read_bytes() == b"words"


async def test_a_failing_action_is_held_when_that_is_said(tmp_path):
    """`then: hold` without a retry count: after the queue's own attempts the file waits for a person."""
    home = home_of(tmp_path, f"{{run: {{argv: {FAILS}, on_error: {{retry: 0, then: hold}}}}}}")
    path = home.drop("a.md", b"words")
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        row = await house.file(path)
        assert (row.state, row.present) == ("held", True) and "failed with 3" in row.note


async def test_a_program_that_takes_the_file_away_leaves_nothing_to_do(tmp_path, caplog):
    """`store` behind it is skipped with the reason, not a surprise; a file that comes back is looked at anew."""
    away = f"[{sys.executable}, -c, 'import os, sys; os.unlink(sys.argv[1])', '{{path}}']"
    home = home_of(tmp_path, f"{{run: {{argv: {away}}}}}, store", "{kind: model}")
    path = write_safetensors(home.inbox / "a.safetensors", LORA)
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        assert [(r.verb, r.status, r.note) for r in await house.told() if r.event == "performed"][1:] == [
            ("store", "skipped", "the file is not there any more")
        ]
        assert [str(j.state) for j in await house.store.read(jobs.listing)] == ["done"] and house.changed == [path]
        assert (await house.file(path)).stamp.mtime_ns == -1


async def test_without_on_error_the_job_is_listed_as_failed(tmp_path):
    """Three attempts, then the job is failed with its reason, and `retry` gives it new ones."""
    home = home_of(tmp_path, f"{{run: {FAILS}}}")
    path = home.drop("a.md", b"words")
    async with opened(home) as house:
        job = await failed_for_good(house, path)
        assert job.attempts == 3 and (await house.file(path)).state == "failed"


async def test_what_no_repetition_can_help_is_quarantined_at_once(tmp_path):
    """A taken name with `on_conflict: fail`: one attempt is enough."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/a.md").write_text("there")
    do = f"{{move: {{to: {tmp_path}/kept, on_conflict: fail, on_error: {{then: quarantine}}}}}}"
    home = home_of(tmp_path, do)
    path = home.drop("a.md", b"words")
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        row = await house.file(path)
        assert row.end == "quarantine" and (tmp_path / "kept/a.md").read_text() == "there"


async def test_a_moved_file_is_recorded_where_it_is_and_can_be_undone(tmp_path):
    """The end is its new place; undone it is in the inbox again."""
    home = home_of(tmp_path, f"{{move: '{tmp_path}/kept/{{kind}}'}}")
    path = home.drop("a.md", b"words")
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        row = await house.file(path)
        assert (row.end, row.end_at) == ("moved", tmp_path / "kept/other/a.md") and row.end_at.read_bytes() == b"words"
        undoer = Undoer(house.house, house.performer, house.projection, lambda p: None)
        line = next(r.id for r in await house.told() if r.verb == "move")
        assert (await undoer.undo(line)).done and path.read_bytes() == b"words"


async def test_deploy_names_its_targets(tmp_path):
    """`deploy: forge` links into forge only."""
    home = home_of(tmp_path, "store, {deploy: forge}", "{kind: model}")
    path = write_safetensors(home.inbox / "a.safetensors", LORA)
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        await house.projection.project()
        (model,) = await house.store.read(models.listing)
        assert model.wanted == "forge" and list((tmp_path / "forge").rglob("*.safetensors"))
        assert not list(home.app.rglob("*.safetensors"))


@pytest.fixture
async def hooked(aiohttp_server):
    """A server that writes down what it is told; it refuses the first time."""
    got = []

    async def take(request):
        got.append(await request.json())
        return web.Response(status=500 if len(got) == 1 else 204)

    app = web.Application()
    app.router.add_post("/new", take)
    server = await aiohttp_server(app)
    server.got = got
    return server


async def test_a_webhook_is_told_by_a_job_of_its_own_until_it_listens(tmp_path, hooked):
    """The chain goes on at once; the net lane tries again; the body says where the file is."""
    home = home_of(tmp_path, f"{{webhook: '{hooked.make_url('/new?key=S3CRET')}'}}, {{trash: {{keep: 1 days}}}}")
    path = home.drop("a.md", b"words")
    async with opened(home) as house:
        await house.arrive(path)
        await house.work()
        assert (await house.file(path)).end == "trash" and hooked.got == []
        await house.work(Lane.NET)
        home.clock.at += 7200
        await house.work(Lane.NET)
        assert [body["file"]["end"] for body in hooked.got] == ["trash", "trash"]
        assert hooked.got[1]["file"]["path"] == str(path) and await house.performed("webhook") == ["done"]
        told = [r.note for r in await house.told()] + [j.title for j in await house.store.read(jobs.listing)]
        assert not any("S3CRET" in text for text in told)
        assert (await house.store.read(files.at, path)).state == "done"


async def test_killed_while_a_failed_file_is_quarantined_the_next_start_says_quarantine(tmp_path, monkeypatch):
    """The journal holds another verb than the job's step: recovery records the one that was done, and the chain ends."""
    home = home_of(tmp_path, f"{{run: {{argv: {FAILS}, on_error: {{retry: 0, then: quarantine}}}}}}, {{tag: after}}")
    path = home.drop("a.md", b"words")

    def dying(*_):
        raise Killed

    async with opened(home) as house:
        await house.arrive(path)
        with monkeypatch.context() as patch:
            patch.setattr(disk, "rename_new", dying)
            with pytest.raises(Killed):
                await house.work()
    async with opened(home) as house:
        await house.work()
        row = await house.file(path)
        assert (row.end, row.tags) == ("quarantine", ())
        assert await house.performed("quarantine") == ["done"] and await house.performed("run") == []


def test_the_settings_in_force_show_no_address(tmp_path):
    """What GET /api/v1/config tells of a webhook is its host."""
    home = home_of(tmp_path, "{webhook: 'https://me:pw@box.lan/hook/T0KEN?key=S3CRET'}")
    shown = str(effective(home.config))
    assert "box.lan" in shown and not any(word in shown for word in ("S3CRET", "T0KEN", "pw@"))
