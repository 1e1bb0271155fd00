"""Captioners without a picture: what each lacks, what servers offer, downloads with their progress; over HTTP and in the shell."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from caption_servers import CaptionServer, hangs, ndjson, says, text
from click.testing import CliRunner
from dropdock.api.app import build
from dropdock.api.captioners import CAPTIONERS
from dropdock.api.ports import CaptionerState, DaemonStatus, FaceSettings
from dropdock.daemon import captioner_info
from dropdock.daemon.captioner_info import CaptionerInfo
from dropdock.daemon.cli import cli
from dropdock.daemon.config import CaptionerConfig
from dropdock.store.database import Database
from dropdock.store.store import Store
from onnx_made import tagger

TAGS = says({"models": [{"name": "eye:latest"}, {"name": "other:7b"}]})
LINES = [
    {"status": "pulling manifest"},
    {"status": "pulling aa", "digest": "sha256:aa", "total": 1000, "completed": 400},
    {"status": "pulling bb", "digest": "sha256:bb", "total": 600, "completed": 600},
    {"status": "pulling aa", "digest": "sha256:aa", "total": 1000, "completed": 1000},
    {"status": "success"},
]


def info(*captioners: CaptionerConfig, **more: object) -> CaptionerInfo:
    return CaptionerInfo(lambda: {c.name: c for c in captioners}, **more)


def ollama(url: str, model: str = "eye") -> CaptionerConfig:
    return CaptionerConfig("local", "ollama", {"url": url, "model": model})


async def test_each_says_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Local ones by their files, served ones by their server; what is there has no note."""
    (tmp_path / "m.gguf").write_bytes(b"GGUF....")
    with CaptionServer({"/api/tags": [TAGS], "/v1/models": [says({"data": [{"id": "big"}]})]}) as server:
        found = await info(
            CaptionerConfig("basic", "basic", {}),
            CaptionerConfig("gguf", "llama", {"model": str(tmp_path / "m.gguf"), "device": "cuda:1"}),
            ollama(server.url),
            CaptionerConfig("far", "openai", {"url": server.url, "model": "small"}),
            CaptionerConfig("any", "openai", {"url": server.url}),
            CaptionerConfig("old", "http", {"url": f"{server.url}/caption"}),
        ).listing()
        url = server.url
    rows = {row.name: row for row in found}
    assert [(r.name, r.note, r.models) for r in found if not r.note] == [
        ("basic", "", 0),
        ("local", "", 2),
        ("any", "", 1),
        ("old", "", 0),
    ]
    assert "llama" in rows["gguf"].note or "vision half" in rows["gguf"].note
    assert rows["gguf"].device == "cuda:1" and rows["local"].device == url
    assert "no model small" in rows["far"].note


async def test_a_tagger_says_which_files_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is not there or holds no model, a name that nobody knows, a model that may not be fetched."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (tmp_path / "empty").mkdir()
    there = str(tagger(tmp_path / "there"))
    wanted = {
        "gone": ({"models": (str(tmp_path / "gone"),)}, "there is no folder"),
        "empty": ({"models": (there, str(tmp_path / "empty"))}, "holds no model.onnx"),
        "unknown": ({"models": ("wd-magic",)}, "there is no tagger wd-magic"),
        "offline": ({"models": ("wd-vit-tagger-v3",), "offline": True}, "wd-vit-tagger-v3"),
        "later": ({"models": ("wd-vit-tagger-v3",)}, ""),
        "there": ({"models": (there,)}, ""),
    }
    found = await info(*(CaptionerConfig(name, "onnx", options) for name, (options, _) in wanted.items())).listing()  # type: ignore[arg-type]
    for row in found:
        said = wanted[row.name][1]
        assert (said in row.note) if said else not row.note, (row.name, row.note)


async def test_servers_that_are_away_cost_seconds_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is down and one that says nothing are told in words, and neither holds up the list."""
    monkeypatch.setattr(captioner_info, "ASKED", 0.2)
    with CaptionServer({"/api/tags": [hangs()]}) as server, CaptionServer({}) as gone:
        down = gone.url
        gone.__exit__(None, None, None)
        gone.__enter__()
        found = await info(
            ollama(server.url),
            CaptionerConfig("far", "openai", {"url": down}),
            CaptionerConfig("old", "http", {"url": down}),
        ).listing()
    assert "in time" in found[0].note and "connect" in found[1].note and found[2].note


async def test_what_the_daemon_does_with_them_is_told() -> None:
    """The device that a worker really has, and what broke it, stand in the list."""
    states = (
        CaptionerState("basic", "basic", "cpu", "working"),
        CaptionerState("fixed", "simple", "none", "broken", "no module"),
    )
    made = info(CaptionerConfig("basic", "basic", {}), CaptionerConfig("fixed", "simple", {}), states=lambda: states)
    assert [(r.state, r.device, r.note) for r in await made.listing()] == [
        ("working", "cpu", ""),
        ("broken", "none", "no module"),
    ]


async def test_the_models_one_may_choose() -> None:
    """Names as the server has them; the reason where it tells none; the taggers of the table for onnx."""
    with CaptionServer({"/api/tags": [TAGS, says({"error": "no"}, 500)]}) as server:
        made = info(ollama(server.url), CaptionerConfig("tagger", "onnx", {}))
        assert await made.models("local") == ["eye:latest", "other:7b"]
        refused = await made.models("local")
        assert isinstance(refused, str) and "500" in refused
        assert "wd-vit-tagger-v3" in await made.models("tagger")
    with pytest.raises(KeyError):
        await made.models("nobody")


async def test_a_download_is_told_as_it_goes() -> None:
    """Events with bytes over all parts; a second order joins the first; the end is told once."""
    heard: list[tuple[int, int, bool]] = []
    with CaptionServer({"/api/pull": [ndjson(*LINES)]}) as server:
        made = info(ollama(server.url), tell=lambda kind, data: heard.append((data["done"], data["total"], data["going"])))
        assert await made.pulled("local") is None
        begun = made.pull("local")
        assert begun == made.pull("local")
        while (now := await made.pulled("local")).going:
            pass
        assert (now.status, now.error, len(server.asked)) == ("success", "", 1)
    assert heard == [
        (0, 0, True),
        (400, 1000, True),
        (1000, 1600, True),
        (1600, 1600, True),
        (1600, 1600, True),
        (1600, 1600, False),
    ]
    await made.close()


async def test_a_download_that_fails_says_why_and_may_be_tried_again() -> None:
    """An error line behind status 200 ends it with its words; the next order begins a new one."""
    with CaptionServer({"/api/pull": [ndjson(LINES[0], {"error": "file does not exist"}), ndjson(*LINES)]}) as server:
        made = info(ollama(server.url))
        ends = []
        for _ in range(2):
            made.pull("local")
            while (now := await made.pulled("local")).going:
                pass
            ends.append(now.error)
    assert "file does not exist" in ends[0] and ends[1] == ""
    await made.close()


async def test_a_download_ends_with_the_daemon() -> None:
    """Closing stops it: Ollama sees the connection end, and the state says so."""
    with CaptionServer({"/api/pull": [hangs()]}) as server:
        made = info(ollama(server.url))
        made.pull("local")
        while not server.asked:
            await asyncio.sleep(0)
        await made.close()
        assert (await made.pulled("local")).error == "stopped"


async def test_over_http(tmp_path: Path, aiohttp_client) -> None:
    """List, models, order and progress; unknown names are 404, what cannot be done is 409 with the reason."""

    class Control:
        def status(self) -> DaemonStatus:
            return DaemonStatus("1", 1, 1.0, True)

    with CaptionServer({"/api/tags": [TAGS], "/api/pull": [ndjson(*LINES)]}) as server:
        made = info(ollama(server.url), CaptionerConfig("basic", "basic", {}))
        async with Database(tmp_path / "d.db") as database:
            face = build(Store(database), Control(), None, FaceSettings())
            face[CAPTIONERS] = made
            client = await aiohttp_client(face)
            listed = await (await client.get("/api/v1/captioners")).json()
            assert [(c["name"], c["available"], c["models"]) for c in listed["captioners"]] == [
                ("local", True, 2),
                ("basic", True, 0),
            ]
            assert (await (await client.get("/api/v1/captioners/local/models")).json())["models"] == ["eye:latest", "other:7b"]
            assert (await client.get("/api/v1/captioners/local/pull")).status == 404
            begun = await client.post("/api/v1/captioners/local/pull")
            assert begun.status == 202 and (await begun.json())["model"] == "eye"
            now = {"going": True}
            while now["going"]:
                now = await (await client.get("/api/v1/captioners/local/pull")).json()
            assert (now["done"], now["total"], now["status"]) == (1600, 1600, "success")
            refused = await client.post("/api/v1/captioners/basic/pull")
            assert refused.status == 409 and "fetches no models" in (await refused.json())["detail"]
            for verb, path in (("get", "models"), ("post", "pull"), ("get", "pull")):
                assert (await getattr(client, verb)(f"/api/v1/captioners/nobody/{path}")).status == 404
        await made.close()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The command line with a configuration and no daemon."""

    def run(captioners: str, *words: str):
        (tmp_path / "config.yaml").write_text(
            f"data_dir: {tmp_path}/data\nserver: {{port: 0}}\ncaptioners:\n{captioners}", encoding="utf-8"
        )
        monkeypatch.setenv("DROPDOCK_CONFIG", str(tmp_path / "config.yaml"))
        return CliRunner().invoke(cli, ["captioners", *words])

    return run


def test_the_list_in_a_shell_without_a_daemon(shell) -> None:
    """The servers are asked from here; a row each, objects with --json."""
    with CaptionServer({"/v1/models": [says({"data": [{"id": "big"}]})]}) as server:
        lines = f"  far: {{engine: openai, url: '{server.url}', model: small, api_key: sk-x}}\n"
        plain = shell(lines)
        found = [json.loads(line) for line in shell(lines, "list", "--json").output.splitlines()]
        listed = shell(lines, "models", "far")
    assert plain.exit_code == 0 and "no model small" in plain.output and "ready" in plain.output
    assert [(r["name"], r["available"]) for r in found] == [("basic", True), ("far", False)] and "sk-x" not in plain.output
    assert listed.output == "big\n"


def test_a_pull_in_a_shell_without_a_daemon(shell) -> None:
    """It is fetched from here, and the code says whether it is there."""
    with CaptionServer({"/api/pull": [ndjson(*LINES), ndjson({"error": "no such model"})]}) as server:
        lines = f"  local: {{engine: ollama, url: '{server.url}', model: eye}}\n"
        good, bad = shell(lines, "pull", "local"), shell(lines, "pull", "local")
    assert (good.exit_code, good.output) == (0, "eye is there\n")
    assert bad.exit_code == 1 and "no such model" in bad.output


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("pull", "basic"), 1, "fetches no models"),
        (("pull", "nobody"), 2, "there is no captioner nobody"),
        (("models", "nobody"), 2, "nobody"),
    ],
)
def test_what_cannot_be_done_in_a_shell(shell, words: tuple[str, ...], code: int, said: str) -> None:
    """An engine without models to fetch, and a name that is not configured."""
    found = shell("  fixed: {engine: simple, text: x}\n", *words)
    assert found.exit_code == code and said in found.output


def test_a_server_that_tells_nothing_in_a_shell(shell) -> None:
    """Its models cannot be told: the reason and exit 1."""
    with CaptionServer({"/v1/models": [text("<html>", kind="text/html")]}) as server:
        found = shell(f"  far: {{engine: openai, url: '{server.url}'}}\n", "models", "far")
    assert found.exit_code == 1 and "no JSON" in found.output
