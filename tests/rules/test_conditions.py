"""What `when` may ask, asked of units of every kind."""

from pathlib import Path

import pytest
from dropdock.rules.conditions import CONDITIONS, Asked, ask
from dropdock.rules.document import parse
from dropdock.rules.grammar import Context, read_pipelines
from dropdock.rules.terms import (
    ArchiveFacts,
    ArchiveMember,
    Check,
    Condition,
    Facts,
    ImageFacts,
    Kind,
    Known,
    Mode,
    ModelFacts,
    Watch,
)

NOW = 1_800_000_000.0
WATCH = Watch("in", Path("/in"), Mode.INBOX)
PICTURE = Facts(Path("/in/cats/Tom.JPG"), Kind.IMAGE, 5_000_000, image=ImageFacts("jpeg", 4000, 3000, orientation=6))
LORA = Facts(
    Path("/in/Style_XL.safetensors"),
    Kind.MODEL,
    200_000_000,
    model=ModelFacts("safetensors", "lora", "sdxl", subfamily="pony", confidences={"type": 0.99, "base": 0.7}),
)
ZIP = Facts(
    Path("/in/cats.tar.gz"),
    Kind.ARCHIVE,
    100,
    archive=ArchiveFacts("tar.gz", (ArchiveMember("a/1.png", 9, Kind.IMAGE), ArchiveMember("a/1.txt", 9, Kind.CAPTION)), 18),
)
BROKEN = Facts(Path("/in/x.zip"), Kind.ARCHIVE, 0, Condition.INVALID, "truncated-data")


def check(when: str, facts: Facts, known: Known | None = None) -> Check:
    """The Check of one condition written as YAML."""
    document = parse(f"p: [{{do: [], when: {{{when}}}}}]", "c")
    pipelines, problems = read_pipelines(document, (), document.value, Context(home="/home/me"))
    assert not problems, problems
    (question,) = pipelines["p"].rules[0].when
    return ask(question, Asked(facts, known or Known(watch=WATCH), NOW))


@pytest.mark.parametrize(
    ("when", "facts", "met"),
    [
        ("kind: image", PICTURE, True),
        ("kind: [archive, MODEL]", LORA, True),
        ("kind: image", ZIP, False),
        ("type: lora", LORA, True),
        ("type: '*_encoder'", LORA, False),
        ("type: lora", PICTURE, False),
        ("base: 'sd*'", LORA, True),
        ("subfamily: pony", LORA, True),
        ("variant: schnell", LORA, False),
        ("confidence: '>= 0.7'", LORA, True),
        ("confidence: '> 0.7'", LORA, False),
        ("confidence: '>= 0'", PICTURE, False),
        ("condition: [ok, unknown]", LORA, True),
        ("condition: invalid", BROKEN, True),
        ("name: '*xl*'", LORA, True),
        ("name: '/_XL\\./'", LORA, True),
        ("path: 'cats/*'", PICTURE, True),
        ("path: '/in/**'", PICTURE, True),
        ("path: 'Tom.jpg'", PICTURE, False),
        ("suffix: [jpg, png]", PICTURE, True),
        ("suffix: .jpg", PICTURE, True),
        ("suffix: tar.gz", ZIP, True),
        ("suffix: gz", ZIP, True),
        ("size: '< 10 MB'", PICTURE, True),
        ("size: ['< 1 kB', '> 1 GB']", PICTURE, False),
        ("width: '>= 3001'", PICTURE, False),
        ("height: 4000", PICTURE, True),
        ("orientation: portrait", PICTURE, True),
        ("animated: false", PICTURE, True),
        ("animated: false", ZIP, False),
        ("contains: image", ZIP, True),
        ("contains: model", ZIP, False),
        ("contains: '**/*.txt'", ZIP, True),
        ("contains: image", PICTURE, False),
        ("seen: false", PICTURE, True),
        ("not: {kind: image}", PICTURE, False),
        ("not: [{kind: image}, {kind: model}]", ZIP, True),
        ("any: [{kind: image, suffix: png}, {size: '> 1 MB'}]", PICTURE, True),
        ("any: {suffix: png, kind: image}", PICTURE, True),
        ("all: [{size: '> 1 MB'}, {size: '< 2 MB'}]", PICTURE, False),
    ],
)
def test_conditions(when: str, facts: Facts, met: bool) -> None:
    """Each condition is met or not; a fact that the unit does not have never meets one."""
    assert check(when, facts).ok is met


def test_conditions_over_what_is_remembered() -> None:
    """Tags, datasets, age and overrides come from Known."""
    known = Known(seen=True, tags=frozenset({"keep"}), type="vae", dataset="cats", first_seen=NOW - 3 * 86400, watch=WATCH)
    assert check("tag: keep", LORA, known).ok
    assert check("seen: true", LORA, known).ok
    assert check("dataset: 'c*'", PICTURE, known).ok
    assert check("age: '> 2 days'", PICTURE, known).ok
    assert check("age: '< 1 s'", PICTURE).ok
    assert check("type: vae", LORA, known).ok
    assert check("confidence: '>= 0.7'", LORA, known).actual == "0.7"
    both = Known(type="vae", base="flux1", watch=WATCH)
    assert check("confidence: '>= 0.9'", LORA, both).ok


def test_home_in_a_path() -> None:
    """`~/` in a path pattern stands for the home that the reader was given."""
    facts = Facts(Path("/home/me/models/a.pt"), Kind.OTHER, 1)
    assert check("path: '~/models/*'", facts, Known()).ok


def test_a_check_says_what_was_wanted_and_found() -> None:
    """The trace shows both sides in words."""
    assert check("size: '< 1 MB'", PICTURE) == Check("size", "< 1 MB", "5 MB", False)
    assert check("width: 1", ZIP) == Check("width", "1", "none", False)
    assert check("any: [{kind: model}, {suffix: [png, gif]}]", PICTURE) == Check(
        "any", "all kind model or all suffix png or gif", "all kind image; all suffix .JPG", False
    )


def test_every_condition_has_help_and_an_example_that_reads() -> None:
    """The table is complete: each row has a line for the docs, and its example is itself a valid condition."""
    for name, row in CONDITIONS.items():
        assert row.help
        check(f"{name}: {row.example}", PICTURE)
