"""A reload says what differs, takes over all or nothing, and shows no secret."""

from dataclasses import replace
from pathlib import Path

import pytest
from dropdock.daemon.config import Config, Secret, load, read
from dropdock.daemon.house import House
from dropdock.daemon.reload import FIXED, Reloader, differences, effective, same_ears
from dropdock.daemon.settings import table

ENV = {"HOME": "/home/me", "KEY": "Zebra-4711", "OTHER": "Zebra-4712"}
BASE = """\
server: {api_key: "${KEY}"}
watch:
  - {path: ~/in, mode: inbox, name: in}
  - {path: ~/lib, mode: library, name: lib}
targets:
  comfy: {layout: comfyui, path: ~/ComfyUI, url: "http://localhost:8188", auth: "me:Zebra-9"}
captioners:
  fixed: {engine: simple, text: one}
pipelines:
  inbox:
    - {name: a, when: {kind: image, any: [{name: "*.png"}, {width: "> 9"}]}, do: [{dataset: x}]}
    - {name: b, when: {kind: model}, do: [store, deploy]}
"""


def config(text: str = BASE) -> Config:
    return read(text, Path("/home/me/c.yaml"), ENV)


def test_the_same_file_differs_in_nothing():
    """Reading a file twice gives no change, patterns and comparisons included."""
    assert differences(config(), config()) == ()


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ("name: in}", "name: in, settle: 5 s}", {"watch.in.settle: 2.0 -> 5.0"}),
        ("~/lib, mode: library, name: lib}", "~/l2, mode: library, name: l2}", {"watch.lib: removed", "watch.l2: added"}),
        ("path: ~/ComfyUI,", "path: ~/ComfyUI, enabled: false,", {"targets.comfy.enabled: True -> False"}),
        ("text: one", "text: two", {"captioners.fixed.text: one -> two"}),
        ("server: {", "trash: 2 days\nserver: {", {"trash: 1209600.0 -> 172800.0"}),
        ("server: {", "limits: {files: 7}\nlanes: {cpu: 5}\nserver: {", {"limits.files: 20000 -> 7", "lanes.cpu: 2 -> 5"}),
        ("server: {", "log: {level: debug}\nserver: {", {"log.level: info -> debug"}),
        ("${KEY}", "${OTHER}", {"server.api_key: changed"}),
        ("{name: a,", "{name: c,", {"pipelines.inbox[a]: removed", "pipelines.inbox[c]: added"}),
        ("pipelines:\n", "pipelines:\n  mine: [{name: z, do: [store]}]\n", {"pipelines.mine: added"}),
    ],
)
def test_each_change_is_named(old, new, lines):
    """A setting by its key with both values, a whole watch or pipeline by its name, a secret without its value."""
    found = set(differences(config(), config(BASE.replace(old, new))))
    assert lines <= found
    assert all(line in lines or line.startswith("pipelines.inbox: ") for line in found)


def test_a_changed_rule_is_named_with_both_forms():
    """What a rule asks or does is shown as far as it differs, so that a reload can be read back."""
    (line,) = differences(config(), config(BASE.replace("[store, deploy]", "[store]")))
    assert line == 'pipelines.inbox[b].do: ["store", "deploy"] -> ["store"]'


def test_what_differs_far_behind_in_a_long_text_is_shown():
    """Both sides begin where they begin to differ, and say so."""
    long, name = f"{{run: {{argv: [{'x' * 90}, END]}}}}", "pipelines.inbox[b].do: "
    old, new = (config(BASE.replace("[store, deploy]", f"[{long.replace('END', end)}]")) for end in ("one", "two"))
    (line,) = differences(old, new)
    assert line.startswith(f"{name}…xxxx") and "one" in line.split(" -> ")[0] and "two" in line.split(" -> ")[1]


def test_no_secret_is_shown():
    """Neither the key nor an option of a captioner that is one, nor a password within a URL."""
    made = config()
    fixed = replace(
        made.captioners["fixed"], options={"api_key": "Zebra-1", "url": "http://me:Zebra-2@box/v1", "key": Secret("Zebra-3")}
    )
    shown = str(effective(replace(made, captioners={"fixed": fixed})))
    assert "Zebra" not in shown and "http://***@box/v1" in shown


def test_every_setting_is_shown():
    """Each row of the table of settings has its value in what is in force."""
    shown = effective(config())
    for row in table():
        if "(engine " in row.help and not row.help.endswith("(engine simple)"):
            continue
        parts = (
            row.key.replace("[]", ".in").replace("targets.NAME", "targets.comfy").replace("captioners.NAME", "captioners.fixed")
        )
        value: object = shown
        for part in parts.split("."):
            assert part in value, row.key  # type: ignore[operator]
            value = value[part]  # type: ignore[index]


def test_what_only_decides_needs_no_new_ears():
    """Another pipeline or rescan keeps a watch hearing as it does; another folder, mode or ignore does not."""
    watch = config().watches[0]
    assert same_ears(watch, replace(watch, pipeline="mine", rescan=99.0))
    for change in ({"path": Path("/x")}, {"ignore": ("x",)}, {"enabled": False}, {"poll": 3.0}, {"settle": 9.0}):
        assert not same_ears(watch, replace(watch, **change))


class Desk:
    """A reloader over a file, and what it applied."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "c.yaml"
        self.file.write_text(BASE)
        self.house = House(load(self.file, ENV), None)  # type: ignore[arg-type]  # no store is asked
        self.applied: list[Config] = []
        self.error: OSError | None = None
        self.reloader = Reloader(self.house, self.apply, ENV)

    async def apply(self, new: Config) -> None:
        if self.error:
            raise self.error
        self.applied.append(new)
        self.house.config = new


async def test_a_good_file_is_taken_over_whole(tmp_path):
    """The configuration is handed over once, with the changes; a file that says the same is not applied again."""
    desk = Desk(tmp_path)
    desk.file.write_text(BASE.replace("text: one", "text: two"))
    done = await desk.reloader.reload()
    assert done.changes == ("captioners.fixed.text: one -> two",) and not done.problems
    assert (await desk.reloader.reload()).changes == () and len(desk.applied) == 1


async def test_a_bad_file_changes_nothing_and_is_a_notice(tmp_path):
    """All its mistakes come back, stand among the notices, and leave with the next good file."""
    desk = Desk(tmp_path)
    desk.file.write_text(BASE.replace("mode: inbox", "mode: inbux").replace("kind: model", "kind: modl"))
    done = await desk.reloader.reload()
    assert len(done.problems) == 2 and not done.changes and not desk.applied
    assert len(desk.reloader.notices()) == 2 and "inbux" in desk.reloader.notices()[0]
    desk.file.unlink()
    assert "no such file" in (await desk.reloader.reload()).problems[0]
    desk.file.write_text(BASE)
    assert (await desk.reloader.reload()).problems == () == desk.reloader.notices()


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("data_dir: ~/d\n", "data_dir"),
        ("hub: ~/h\n", "hub"),
        ("datasets: ~/s\n", "datasets"),
        ("", "server.port"),
        ("", "server.api_key"),
    ],
)
async def test_what_a_running_daemon_is_bound_to_is_refused(tmp_path, line, key):
    """Another data folder, hub, datasets or server needs a restart; the rest of that file is not taken either."""
    desk = Desk(tmp_path)
    text = BASE.replace("text: one", "text: two")
    if key == "server.port":
        text = text.replace("server: {", "server: {port: 9, ")
    if key == "server.api_key":
        text = text.replace("${KEY}", "${OTHER}")
    desk.file.write_text(line + text)
    problems = (await desk.reloader.reload()).problems
    assert any(p.startswith(f"{key}:") and p.endswith("needs a restart") for p in problems) and not desk.applied
    assert key.split(".")[0] in FIXED and "Zebra" not in str(problems)


async def test_a_folder_that_cannot_be_made_is_a_problem(tmp_path):
    """An error before anything was taken over is told like a mistake."""
    desk = Desk(tmp_path)
    desk.error = PermissionError(13, "Permission denied", "/root/in")
    desk.file.write_text(BASE.replace("~/in", "~/in2"))
    assert (await desk.reloader.reload()).problems == ("/root/in: Permission denied",)
