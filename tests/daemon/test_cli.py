"""The command line: right words, right exit codes, nothing touched by what only looks, and the same answers as the daemon gives."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from dropdock.daemon import samples
from dropdock.daemon.cli import COMMANDS, cli
from dropdock.daemon.commands.common import clean, duration, one_line, print_json, print_table, size
from dropdock.daemon.instance import find
from dropdock.handlers.hashing import digest
from dropdock.store import models
from dropdock.store.database import Database

CONFIG = """\
data_dir: data
hub: hub
datasets: datasets
free_space: 1 MB
server: {port: 0}
watch:
  - {path: in, mode: inbox, settle: 100 ms, ignore: ["drafts/"]}
  - {path: lib, mode: library}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a configuration and its watched folders."""
    (tmp_path / "c.yaml").write_text(CONFIG)
    for name in ("in", "lib"):
        (tmp_path / name).mkdir()
    return tmp_path


def call(home: Path, *args: object, **env: str) -> Result:
    """Run a command in this process with the home's configuration."""
    given = {"DROPDOCK_CONFIG": str(home / "c.yaml"), "HOME": str(home), "DROPDOCK_API_KEY": None, **env}
    return CliRunner().invoke(cli, [str(a) for a in args], env=given, prog_name="dropdock")


def lines(result: Result) -> list[dict[str, object]]:
    """The JSON lines of an output."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def snapshot(home: Path) -> dict[str, tuple[int, int]]:
    """Every path below with its size and mtime."""
    return {str(p.relative_to(home)): (p.lstat().st_size, p.lstat().st_mtime_ns) for p in home.rglob("*")}


# ---------------------------------------------------------------- codes and help


def test_without_a_daemon_every_question_exits_3(home: Path) -> None:
    """Those that need a daemon say how to start one; nothing is made."""
    (home / "x.bin").write_bytes(b"x")
    before = snapshot(home)
    for args in (
        ["status"],
        ["history"],
        ["jobs"],
        ["jobs", "cancel", "1"],
        ["rescan"],
        ["add", home / "x.bin"],
        ["status", "--json"],
    ):
        result = call(home, *args)
        assert (result.exit_code, result.stdout) == (3, "") and "dropdock run" in result.stderr
    assert snapshot(home) == before


@pytest.mark.parametrize(
    "args", [["nope"], ["explain"], ["jobs", "cancel", "x"], ["completion", "tcsh"], ["add", "/none"], ["add", "/"]]
)
def test_a_mistake_in_the_call_exits_2(home: Path, args: list[str]) -> None:
    """And says what is wrong on stderr."""
    result = call(home, *args)
    assert result.exit_code == 2 and result.stderr


def test_a_mistake_in_the_configuration_exits_2_with_every_mistake(home: Path) -> None:
    """One line a mistake, with file, line, column and key, from every command that needs the configuration."""
    (home / "c.yaml").write_text("hubb: x\nwatch:\n  - {path: in, mode: inbocks}\n")
    for args in (["check"], ["explain", home], ["status"], ["run"]):
        result = call(home, *args)
        assert result.exit_code == 2
        assert [line.split(": ")[1] for line in result.stderr.splitlines()] == ["hubb", "watch[0].mode"]
        assert result.stderr.startswith(f"{home}/c.yaml:1:1: ") and "did you mean hub?" in result.stderr


def test_help_of_every_command_teaches() -> None:
    """Each says what it does in a paragraph and shows an example that calls it."""
    for name, command in cli.commands.items():
        text = CliRunner().invoke(cli, [name, "--help"]).output
        assert "Example:" in text and f"dropdock {name}" in text and len(command.help or "") > 60, name


def test_every_command_about_a_home_takes_its_configuration(home: Path) -> None:
    """`--config` may stand behind the name of each of them, `completion` and `version` included; `hash` and `demo` read none."""

    def named(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
        if isinstance(command, click.Group):
            for inner, found in command.commands.items():
                yield from named(found, f"{name} {inner}".strip())
        else:
            yield name, command

    without = [name for name, command in named(cli, "") if not any("--config" in p.opts for p in command.params)]
    assert without == ["hash", "demo", "schema"]
    for args in (["completion", "bash"], ["version"]):
        assert call(home, *args, "--config", home / "c.yaml").exit_code == 0


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash to ask")
def test_bash_completes_what_the_script_says(home: Path) -> None:
    """The printed function, read by a real bash, fills COMPREPLY with the commands and options that begin so."""
    (home / "bin").mkdir()
    (home / "bin" / "dropdock").write_text(f'#!/bin/sh\nexec {sys.executable} -m dropdock.daemon "$@"\n')
    (home / "bin" / "dropdock").chmod(0o755)
    (home / "script").write_text(call(home, "completion", "bash").stdout)

    def completed(*words: str) -> list[str]:
        asked = 'source ./script; w=$(complete -p dropdock); w=${w##*-F }; ${w%% *} dropdock; printf "%s\\n" "${COMPREPLY[@]}"'
        line = f"COMP_WORDS=({' '.join(map(shlex.quote, ('dropdock', *words)))}); COMP_CWORD={len(words)}; {asked}"
        env = {**os.environ, "PATH": f"{home / 'bin'}:{os.environ['PATH']}"}
        found = subprocess.run(["bash", "-c", line], cwd=home, env=env, capture_output=True, text=True, check=True)
        return found.stdout.split()

    assert completed("his") == ["history"]
    assert completed("completion", "f") == ["fish"]
    assert completed("explain", "--has") == ["--hash"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_complete_dropdock(home: Path, shell: str) -> None:
    """Each script is for the command's name and the variable that the command answers to."""
    result = call(home, "completion", shell)
    assert result.exit_code == 0 and "_DROPDOCK_COMPLETE" in result.stdout
    asked = subprocess.run(
        [sys.executable, "-m", "dropdock.daemon"], capture_output=True, text=True, check=False,
        env={**os.environ, "_DROPDOCK_COMPLETE": "fish_complete", "COMP_WORDS": "dropdock his", "COMP_CWORD": "his"},
    )  # fmt: skip
    assert "history" in asked.stdout


def test_looking_imports_nothing_heavy() -> None:
    """`--help` and `version` load neither the configuration's checker nor the web server nor pictures."""
    code = "import sys; from dropdock.daemon.cli import cli; print(sorted({'pydantic','PIL','aiohttp','rich','yaml'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


ENDED_WHILE_IMPORTING = """
import os, signal, sys
class Ender:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[-1]:
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Ender())
from dropdock.daemon.cli import COMMANDS, cli
cli(["run", "--config", sys.argv[1]], prog_name="dropdock")
"""


@pytest.mark.parametrize("module", ["pydantic", "asyncio", "aiohttp", "dropdock.daemon.app"])
def test_a_start_that_is_ended_at_once_ends_well(home: Path, module: str) -> None:
    """SIGTERM while `run` still imports: exit code 0, no trace, and nothing was made."""
    before = snapshot(home)
    ended = subprocess.run(
        [sys.executable, "-c", ENDED_WHILE_IMPORTING, home / "c.yaml", module], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "") and snapshot(home) == before


def test_the_list_of_commands_is_whole(home):
    """`dropdock --help` says what each command does in a whole sentence."""
    listed = call(home, "--help").stdout.split("Commands:")[1]
    assert "..." not in listed and listed.count(".\n") >= len(COMMANDS)


# ---------------------------------------------------------------- check and version


def test_check_says_what_a_configuration_means(home: Path) -> None:
    """Watches, rules and targets are listed; the key is not; FILE and --config name another file."""
    other = home / "other.yaml"
    other.write_text(
        f"{CONFIG}targets: {{comfy: {{layout: comfyui, path: nowhere}}}}\n".replace(
            "{port: 0}", "{api_key: hunter2hunter2hunter2}"
        )
    )
    for args in (["check", other], ["--config", other, "check"], ["check", "--config", other]):
        result = call(home, *args)
        assert result.exit_code == 0, result.output
        assert all(
            word in result.stdout for word in ("other.yaml: ok", "inbox", "lib", "zipped pictures", "not there yet", "with a key")
        )
        assert "hunter2" not in result.output
    assert "0.1 s" in call(home, "check", other).stdout, "less than a second is not none"
    found = lines(call(home, "check", other, "--json"))[0]
    assert found["server"] == {"host": "127.0.0.1", "port": 8484, "key": True} and "hunter2" not in json.dumps(found)
    assert [w["name"] for w in found["watches"]] == ["in", "lib", "datasets"]  # type: ignore[attr-defined]
    assert call(home, "--version").stdout == call(home, "version").stdout
    assert call(home, "version").stdout.startswith("dropdock ") and "version" in lines(call(home, "version", "--json"))[0]


# ---------------------------------------------------------------- explain


def test_explain_prints_the_agreed_object_and_touches_nothing(home: Path) -> None:
    """One object a line with exactly the agreed keys, and the rule and actions of the inbox; no file is changed or made."""
    samples.zipped(home / "in" / "cats.zip", {"a.png": samples.picture(1, (32, 32), "PNG")})
    samples.flux_lora(home / "in" / "style.safetensors")
    before = snapshot(home)
    result = call(home, "explain", "--json", home / "in")
    assert result.exit_code == 0 and snapshot(home) == before
    archive, lora = lines(result)
    for found in (archive, lora):
        assert list(found) == ["path", "kind", "facts", "evidence", "conflicts", "rule", "actions"]
    assert archive["actions"] == [{"verb": "unpack", "params": {"dataset": "cats"}}]
    assert archive["rule"] == "zipped pictures"
    assert lora["facts"]["type"] == "lora" and [a["verb"] for a in lora["actions"]] == ["store", "deploy"]  # type: ignore[index, attr-defined]


def test_the_watch_that_holds_a_path_decides(home: Path) -> None:
    """In a library nothing would be done; outside of every watch it is as if the path were dropped into the first inbox."""
    for folder in ("in", "lib", "elsewhere", "elsewhere/holiday"):
        (home / folder).mkdir(exist_ok=True)
        (home / folder / "a.png").write_bytes(samples.picture(3, (40, 40), "PNG"))

    def told(*paths: Path) -> list[tuple[object, object]]:
        found = lines(call(home, "explain", "--json", *paths))
        return [(f["rule"], f["actions"][0]["params"]["name"] if f["actions"] else None) for f in found]  # type: ignore[index]

    assert told(home / "in", home / "lib") == [("pictures", "in"), (None, None)]
    assert told(home / "elsewhere" / "a.png") == [("pictures", "in")]
    assert told(home / "elsewhere") == [("pictures", "elsewhere"), ("pictures", "elsewhere")]
    assert told(home / "elsewhere" / "holiday") == [("pictures", "holiday")]


def test_a_folder_is_looked_through_as_a_watch_would(home: Path) -> None:
    """Sorted, companions with their lead, a folder that is one model as one line, hidden and ignored names and links left out."""
    box = home / "in"
    for folder in ("b", "drafts", ".git", "flux pipe/transformer"):
        (box / folder).mkdir(parents=True)
    for name in ("c.png", "b/z.png", "b/a.png", "drafts/x.png", ".git/x.png", ".hidden.png", "half.png.part"):
        (box / name).write_bytes(samples.picture(4, (24, 24), "PNG"))
    (box / "c.txt").write_text("a cat")
    (box / "flux pipe" / "model_index.json").write_text('{"_class_name": "FluxPipeline"}')
    (box / "link.png").symlink_to(box / "c.png")
    found = [str(Path(str(f["path"])).relative_to(box)) for f in lines(call(home, "explain", "--json", box))]
    assert found == ["b/a.png", "b/z.png", "c.png", "flux pipe"]
    alone = lines(call(home, "explain", "--json", box / "link.png", box / "c.txt", box / ".hidden.png"))
    assert [f["kind"] for f in alone] == ["image", "caption", "image"]


def test_what_cannot_be_read_is_told_and_the_rest_explained(home: Path) -> None:
    """A missing path and a pipe are lines on stderr and exit code 1, in the middle of good ones."""
    (home / "in" / "a.txt").write_text("a")
    os.mkfifo(home / "pipe")
    result = call(home, "explain", "--json", home / "none", home / "in" / "a.txt", home / "pipe")
    assert result.exit_code == 1 and len(lines(result)) == 1
    assert [line.startswith("dropdock: ") for line in result.stderr.splitlines()] == [True, True]


def test_for_people_it_is_readable_and_safe(home: Path) -> None:
    """The words of rules/explain.py; control characters of a name do not reach the terminal; --trace shows every rule."""
    (home / "in" / "bad\x1b[31m\nname.txt").write_text("a")
    result = call(home, "explain", home / "in", "--trace")
    assert "\x1b" not in result.stdout and "\\x1b[31m" in result.stdout
    assert "rule    none: no rule matched" in result.stdout and "zipped pictures" in result.stdout


async def _remember(home: Path, path: Path) -> str:
    sha256 = digest(path).sha256
    async with Database(home / "data" / "dropdock.db") as database:
        await database.write(lambda c: models.override(c, sha256, "upscaler", "sdxl", 1.0))
    return sha256


async def test_with_hash_the_users_own_word_is_known(home: Path) -> None:
    """An override is found by content, the digests are told, and the database is only read."""
    path = samples.sdxl_vae(home / "vae.safetensors")
    sha256 = await _remember(home, path)
    before = snapshot(home)
    plain, hashed = lines(call(home, "explain", "--json", path)) + lines(call(home, "explain", "--json", "--hash", path))
    assert plain["facts"]["type"] == "vae" and "sha256" not in plain  # type: ignore[index]
    assert hashed["sha256"] == sha256 and len(str(hashed["xxh3"])) == 32
    assert (hashed["facts"]["type"], hashed["facts"]["base"]) == ("upscaler", "sdxl")  # type: ignore[index]
    assert snapshot(home) == before


def test_a_broken_database_is_only_not_asked(home: Path) -> None:
    """Explaining needs no memory."""
    (home / "data").mkdir()
    (home / "data" / "dropdock.db").write_bytes(b"no database" * 1000)
    (home / "in" / "a.txt").write_text("a")
    assert call(home, "explain", "--json", home / "in" / "a.txt").exit_code == 0


# ---------------------------------------------------------------- with a daemon


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a real daemon that runs."""
    home = tmp_path_factory.mktemp("running")
    (home / "c.yaml").write_text(CONFIG)
    environ = {k: v for k, v in os.environ.items() if not k.startswith("DROPDOCK_")}
    command = [sys.executable, "-m", "dropdock.daemon", "run", "--config", str(home / "c.yaml")]
    with (home / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, env=environ) as daemon:
        try:
            until = time.monotonic() + 20
            while not ((at := find(home / "data")) and at.url) and daemon.poll() is None and time.monotonic() < until:
                time.sleep(0.02)
            assert at and at.url, (home / "log").read_text()
            yield home
        finally:
            daemon.terminate()
            assert daemon.wait(15) == 0


def test_a_second_daemon_is_told_where_the_first_is(running: Path) -> None:
    """`run` exits 1 with pid and URL, and the first one is none the worse for it."""
    at = find(running / "data")
    assert at
    again = subprocess.run(
        [sys.executable, "-m", "dropdock.daemon", "run", "--config", running / "c.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert again.returncode == 1 and again.stderr == f"dropdock: already running: pid {at.pid} at {at.url}\n"
    assert call(running, "status").exit_code == 0


def test_status_is_a_table_or_an_object(running: Path) -> None:
    """Watches and lanes are listed; with --json it is one object with everything in it."""
    text = call(running, "status").stdout
    assert all(word in text for word in ("ready", "in", "lib", "datasets", "hash", "caption"))
    found = lines(call(running, "status", "--json"))[0]
    assert found["ready"] is True and [w["name"] for w in found["watches"]] == ["datasets", "in", "lib"]  # type: ignore[attr-defined]


def test_what_is_added_arrives_and_is_told_in_the_history(running: Path) -> None:
    """The files appear in the inbox under their own names, the originals stay, and the history names them."""
    mine = [running / "two words.bin", running / "рыжая.bin"]
    for path in mine:
        path.write_bytes(b"mine")
    result = call(running, "add", *mine, "--json")
    assert result.exit_code == 0, result.output
    assert [Path(str(f["path"])).name for f in lines(result)] == [p.name for p in mine] and all(p.exists() for p in mine)
    told: set[object] = set()
    until = time.monotonic() + 20
    while len(told) < 2 and time.monotonic() < until:
        told = {f["path"] for f in lines(call(running, "history", "--json")) if f["event"] == "arrived"}
        time.sleep(0.05)
    assert told == {str(running / "in" / p.name) for p in mine}
    assert "two words.bin" in call(running, "history", running / "in" / "two words.bin").stdout
    assert "nothing is remembered" in call(running, "history", running / "none").stdout


def test_refusals_are_told_and_exit_1(running: Path) -> None:
    """A watch, an inbox or a job that does not exist: the daemon's own words."""
    (running / "x.bin").write_bytes(b"x")
    for args in (["rescan", "nope"], ["add", running / "x.bin", "--watch", "nope"], ["jobs", "cancel", "999"]):
        result = call(running, *args)
        assert result.exit_code == 1 and "There is no" in result.stderr, args


@pytest.mark.parametrize(
    "args", [["undo"], ["jobs", "retry"], ["jobs", "cancel"], ["trash", "restore"], ["quarantine", "release"], ["deploy"]]
)
def test_one_that_is_refused_keeps_nobody_from_asking_for_the_others(running: Path, args: list[str]) -> None:
    """Each is named with its reason."""
    result = call(running, *args, "998", "999")
    assert result.exit_code == 1 and result.stdout == ""
    said = sorted(result.stderr.splitlines())
    assert [next(n for n in ("998", "999") if n in line) for line in said] == ["998", "999"], said


def test_rescan_and_jobs_ask_the_daemon(running: Path) -> None:
    """A rescan names what is compared; an empty queue is said in words, and is no line of JSON."""
    assert call(running, "rescan").stdout == "comparing in, lib, datasets\n"
    assert call(running, "rescan", "lib", "--json").stdout == '{"watches": ["lib"]}\n'
    assert "nothing is queued" in call(running, "jobs").stdout and call(running, "jobs", "--json").stdout == ""
    assert "no jobs are failed" in call(running, "jobs", "list", "--state", "failed").stdout


def test_words_for_people() -> None:
    """Sizes and durations read well; what would confuse a terminal is escaped."""
    assert [size(n) for n in (0, 999, 1000, 38_400_000, 2.1e9)] == ["0 B", "999 B", "1.0 kB", "38.4 MB", "2.1 GB"]
    assert [duration(n) for n in (0, 59, 61, 90061, 0.4)] == ["0 s", "59 s", "1 min 1 s", "1 d 1 h", "0 s"]
    assert clean("a\x1b[1m\u202eb\udcff\n") == "a\\x1b[1m\\u202eb\\udcff\n"
    assert clean("a\u2028b\x9bm") == "a\\u2028b\\x9bm"
    assert one_line("a\nb\r\n") == "a\\nb\\r\\n"


NASTY = "evil\x1b]0;gotcha\x07\n  rule    none: all is well\r\x9b2J\u202e.safetensors"


def test_no_cell_of_a_table_gives_orders_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A name with escapes and line ends is one line of one row; only a list makes lines, and its things make none."""
    print_table(("name", "n#"), [(NASTY, 1), ((NASTY, "b"), 2)], "nothing")
    print_table(("name",), [], f"nothing of {NASTY}")
    said = capsys.readouterr().out
    assert len(said.splitlines()) == 5
    assert all(c == "\n" or c.isprintable() for c in said)


def test_json_gives_no_orders_either_and_means_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a name holds, lone surrogates too, it is escaped as JSON does, and reads back as it was."""
    print_json({"name": NASTY + "\udcff é"})
    said = capsys.readouterr().out
    assert said.rstrip("\n").isprintable() and json.loads(said) == {"name": NASTY + "\udcff é"}


def test_names_with_line_ends_are_escaped_wherever_files_are_told_of(
    runner: CliRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """scan, explain, hash and plan of a file whose name forges a line and orders a terminal: no line of its own, no control character."""
    (tmp_path / "c.yaml").write_text("data_dir: data\nhub: hub\ndatasets: datasets\nwatch: [{path: in, mode: inbox}]\n")
    (tmp_path / "in").mkdir()
    monkeypatch.setenv("DROPDOCK_CONFIG", str(tmp_path / "c.yaml"))
    for folder in ("in", "other"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / NASTY).write_bytes(b"\x08\0\0\0\0\0\0\0{broken}" * 9)
    nasty = str(tmp_path / "in" / NASTY)
    for command in (["scan", str(tmp_path)], ["explain", nasty], ["explain", "--trace", nasty], ["hash", nasty], ["plan", nasty]):
        for more in ([], ["--json"]):
            said = runner.invoke(cli, [*command, *more]).output
            assert "evil" in said, command
            assert all(c == "\n" or c.isprintable() for c in said), (command, more)
            assert not any(line.startswith("  rule    none: all is well") for line in said.splitlines()), command
