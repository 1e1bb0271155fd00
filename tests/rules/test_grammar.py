"""The rules of a configuration: read, and every mistake found at once."""

from importlib.resources import files

import pytest
from dropdock.rules.confidence import Bands
from dropdock.rules.document import Document, parse
from dropdock.rules.grammar import Context, read_pipelines
from dropdock.rules.pipeline import Pipeline
from dropdock.rules.terms import Action
from hypothesis import given, settings
from hypothesis import strategies as st

CONTEXT = Context({"captioners": ("basic", "tagger"), "targets": ("comfyui", "forge")}, "/home/me")


def read(text: str) -> tuple[dict[str, Pipeline], list[str]]:
    document = parse(text, "c.yaml")
    assert not document.problems
    pipelines, problems = read_pipelines(document, (), document.value, CONTEXT)
    return pipelines, [str(p) for p in problems]


def actions(do: str) -> tuple[Action, ...]:
    pipelines, problems = read(f"p: [{{do: {do}}}]")
    assert not problems, problems
    return pipelines["p"].rules[0].do


def test_the_built_in_pipelines_read() -> None:
    """What somebody without rules gets is itself written in the grammar, without a mistake."""
    text = (files("dropdock.rules") / "tables" / "pipelines.yaml").read_text("utf-8")
    pipelines, problems = read(text)
    assert not problems
    assert [r.name for r in pipelines["inbox"].rules][:2] == ["zipped pictures", "pictures"]
    assert pipelines["library"].rules == ()
    assert pipelines["inbox"].rules[1].do == (
        Action("dataset", {"name": "{parent}"}),
        Action("caption", {"with": "basic", "set": "main", "only": "missing"}),
    )


def test_the_ways_to_write_an_action() -> None:
    """A bare word, a scalar or list for the main parameter, a mapping; limits flatten; units are read."""
    assert actions("store") == (Action("store"),)
    assert actions("[store, deploy]") == (Action("store"), Action("deploy"))
    assert actions("{deploy: forge}") == (Action("deploy", {"targets": ("forge",)}),)
    assert actions("[{deploy: [comfyui, forge]}]") == (Action("deploy", {"targets": ("comfyui", "forge")}),)
    assert actions("unpack") == (Action("unpack", {"dataset": "{stem}"}),)
    assert actions("[{unpack: {dataset: all, limits: {total: 2 GB, files: 500}}}]") == (
        Action("unpack", {"dataset": "all", "limits.total": 2_000_000_000, "limits.files": 500}),
    )
    assert actions("[{trash: 14 days}, trash]") == (Action("trash", {"keep": 1209600.0}), Action("trash"))
    assert actions("[{tag: a}, {tag: [b, c]}]") == (Action("tag", {"tags": ("a",)}), Action("tag", {"tags": ("b", "c")}))
    assert actions("[{caption: tagger}]")[0].params["with"] == "tagger"
    assert actions('[{hold: "look at {name}"}]') == (Action("hold", {"reason": "look at {name}"}),)


def test_all_mistakes_at_once() -> None:
    """One pass finds every mistake, each with its line, column, key and the nearest right word."""
    _, problems = read(
        """\
p:
  - name: no
    when: {kinde: image, size: 10 MB, type: lroa, confidence: 0.6}
    do:
      - dataset: "{perent}"
      - captoin
      - caption: {with: taggr, onli: missing}
      - deploy: [comfy]
      - tag
      - moev: x
    whn: {}
  - when: {any: {kind: imgae}, contains: imag, seen: 1, name: "/(/"}
    do: [{trash: {keep: 14}}, {store: x}]
    continue: 1
  - nothing
"""
    )
    assert problems == [
        "c.yaml:11:5: p[0].whn: unknown key: a rule has name, when, do, continue, enabled (did you mean when?)",
        'c.yaml:2:11: p[0].name: expected text, but YAML reads no as false: put quotes, "no"',
        "c.yaml:3:12: p[0].when.kinde: unknown condition (did you mean kind?)",
        'c.yaml:3:32: p[0].when.size: expected a sign, like ">= 10 MB" or "< 10 MB", not \'10 MB\'',
        f"c.yaml:3:45: p[0].when.type: expected one of {TYPES}, not 'lroa' (did you mean lora?)",
        'c.yaml:3:63: p[0].when.confidence: expected a sign, like ">= 0.6" or "< 0.6", not 0.6',
        "c.yaml:5:18: p[0].do[0].dataset: unknown placeholder {perent}: there are {name}, {stem}, {suffix}, {parent}, {type}, "
        "{base}, {kind}, {date} (did you mean {parent}?)",
        "c.yaml:6:9: p[0].do[1]: unknown action `captoin` (did you mean caption?)",
        "c.yaml:7:25: p[0].do[2].caption.with: expected one of basic, tagger, not 'taggr' (did you mean tagger?)",
        "c.yaml:7:32: p[0].do[2].caption.onli: unknown parameter: `caption` takes with, set, only (did you mean only?)",
        "c.yaml:8:18: p[0].do[3].deploy[0]: expected one of comfyui, forge, not 'comfy' (did you mean comfyui?)",
        "c.yaml:9:9: p[0].do[4]: `tag` needs `tags`, like tag: [new, portrait]",
        "c.yaml:10:9: p[0].do[5].moev: unknown action `moev` (did you mean move?)",
        "c.yaml:12:24: p[1].when.any.kind: expected one of image, archive, model, caption, other, not 'imgae' "
        "(did you mean image?)",
        "c.yaml:12:42: p[1].when.contains: expected one of image, archive, model, caption, other, not 'imag' "
        "(did you mean image?)",
        "c.yaml:12:54: p[1].when.seen: expected true or false, not 1",
        "c.yaml:12:63: p[1].when.name: not a regular expression: missing ), unterminated subpattern at position 0, not '/(/'",
        "c.yaml:13:25: p[1].do[0].trash.keep: expected a unit, like 2 s, 15 min or 14 days, not 14",
        "c.yaml:13:32: p[1].do[1].store: unknown parameter: `store` takes no parameters",
        "c.yaml:14:15: p[1].continue: expected true or false, not 1",
        "c.yaml:15:5: p[2]: expected a rule with `when` and `do`, not 'nothing'",
    ]


TYPES = (
    "checkpoint, diffusion_model, lora, vae, vae_approx, text_encoder, clip_vision, controlnet, t2i_adapter, ip_adapter, "
    "style_model, embedding, upscaler, face_restore, motion_module, photomaker, detector, sam, llm, mmproj, "
    "diffusers_pipeline, model_patch, training_state, unknown"
)


def test_an_action_for_another_kind_is_a_mistake() -> None:
    """A rule about pictures that unpacks would never do anything, so it is refused."""
    assert read("p: [{when: {kind: image}, do: [unpack]}]")[1] == [
        "c.yaml:1:32: p[0].do[0]: `unpack` is for archive, but the rule is for image"
    ]
    assert not read("p: [{when: {kind: [image, archive]}, do: [unpack]}]")[1]


def test_names_of_rules_are_unique() -> None:
    """Two rules of one name could not be told apart in a history."""
    assert len(read("p: [{name: a, do: []}, {name: a, do: []}]")[1]) == 1


def test_wrong_shapes() -> None:
    """Sections of the wrong shape are named, not crashed upon."""
    for text in ("[1]", "p: 3", "p: [{do: 3}]", "p: [{when: [], do: []}]", "p: [{when: {not: 3}, do: []}]", "p: [{}]"):
        assert read(text)[1], text
    assert read("p: [{when: " + "{not: " * 30 + "{kind: image}" + "}" * 30 + ", do: []}]")[1]


JUNK = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(["kind", "store"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                ["name", "when", "do", "any", "not", "size", "path", "kind", "tag", "unpack", "limits", "trash", "x"]
            ),
            inner,
            max_size=3,
        ),
    ),
    max_leaves=15,
)


@settings(max_examples=200, deadline=None)
@given(JUNK)
def test_nothing_raises(value: object) -> None:
    """Whatever shape the section has, reading it gives pipelines and problems, never an exception."""
    pipelines, _ = read_pipelines(Document("c", value), (), {"p": [value, {"when": value, "do": value}]}, CONTEXT)  # type: ignore[arg-type,dict-item,list-item]
    assert len(pipelines["p"].rules) == 2


def test_the_actions_that_reach_outside() -> None:
    """Folders, addresses, arguments and what every action takes: read, with the home filled in and the rest left for later."""
    assert actions("[{move: '~/sorted/{type}/'}]") == (
        Action("move", {"to": "/home/me/sorted/{type}", "name": "{name}", "on_conflict": "skip_same_else_rename"}),
    )
    assert actions("[{run: [echo, '{path}']}]") == (Action("run", {"argv": ("echo", "{path}"), "timeout": 60.0}),)
    assert actions("[{webhook: 'http://[::1]:9000/new'}]")[0].params["timeout"] == 10.0
    assert actions("[{store: {on_error: {retry: 5, then: quarantine}}}]") == (
        Action("store", {"on_error.retry": 5, "on_error.then": "quarantine"}),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("move: {to: ../up}", "expected a folder without `..`"),
        ("move: {to: 'x/{typ}'}", "unknown placeholder {typ}"),
        ("move: {to: x, on_conflict: overwrite}", "expected one of skip_same_else_rename, skip, rename, fail"),
        ("webhook: 'ftp://x/y'", "expected an address"),
        ("webhook: 'http:///y'", "expected an address"),
        ("run: [echo, '{pth}']", "unknown placeholder {pth}"),
        ("run: {timeout: 5 s}", "`run` needs `argv`"),
        ("run: 'echo hi'", "no shell takes a line apart, not 'echo hi' (did you mean [echo, hi]?)"),
        ("run: [sh, -c, 'echo {path}']", "would be run as code"),
        ("run: {argv: ['{name}', x]}", "the program's own name must not come from the file, not '{name}'"),
        ("run: {argv: true-ish, timeout: 5 s}", "(did you mean [true-ish]?)"),
        ("run: [1]", "expected text"),
        ("store: {on_error: {then: delete}}", "expected one of hold, quarantine"),
        ("store: {on_error: 3}", "expected a mapping"),
    ],
)
def test_what_would_reach_too_far_is_refused(text: str, said: str) -> None:
    """No way upwards, no other protocol, no unknown word: each is said with its place."""
    _, problems = read(f"p:\n  - do: [{{{text}}}]\n")
    assert len(problems) == 1 and said in problems[0], problems


def test_a_confidence_may_be_asked_for_by_its_word() -> None:
    """`confidence: sure`, or several words, mean the bands of the settings; a word that is none is a mistake with its mend."""
    text = "p: [{when: {confidence: [Sure, probable]}, do: store}, {when: {confidence: guess}, do: []}]"
    document = parse(text, "c.yaml")
    pipelines, problems = read_pipelines(document, (), document.value, Context(bands=Bands(0.8, 0.7)))
    assert not problems
    first, second = (rule.when[0].comparisons for rule in pipelines["p"].rules)
    assert [any(c.holds(x) for c in first) for x in (0.9, 0.8, 0.75, 0.7, 0.69)] == [True, True, True, True, False]
    assert [any(c.holds(x) for c in second) for x in (0.7, 0.69, 0.0)] == [False, True, True]
    _, problems = read("p: [{when: {confidence: shure}, do: store}]")
    assert problems == [
        "c.yaml:1:25: p[0].when.confidence: expected a comparison, or one of sure, probable, guess, not 'shure' (did you mean sure?)"
    ]
