"""Placeholders and the table of verbs."""

from pathlib import Path

import pytest
from dropdock.rules.actions import ACTIONS, PLACEHOLDERS, fill, rendered, safe_name, split_name, unknown_placeholders
from dropdock.rules.document import parse
from dropdock.rules.grammar import Context, read_pipelines
from dropdock.rules.terms import Action, Facts, Kind, Known, Mode, ModelFacts, Watch
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_800_000_000.0
KNOWN = Known(watch=Watch("in", Path("/in/box"), Mode.INBOX))
DEEP = Facts(Path("/in/box/cats/old/Tom.tar.gz"), Kind.ARCHIVE, 1)
LOOSE = Facts(Path("/in/box/x.safetensors"), Kind.MODEL, 1, model=ModelFacts("safetensors", "lora", "sdxl"))


@pytest.mark.parametrize(
    ("template", "facts", "text"),
    [
        ("{name}", DEEP, "Tom.tar.gz"),
        ("{stem}{suffix}", DEEP, "Tom.tar.gz"),
        ("{stem}", DEEP, "Tom"),
        ("{parent}", DEEP, "cats"),
        ("{parent}", LOOSE, "box"),
        ("{type}-{base} {kind}", LOOSE, "lora-sdxl model"),
        ("{type}", DEEP, "unknown"),
        ("{date}", DEEP, "2027-01-15"),
        ("{{stem}} {other}", DEEP, "{stem} {other}"),
    ],
)
def test_filling(template: str, facts: Facts, text: str) -> None:
    """Each placeholder is filled from facts, known and clock; doubled braces stand for themselves."""
    assert fill(template, facts, KNOWN, NOW) == text


def test_overrides_fill_too() -> None:
    """What the user says about a model is what the placeholder says."""
    assert fill("{type}", LOOSE, Known(type="vae"), NOW) == "vae"


def test_unknown_placeholders() -> None:
    """A misspelt word, a format and a lone brace are found."""
    assert unknown_placeholders("{stem} {{x}} {Stem} {sha256:.8} }") == ["Stem", "sha256:.8", "}"]


def test_split_name() -> None:
    """Double archive suffixes count as one; dot files have no suffix."""
    assert [split_name(n) for n in ("a.tar.gz", "a.b.c", ".hid", "plain", "v1. final")] == [
        ("a", ".tar.gz"),
        ("a.b", ".c"),
        (".hid", ""),
        ("plain", ""),
        ("v1. final", ""),
    ]


def test_only_folder_names_are_made_safe() -> None:
    """A dataset's name is one component; a sentence for a person keeps its slashes."""
    evil = Facts(Path("/in/box/..\\..\\etc: x?.zip"), Kind.ARCHIVE, 1)
    assert rendered(Action("unpack", {"dataset": "../{stem}"}), evil, KNOWN, NOW).params["dataset"] == "_.._.._etc_ x_"
    assert rendered(Action("hold", {"reason": "a/{stem}"}), LOOSE, KNOWN, NOW).params["reason"] == "a/x"
    assert rendered(Action("tag", {"tags": ("{stem}",)}), LOOSE, KNOWN, NOW).params["tags"] == ("{stem}",)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("..", "unnamed"),
        ("", "unnamed"),
        (" a. ", "a"),
        ("CON.txt", "_CON.txt"),
        ("a\udcffb", "a_b"),
        ("a\nb", "a_b"),
        ("cats\u202egpj", "catsgpj"),
        ("\u200b.\u200b.", "unnamed"),
    ],
)
def test_safe_names(text: str, name: str) -> None:
    """Dots, device names, surrogates, control and invisible characters cannot hurt."""
    assert safe_name(text) == name


@given(st.text())
def test_any_text_becomes_one_component(text: str) -> None:
    """Whatever goes in: one non-empty component of at most 200 bytes that is stable under itself."""
    name = safe_name(text)
    assert name and len(name.encode()) <= 201
    assert len(Path(f"/root/{name}").parts) == 3 and name not in (".", "..")
    assert safe_name(name) == name


@given(st.text(), st.floats(), st.text(min_size=1).filter(lambda t: "\0" not in t and t.strip("/.")))
def test_filling_is_total(template: str, now: float, name: str) -> None:
    """No template, clock or file name makes filling raise."""
    facts = Facts(Path("/in/box") / name.replace("/", "_"), Kind.OTHER, 1)
    assert isinstance(fill(template + "".join(f"{{{p}}}" for p in PLACEHOLDERS), facts, KNOWN, now), str)


@pytest.mark.parametrize("verb", ACTIONS)
def test_every_example_reads(verb: str) -> None:
    """The table is complete: each verb has help, its shorthand is one of its parameters, and its example is valid."""
    form = ACTIONS[verb]
    assert form.help and all(p.help for p in form.params)
    assert not form.shorthand or form.param(form.shorthand)
    document = parse(f"p:\n  - do:\n    - {form.example}", "c")
    names = {"captioners": ("basic",), "targets": ("comfyui", "forge")}
    pipelines, problems = read_pipelines(document, (), document.value, Context(names))
    assert not problems
    assert pipelines["p"].rules[0].do[0].verb == verb


@given(st.text(max_size=30))
def test_a_folders_path_stays_where_it_was_written(name: str) -> None:
    """Whatever a file is called, it adds one component below the written folder, never a way out of it."""
    facts = Facts(Path("/in/box") / (name.replace("/", "_").replace("\0", "") or "x"), Kind.OTHER, 1)
    made = rendered(Action("move", {"to": "/kept/{stem}/{name}"}), facts, KNOWN, NOW).text("to")
    assert made.startswith("/kept/") and made.count("/") == 3 and ".." not in made.split("/")


@given(st.text(max_size=30))
def test_an_argument_is_filled_once(name: str) -> None:
    """A file called `{path}` fills nothing: only the written placeholder stands for the path."""
    facts = Facts(Path("/in/box") / (name.replace("/", "_").replace("\0", "") or "{path}"), Kind.OTHER, 1)
    argv = rendered(Action("run", {"argv": ("x", "{name}", "-{path}-")}), facts, KNOWN, NOW).params["argv"]
    assert argv == ("x", ("./" if facts.path.name.startswith("-") else "") + facts.path.name, "-\0-")


def test_a_name_is_no_option_of_a_program() -> None:
    """`-rf.png` alone gets `./` in front; behind what the rule has written it is as it is."""
    facts = Facts(Path("/in/box/-rf.png"), Kind.OTHER, 1)
    argv = rendered(Action("run", {"argv": ("x", "{name}", "-{name}", "--as={stem}", "{path}")}), facts, KNOWN, NOW).params[
        "argv"
    ]
    assert argv == ("x", "./-rf.png", "--rf.png", "--as=-rf", "\0")
