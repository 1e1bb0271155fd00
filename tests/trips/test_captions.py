"""Captions with the real daemon and the real command line: runs, sets, texts, validation, and pictures handed over."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from daemon_process import Daemon, Home
from dropdock.daemon.cli import cli
from pictures_made import picture, zipped

MORE = """
captioners:
  words: {engine: simple, text: "{name} of {folder}"}
pipelines:
  inbox:
    - name: zips
      when: {kind: archive}
      do: [{unpack: {dataset: "{stem}"}}]
    - name: pictures
      when: {kind: image}
      do: [{dataset: "{parent}"}]
"""
Call = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A daemon with a dataset `cats` of three pictures, one of which came with a text."""
    found = Home(tmp_path, more=MORE)
    with Daemon(found) as daemon:
        zipped(found.inbox / "cats.zip", {f"{n}.png": picture(n, (600, 520)) for n in range(3)} | {"2.txt": b"mine"})
        daemon.wait_idle()
        yield found


@pytest.fixture
def call(home: Home) -> Call:
    """Run a command, which must end with a code."""

    def run(*args: object, code: int = 0) -> Result:
        env = {"DROPDOCK_CONFIG": str(home.config), "HOME": str(home.root), "DROPDOCK_API_KEY": None}
        result = CliRunner().invoke(cli, [str(a) for a in args], env=env, prog_name="dropdock")
        assert result.exit_code == code, (args, result.output, result.exception)
        return result

    return run


def texts(home: Home) -> dict[str, str]:
    return {p.name: p.read_text().strip() for p in (home.datasets / "cats").glob("*.txt")}


def objects(result: Result) -> list[dict[str, object]]:
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_dataset_is_captioned_and_its_sets_change_places(home: Home, call: Call) -> None:
    """The run is waited for; a second set is filled beside it; activating it moves the files; back again nothing is lost."""
    assert "2 done, 0 failed" in call("caption", "cats").stdout
    assert texts(home) == {"0.txt": "0 of cats", "1.txt": "1 of cats", "2.txt": "mine"}
    first = objects(call("sets", "list", "cats", "--json"))[0]["name"]
    call("sets", "create", "cats", "other", "--trigger", "ohwx", "--prefix", "photo")
    run = objects(call("caption", "cats", "--set", "other", "--all", "--json"))[0]
    assert (run["state"], run["done"], run["set"]) == ("done", 3, "other")
    assert texts(home)["0.txt"] == "0 of cats"
    assert (
        "every picture of cats has a text in the set other; --all writes them anew"
        in call("caption", "cats", "--set", "other").stdout
    )
    assert "3 measured or captioned" in call("caption", "cats", "--below", "0.01").stdout
    assert "no picture of cats is known to be below 0.01" in call("caption", "cats", "--below", "0.01").stdout
    call("sets", "activate", "cats", "other")
    assert texts(home) == {f"{n}.txt": f"ohwx, photo, {n} of cats" for n in range(3)}
    call("sets", "delete", "cats", "other", "--yes", code=1)
    call("sets", "activate", "cats", first)
    assert texts(home) == {"0.txt": "0 of cats", "1.txt": "1 of cats", "2.txt": "mine"}
    call("sets", "edit", "cats", "other", "--rename", "old", "--max-length", "9")
    assert "with 3 texts" in call("sets", "delete", "cats", "old", "--yes").stdout
    assert run["id"] in [r["id"] for r in objects(call("captioning", "list", "--json"))]
    assert (
        "3" in call("captioning", "show", run["id"]).stdout
        and "none failed" in call("captioning", "show", run["id"], "--failed").stdout
    )
    call("captioning", "cancel", run["id"], code=1)
    assert "is done" in call("captioning", "watch", run["id"]).stdout


def test_all_says_how_many_texts_it_left(home: Home, call: Call) -> None:
    """What came with the pictures is left unless that is asked for, and the run says so."""
    words = call("caption", "cats", "--all").stdout
    assert "2 done, 0 failed" in words and "1 text was written by hand or came with the pictures: left" in words
    assert texts(home)["2.txt"] == "mine"
    shown = call("captioning", "show", "1").stdout
    assert "2 done" not in shown and re.search(r"created +\d{4}-\d\d-\d\d ", shown)
    assert "left" not in call("caption", "cats", "--all", "--overwrite-edited").stdout
    assert texts(home)["2.txt"] == "2 of cats" and "2.txt" in call("trash").stdout


def test_texts_are_written_changed_and_forgotten(home: Home, call: Call) -> None:
    """The files follow at once; the list shows them; an edit is shown before it is made."""
    rows = objects(call("captions", "list", "cats", "--json"))
    assert [(r["rel"], r["source"]) for r in rows] == [("2.png", "imported")]
    number = next(i["id"] for i in objects(call("datasets", "show", "cats", "--json"))[:1] for i in [{"id": rows[0]["item"]}])
    call("captions", "set", "cats", number, "a boat, sea")
    assert texts(home)["2.txt"] == "a boat, sea"
    shown = call("captions", "edit", "cats", "--prepend", "ohwx", "--remove", "sea", "--dry-run").stdout
    assert "+ ohwx, a boat" in shown and texts(home)["2.txt"] == "a boat, sea"
    assert "1 texts are changed" in call("captions", "edit", "cats", "--prepend", "ohwx", "--remove", "sea", "--yes").stdout
    assert texts(home)["2.txt"] == "ohwx, a boat"
    assert "ohwx, a boat" in call("captions", "show", "cats", number).stdout
    call("captions", "delete", "cats", number)
    assert texts(home) == {} and "no texts" in call("captions", "list", "cats").stdout
    assert "2.txt" in call("trash").stdout


def test_what_would_spoil_a_training_is_told(home: Home, call: Call) -> None:
    """With its mend, code 1; once the texts are there the rest are warnings."""
    result = call("datasets", "validate", "cats", "--json", code=1)
    *found, end = objects(result)
    assert [(r["rel"], r["finding"]) for r in found] == [("0.png", "caption missing"), ("1.png", "caption missing")]
    assert (end["errors"], end["warnings"]) == (2, 0)
    call("caption", "cats")
    assert "nothing is wrong" in call("datasets", "validate", "cats").stdout
    assert "shorter side is below 900" in call("datasets", "validate", "cats", "--least", "900", "--quick").stdout
    (home.datasets / "cats/0.png").write_bytes(b"broken")
    words = call("datasets", "validate", "cats", "--trigger", "ohwx", code=1).stdout
    assert "trigger missing" in words and ("changed" in words or "gone" in words)
    assert "cats" in call("datasets").stdout


def test_pictures_anywhere_are_handed_to_the_daemon(home: Home, call: Call, tmp_path: Path) -> None:
    """Its captioner says the words, this process writes them; a bad one is told; the list is gone afterwards."""
    (tmp_path / "away").mkdir()
    for n in range(3):
        (tmp_path / f"away/p{n}.png").write_bytes(picture(n))
    (tmp_path / "away/bad.png").write_bytes(b"no")
    result = call("caption", tmp_path / "away", "--with", "basic", code=1)
    assert "3 done, 0 skipped, 1 failed" in result.stderr and "bad.png: " in result.stderr
    assert sorted(p.name for p in (tmp_path / "away").glob("*.txt")) == ["p0.txt", "p1.txt", "p2.txt"]
    assert call("caption", tmp_path / "away/p0.png").stdout == "p0 of away\n"
    assert list((home.root / "data/asked").iterdir()) == []
    assert "captioner started" in (home.root / "run.log").read_text()
