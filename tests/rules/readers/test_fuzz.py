"""A thousand broken files of every kind: an answer each time, and never an exception."""

import os
from pathlib import Path

import pytest
from dropdock.rules.identify import header_of, identify
from dropdock.rules.readers.whole import is_whole
from dropdock.rules.terms import Condition, Kind
from fuzz_files import case, seeds

CASES, PARTS = 1_000, 5


@pytest.fixture(scope="module")
def sound() -> dict[str, bytes]:
    return seeds()


def test_the_seeds_are_sound(tmp_path: Path, sound: dict[str, bytes]) -> None:
    """What is broken was whole: every seed is what it is called, so that a mutation has something to break."""
    bad = {}
    for name, raw in sound.items():
        (tmp_path / name).write_bytes(raw)
        facts = identify(tmp_path / name)
        if facts.condition not in (Condition.OK, Condition.UNKNOWN) or facts.kind is Kind.OTHER:
            bad[name] = facts.reason
    assert bad == {"evil.ckpt": "runs-code"}


@pytest.mark.parametrize("part", range(PARTS))
def test_broken_files_are_data(tmp_path: Path, sound: dict[str, bytes], part: int) -> None:
    """Whatever is in a file, it is identified, is whole or not, and says what is wrong with it by a slug."""
    for number in range(part, CASES, PARTS):
        name, raw = case(number, sound)
        path = tmp_path / name
        path.write_bytes(raw)
        facts = identify(path)
        assert (facts.reason is None) == (facts.condition is Condition.OK), number
        assert facts.reason is None or " " not in facts.reason, number
        assert is_whole(path) in (True, False, None)
        header_of(path)
        os.truncate(path, 0)


def test_a_number_gives_the_same_case(sound: dict[str, bytes]) -> None:
    """A case that failed somewhere can be had again anywhere."""
    assert [case(n, sound) for n in range(50)] == [case(n, seeds()) for n in range(50)]
