"""Configurations: defaults, every section, and every mistake at once."""

import json
from pathlib import Path

import pytest
from dropdock.daemon.config import CaptionerConfig, Config, ConfigError, Secret, built_in_pipelines, default_path, load, read
from dropdock.daemon.config_check import is_loopback
from dropdock.daemon.engines import ENGINES
from dropdock.rules.terms import Lane, Mode, Target, Watch
from hypothesis import example, given, settings
from hypothesis import strategies as st

HOME = Path("/home/me")
ENV = {"HOME": str(HOME)}

DESIGN = """
data_dir: ~/.local/share/dropdock
hub: ~/models/hub
datasets: ~/datasets
server: {host: 127.0.0.1, port: 8484}
watch:
  - {path: ~/inbox, mode: inbox, pipeline: inbox}
  - {path: ~/ComfyUI/models, mode: library, pipeline: library}
  - {path: ~/datasets, mode: dataset}
pipelines:
  inbox:
    - name: zipped pictures
      when: {kind: archive, contains: image}
      do:
        - unpack: {dataset: "{stem}"}
    - name: pictures
      when: {kind: image}
      do:
        - dataset: "{parent}"
        - caption: {with: tagger, set: tags, only: missing}
    - name: models we are sure of
      when: {kind: model, confidence: ">= 0.6"}
      do: [store, deploy]
    - name: models we are not sure of
      when: {kind: model}
      do:
        - store
        - hold: "type or base unsure: set it with `dropdock models set-type`, or over the API"
  library:
    - name: take into the hub, leave a link behind
      when: {kind: model, confidence: ">= 0.9", path: "**/loras/**"}
      do: [{tag: adopt}]
captioners:
  tagger: {engine: simple, text: a picture}
targets:
  comfyui:    {layout: comfyui, path: ~/ComfyUI}
  forge:      {layout: forge, path: ~/stable-diffusion-webui-forge, enabled: false}
  ai-toolkit: {layout: ai-toolkit, path: ~/ai-toolkit}
"""


def mistakes(text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, Path("/etc/c.yaml"), environ or ENV)
    assert str(caught.value) == "\n".join(map(str, caught.value.problems))
    return [str(p).removeprefix("/etc/") for p in caught.value.problems]


def test_without_a_file_everything_has_a_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file: an inbox, a hub and datasets below ~/dropdock, the built-in pipelines, the embedded captioner, loopback."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    config = load(None, ENV)
    assert config.source is None
    assert config.watches == (
        Watch("inbox", HOME / "dropdock/inbox", Mode.INBOX, "inbox"),
        Watch("datasets", HOME / "dropdock/datasets", Mode.DATASET),
    )
    assert (config.hub, config.datasets) == (HOME / "dropdock/hub", HOME / "dropdock/datasets")
    assert config.data_dir.name == "dropdock"
    assert config.pipelines == built_in_pipelines()
    assert config.captioners == {"basic": CaptionerConfig("basic", "basic", ENGINES["basic"]().model_dump())}
    assert (config.server.host, config.server.port, config.server.api_key) == ("127.0.0.1", 8484, None)
    assert (config.trash, config.targets) == (14 * 86400, ())
    assert set(config.lanes) == set(Lane)


def test_the_designs_sample_loads() -> None:
    """Every section as a user writes it."""
    config = read(DESIGN, Path("/home/me/c.yaml"), ENV)
    assert [(w.name, w.path, w.mode, w.pipeline) for w in config.watches] == [
        ("inbox", HOME / "inbox", Mode.INBOX, "inbox"),
        ("models", HOME / "ComfyUI/models", Mode.LIBRARY, "library"),
        ("datasets", HOME / "datasets", Mode.DATASET, None),
    ]
    assert config.targets[1] == Target("forge", "forge", HOME / "stable-diffusion-webui-forge", enabled=False)
    assert [r.name for r in config.pipelines["inbox"].rules][2] == "models we are sure of"
    assert config.captioners["tagger"] == CaptionerConfig("tagger", "simple", ENGINES["simple"](text="a picture").model_dump())


def test_the_default_place_and_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's configuration folder is read when nothing is named; a named file must exist."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    if default_path({}).is_relative_to(tmp_path):  # macOS and Windows have their own folder
        default_path({}).parent.mkdir(parents=True)
        default_path({}).write_text("server: {port: 1}")
        assert load(None, ENV).server.port == 1
    named = tmp_path / "mine.yaml"
    with pytest.raises(ConfigError, match="no such file"):
        load(named, ENV)
    with pytest.raises(ConfigError, match="no such file"):
        load(None, {**ENV, "DROPDOCK_CONFIG": str(named)})
    named.write_bytes(b"\xef\xbb\xbfhub: models")
    assert load(None, {**ENV, "DROPDOCK_CONFIG": str(named)}).hub == tmp_path / "models"
    named.write_bytes(b"hub: a\nx: \xff")
    with pytest.raises(ConfigError, match="yaml:2:1: is not UTF-8"):
        load(named, ENV)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, ENV)


def test_all_mistakes_at_once() -> None:
    """One pass names every mistake with line, column, key and what was expected."""
    assert mistakes(
        """\
hubb: x
data_dir: no
server: {host: 12, port: 99999, portt: 1}
watch:
  - {path: ~you/x, mode: inbx}
  - {mode: inbox, settle: 2, rescan: 1 s}
  - 3
trash: soon
targets:
  a: {layout: comfy, path: ~/a, enabled: perhaps}
captioners:
  t: {engine: onnx, models: [x]}
  u: {engine: simpel}
  v: {engine: simple, txt: a}
lanes: {cpu: 0, gpu: 1}
pipelines:
  inbox:
    - {when: {kind: modl}, do: [adpot]}
    - {do: [{caption: w}, {deploy: b}]}
trash: 1 s
"""
    ) == [
        "c.yaml:1:1: hubb: unknown setting (did you mean hub?)",
        'c.yaml:2:11: data_dir: expected text, but YAML reads no as false: put quotes, "no"',
        'c.yaml:3:16: server.host: expected text: put quotes around it, "12"',
        "c.yaml:3:26: server.port: expected at most 65535, not 99999",
        "c.yaml:3:33: server.portt: unknown setting (did you mean port?)",
        "c.yaml:5:12: watch[0].path: expected a folder, where ~ stands alone or before a slash, not '~you/x'",
        "c.yaml:5:26: watch[0].mode: expected one of inbox, library, dataset, not 'inbx' (did you mean inbox?)",
        "c.yaml:6:5: watch[1]: expected `path`",
        "c.yaml:6:27: watch[1].settle: expected a unit, like 2 s, 15 min or 14 days, not 2",
        "c.yaml:6:38: watch[1].rescan: expected at least 10, not '1 s'",
        "c.yaml:7:5: watch[2]: expected settings by name, not 3",
        "c.yaml:8:8: trash: expected something like 2 s, 15 min or 14 days, not 'soon'",
        "c.yaml:10:15: targets.a.layout: expected one of comfyui, forge, a1111, swarmui, fooocus, wan2gp, ai-toolkit, custom, not 'comfy' "
        "(did you mean comfyui?)",
        "c.yaml:10:42: targets.a.enabled: expected true or false, not 'perhaps'",
        "c.yaml:12:29: captioners.t.models: expected a tagger's name, a folder, owner/repository or an address, not 'x'",
        f"c.yaml:13:15: captioners.u.engine: expected one of {', '.join(ENGINES)}, not 'simpel' (did you mean simple?)",
        "c.yaml:14:6: captioners.v: expected `text`",
        "c.yaml:14:23: captioners.v.txt: unknown setting (did you mean text?)",
        "c.yaml:15:14: lanes.cpu: expected more than 0, not 0",
        "c.yaml:15:17: lanes.gpu: unknown setting (did you mean cpu?)",
        "c.yaml:18:21: pipelines.inbox[0].when.kind: expected one of image, archive, model, caption, other, not 'modl' "
        "(did you mean model?)",
        "c.yaml:18:33: pipelines.inbox[0].do[0]: unknown action `adpot` (did you mean adopt?)",
        "c.yaml:19:23: pipelines.inbox[1].do[0].caption: expected one of basic, t, u, v, not 'w'",
        "c.yaml:19:36: pipelines.inbox[1].do[1].deploy: expected one of a, not 'b'",
        "c.yaml:20:1: trash: this key stands twice, first in line 8",
    ]


def test_folders_that_swallow_each_other() -> None:
    """What would make a file arrive twice, or what is stored arrive again, is refused."""
    head = "hub: /m/hub\ndatasets: /d\n"
    for watch, said in {
        "[{path: /m, mode: inbox}]": "`hub` (/m/hub) lies in this watched folder",
        "[{path: /m, mode: library}]": "`hub` (/m/hub) lies in this watched folder",
        "[{path: /m/hub/x, mode: library}]": "this folder lies in `hub`",
        "[{path: /d/x, mode: inbox}]": "this folder lies in `datasets`",
        "[{path: /a, mode: inbox}, {path: /a/, mode: library}]": "/a is watched already, as 'a'",
        "[{path: /a, mode: inbox}, {path: /a/b, mode: library}]": "/a/b lies in /a, which is watched as 'a'",
        "[{path: /a/b, mode: inbox}, {path: /a, mode: library}]": "/a/b, which is watched as 'b', lies in /a",
        "[{path: /a, mode: inbox, name: x}, {path: /b, mode: library, name: x}]": "two watches are called 'x'",
        "[{path: /a, mode: inbox, pipeline: inbx}]": "there is no pipeline 'inbx': there are inbox, library (did you mean inbox?)",
    }.items():
        (problem,) = mistakes(f"{head}watch: {watch}")
        assert problem.startswith("c.yaml:3:") and said in problem, problem
    assert "must not lie in each other" in mistakes("hub: /d/hub\ndatasets: /d")[0]
    assert "lies in the hub" in mistakes(head + "targets: {a: {layout: forge, path: /m/hub/a}}")[0]
    assert "already" in mistakes(head + "targets: {a: {layout: forge, path: /a}, b: {layout: forge, path: /a}}")[0]
    assert "`data_dir` (/a/data) lies" in mistakes("data_dir: /a/data\nwatch: [{path: /a, mode: inbox}]")[0]
    fine = "watch: [{path: /a, mode: inbox}, {path: /a/b, mode: library, enabled: false}, {path: /d, mode: dataset}]"
    assert [w.name for w in read(head + fine, None, ENV).watches] == ["a", "b", "d"]


def test_links_are_seen_through(tmp_path: Path) -> None:
    """Two watches over one folder are found out even when one goes through a link."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    text = f"watch: [{{path: {tmp_path}/real, mode: inbox}}, {{path: {tmp_path}/link, mode: library}}]"
    assert "is watched already" in mistakes(text)[0]


def test_names_of_watches_are_made_unique() -> None:
    """Folders of one name get numbers; a given name is kept."""
    config = read(
        "watch: [{path: /a/in, mode: inbox}, {path: /b/in, mode: inbox}, {path: /c, mode: inbox, name: in-2}]", None, ENV
    )
    assert [w.name for w in config.watches[:3]] == ["in", "in-3", "in-2"]


def test_variables() -> None:
    """`${NAME}` and defaults are filled into values after parsing, so a variable can add no structure."""
    environ = {**ENV, "PORT": "9000", "HUB": "/x: {a: [", "EMPTY": "", "ON": "true"}
    text = """
hub: ${HUB}
datasets: ${NOWHERE:-/d}/${EMPTY:-e}$${HOME}
server: {port: "${PORT}", api_key: "${EMPTY}"}
targets: {a: {layout: forge, path: /a, relative: "${ON}"}}
"""
    config = read(text, None, environ)
    assert (config.hub, config.datasets) == (Path("/x: {a: [").absolute(), Path("/d/e${HOME}"))
    assert (config.server.port, config.server.api_key, config.targets[0].relative) == (9000, None, True)
    assert mistakes("hub: ${NOWHERE}") == [
        "c.yaml:1:6: hub: the variable NOWHERE is not set: set it, or give a default, ${NOWHERE:-…}"
    ]
    for bad in ("hub: ${1}", "hub: ${A:-${B}}", "server: {port: '${'}"):
        assert "expected ${NAME}" in mistakes(bad)[0]
    assert "in quotes" in mistakes("server: {api_key: ${KEY}}")[0]


def test_beyond_loopback_there_is_a_key() -> None:
    """A server that others can reach needs a key, and the key never shows itself."""
    assert "other machines" in mistakes("server: {host: 0.0.0.0}")[0]
    config = read("server: {host: 0.0.0.0, api_key: s3cret}", None, ENV)
    assert config.server.api_key == Secret("s3cret")
    assert config.server.api_key is not None and config.server.api_key.reveal() == "s3cret"
    assert "s3cret" not in repr(config)
    assert "4711" not in " ".join(mistakes("server: {api_key: 4711, host: ''}"))
    assert "s3cret" not in " ".join(mistakes("server: {api_key: [s3cret]}"))
    assert [is_loopback(h) for h in ("127.0.0.9", "::1", "[::1]", "LocalHost", "0.0.0.0", "::", "my-box")] == [True] * 4 + [
        False
    ] * 3


def test_wrong_shapes() -> None:
    """A section of the wrong shape is a mistake with its place; an empty one is as good as not written."""
    for text in ("[]", "3", "server: []", "watch: {}", "targets: [a]", "captioners: [a]", "captioners: {a: b}", "pipelines: 1"):
        assert mistakes(text), text
    assert isinstance(read("server:\nwatch:\npipelines:\ncaptioners:\n", None, ENV), Config)
    assert "engine" in mistakes("captioners: {a: {}}")[0]


LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=4), st.sampled_from(["~/x", "inbox", "2 s", "1 GB"]))
KEYS = ["hub", "server", "watch", "targets", "limits", "captioners", "path", "mode", "engine", "total", "port", "api_key", "x"]
TREES = st.recursive(
    LEAVES, lambda t: st.lists(t, max_size=2) | st.dictionaries(st.sampled_from(KEYS), t, max_size=3), max_leaves=12
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(KEYS[:6]), TREES, max_size=4))
@example({"hub": "\U00010000"})
def test_any_tree_loads_or_is_refused(tree: dict[str, object]) -> None:
    """Whatever is written, the result is a Config or a ConfigError with at least one placed problem."""
    try:
        config = read(json.dumps(tree), None, ENV)
    except ConfigError as error:
        assert error.problems
        return
    assert config.watches


def test_the_bands_of_confidence_are_ordered_shares() -> None:
    """They are taken over into the rules by their words; out of order, or beyond 1, they are a mistake in its place."""
    rules = "pipelines: {inbox: [{when: {confidence: probable}, do: store}]}"
    config = read(f"identify: {{sure: 0.95, probable: 0.7}}\n{rules}", None, ENV)
    assert (config.bands.sure, config.bands.probable) == (0.95, 0.7)
    (asked,) = config.pipelines["inbox"].rules[0].when[0].comparisons
    assert [asked.holds(x) for x in (0.69, 0.7, 0.94, 0.95)] == [False, True, True, False]
    assert mistakes("identify: {sure: 0.5}") == [
        "c.yaml:1:11: identify: `probable` is above `sure`: expected at most 0.5, not 0.6"
    ]
    (told,) = mistakes("identify: {sure: 60}")
    assert "identify.sure: expected a number from 0 to 1" in told
    assert "identify.shure" in mistakes("identify: {shure: 1}")[0]
