"""`dropdock caption PATH`: texts printed and written without a daemon, and what is told of those that fail."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from dropdock.daemon.cli import cli
from dropdock.daemon.commands import caption_paths, caption_runs
from dropdock.daemon.config import CaptionerConfig, Config
from dropdock.handlers.captioners.protocol import Answer, Picture
from pictures_made import picture

CONFIG = """
data_dir: data
hub: hub
datasets: datasets
server: {port: 0}
captioners:
  words: {engine: simple, text: "{name} in {folder}"}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with one captioner and a folder of three pictures, one of them in a folder below."""
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "in/sub").mkdir(parents=True)
    for n, name in enumerate(("a.png", "b.png", "sub/c.png")):
        (tmp_path / "in" / name).write_bytes(picture(n))
    return tmp_path


def call(home: Path, *args: object) -> Result:
    env = {"DROPDOCK_CONFIG": str(home / "c.yaml"), "HOME": str(home), "DROPDOCK_API_KEY": None}
    return CliRunner().invoke(cli, ["caption", *map(str, args)], env=env, prog_name="dropdock")


def test_a_picture_is_printed_and_nothing_is_written(home: Path) -> None:
    """By the only captioner that is configured; nothing of ours is made."""
    before = sorted(home.rglob("*"))
    result = call(home, home / "in/a.png")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "a in in\n", "")
    assert sorted(home.rglob("*")) == before


def test_a_folder_gets_its_texts_and_a_second_call_does_nothing(home: Path) -> None:
    """Also below; the summary counts; a text by hand stays."""
    (home / "in/b.txt").write_text("by hand")
    (home / "in/notes.md").write_text("no picture")
    result = call(home, home / "in")
    assert result.exit_code == 0 and result.stderr.startswith("2 done, 1 skipped, 0 failed")
    texts = {p.name: p.read_text() for p in (home / "in").rglob("*.txt")}
    assert texts == {"a.txt": "a in in\n", "b.txt": "by hand", "c.txt": "c in sub\n"}
    assert call(home, home / "in").stderr.startswith("0 done, 3 skipped, 0 failed")


def test_all_replaces_and_the_trigger_comes_first(home: Path) -> None:
    """What was asked on the command line goes over the captioner's own."""
    (home / "in/b.txt").write_text("by hand")
    assert call(home, home / "in", "--all", "--trigger", "ohwx").exit_code == 0
    assert (home / "in/b.txt").read_text() == "ohwx, b in in\n"


def test_bad_pictures_are_told_and_the_rest_is_done(home: Path) -> None:
    """Code 1; a name without a picture in it, half a picture, a missing file."""
    (home / "in/bad.png").write_bytes(b"no picture")
    (home / "in/half.png").write_bytes(picture(3)[:900])
    result = call(home, home / "in", home / "in/gone.png", "--with", "basic")
    assert result.exit_code == 1 and "3 done, 0 skipped, 3 failed" in result.stderr
    for name in ("bad.png", "half.png", "gone.png"):
        assert f"{home / 'in' / name}: " in result.stderr
    assert not (home / "in/bad.txt").exists() and (home / "in/sub/c.txt").exists()


def test_json_has_an_object_for_each_and_one_at_the_end(home: Path) -> None:
    """With scores when they are asked for."""
    (home / "in/a.jpg").write_bytes(picture(9, form="JPEG"))  # shares its text with a.png
    result = call(home, home / "in", "--with", "basic", "--quality", "--json")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert rows[-1]["done"] == 3 and rows[-1]["skipped"] == 1 and result.exit_code == 0
    by_name = {Path(str(r["path"])).name: r for r in rows[:-1]}
    assert by_name["a.png"]["error"] == "shares its text with a.jpg"
    assert by_name["c.png"]["written"] == str(home / "in/sub/c.txt") and by_name["c.png"]["quality"]["overall"] > 0


def test_scores_are_printed(home: Path) -> None:
    """One line behind the text."""
    result = call(home, home / "in/a.png", "--with", "basic", "--quality")
    text, scores = result.stdout.splitlines()
    assert text.startswith("a ") and scores.startswith("overall 0.")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["in/a.png", "other"], "`other` is no path here"),
        (["in/a.png", "--set", "x"], "are for datasets"),
        (["in/a.png", "--below", "0.5"], "are for datasets"),
        (["in/a.png", "--with", "nobody"], "no captioner 'nobody'"),
        (["pets", "--below", "0.5", "--all"], "only one can be meant"),
        (["pets", "--missing", "--all"], "only one can be meant"),
        ([""], "a dataset or a path is empty"),
        (["pets", "--quality"], "--quality is for paths"),
    ],
)
def test_mistakes_in_the_call_are_told(home: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], said: str) -> None:
    """Code 2, and nothing is begun."""
    monkeypatch.chdir(home)
    result = call(home, *args)
    assert result.exit_code == 2 and said in result.stderr


def test_a_dataset_needs_the_daemon(home: Path) -> None:
    """A word that is no path is a dataset's name."""
    assert call(home, "pets").exit_code == 3


def test_a_captioner_that_cannot_work_says_why_once(home: Path) -> None:
    """Code 1, and nothing is written."""
    with (home / "c.yaml").open("a") as file:
        file.write("  broken: {engine: onnx, models: [./nothing-here]}\n")
    result = call(home, home / "in", "--with", "broken")
    assert result.exit_code == 1 and result.stderr.count("cannot start") == 1
    assert not list((home / "in").rglob("*.txt"))


def test_ctrl_c_keeps_what_is_written(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code 1 with the counts; the same call goes on with the rest."""
    real = caption_paths._captioned

    def interrupted(config: Config, chosen: CaptionerConfig, wanted: Sequence[Picture], report: caption_paths.Report) -> None:
        real(config, chosen, wanted[:2], report)
        raise KeyboardInterrupt

    monkeypatch.setattr(caption_paths, "_captioned", interrupted)
    result = call(home, home / "in")
    assert result.exit_code == 1 and "2 done" in result.stderr and "the same call goes on" in result.stderr
    monkeypatch.setattr(caption_paths, "_captioned", real)
    assert call(home, home / "in").stderr.startswith("1 done, 2 skipped")


def test_what_is_no_file_is_told_and_no_captioner_is_asked(home: Path) -> None:
    """A name that is not there, or a pipe, gets no text, not even the same one as every picture."""
    os.mkfifo(home / "pipe.png")
    result = call(home, home / "nowhere.png", home / "pipe.png", home / "in/a.png")
    assert result.exit_code == 1 and result.stdout == f"{home / 'in/a.png'}: a in in\n"
    assert (
        "nowhere.png: the picture cannot be read: No such file" in result.stderr and "pipe.png: this is no file" in result.stderr
    )
    alone = call(home, home / "nowhere.png")
    assert (alone.exit_code, alone.stdout, alone.stderr.count("\n")) == (1, "", 1)


def test_what_is_waited_for_is_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no bar stands; how a download goes on is not."""
    report = caption_paths.Report(as_json=False, quality=False)
    for text in ("downloading x 3 %", "waits 30 s: nobody answers", "waits 60 s: nobody answers", "waits for its turn"):
        report.news(text)
    assert capsys.readouterr().err == "dropdock: waits 30 s: nobody answers\n"


def test_a_server_s_brackets_are_shown_above_the_bar_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it says of a prompt's `[/INST]` is text, not markup that ends the command."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", shown := Terminal())
    monkeypatch.setenv("TERM", "xterm")
    with caption_paths._bar(3) as bar:
        report = caption_paths.Report(as_json=False, quality=False, bar=bar)
        report.news("waits 30 s: answered 500: no [/INST] in [b]")
        assert bar is not None
        bar.refresh()
    assert "no [/INST] in [b]" in shown.getvalue()


def test_a_picture_whose_name_has_a_line_end_is_told_on_one_line(home: Path) -> None:
    """The trouble with it begins no line of its own."""
    result = call(home, home / "in/x\ny.png", home / "in/a.png")  # it is not there
    assert result.exit_code == 1 and r"x\ny.png" in result.stderr
    assert all(line.startswith("dropdock: ") for line in result.stderr.splitlines())


def test_several_taggers_tell_who_took_each_tag(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --json."""

    def captioned(config: Config, chosen: CaptionerConfig, wanted: Sequence[Picture], report: caption_paths.Report) -> None:
        report.heard(wanted[0], Answer("hat", votes=(("hat", ("one", "two")),)))

    monkeypatch.setattr(caption_paths, "_captioned", captioned)
    row = json.loads(call(home, home / "in/a.png", "--json").stdout.splitlines()[0])
    assert row["votes"] == {"hat": ["one", "two"]}


def test_each_thing_that_a_run_waits_for_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another reason is another line; the seconds until the next try are none."""
    run = {"id": 1, "with": "far", "state": "running", "total": 3, "done": 0, "failed": 0, "cancelled": 0, "per_second": 0.0}
    notes = ["loading its model", "waits: connection refused, again in 30 s", "waits: connection refused, again in 29 s"]
    notes += ["captioner far cannot start: no model"]

    class Asked:
        def get(self, path: str) -> dict[str, object]:
            if path == "/status":
                return {"captioners": [{"name": "far", "note": notes.pop(0)}]}
            return run if notes else {**run, "state": "done", "done": 3}

    monkeypatch.setattr(caption_runs, "ask", lambda look: look(Asked()))
    monkeypatch.setattr(caption_runs, "LOOK", 0.0)
    assert caption_runs.watched(run)["done"] == 3
    said = "dropdock: far: loading its model\ndropdock: far: waits: connection refused, again in 30 s\n"
    said += "dropdock: captioner far cannot start: no model\n"
    assert capsys.readouterr().err == said
