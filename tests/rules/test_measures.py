"""Quantities with units, and comparisons."""

import pytest
from dropdock.rules.measures import (
    Measure,
    parse_comparison,
    parse_duration,
    parse_number,
    parse_share,
    parse_size,
    show_duration,
    show_size,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("2 s", 2), ("500ms", 0.5), ("15 min", 900), ("1.5 h", 5400), ("14 days", 1209600), ("1 Week", 604800), (0, 0)],
)
def test_durations(text: object, seconds: float) -> None:
    """Every written unit gives its seconds; zero needs none."""
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "count"), [("10 MB", 10_000_000), ("1.5 GiB", 1610612736), ("2kB", 2000), ("7 b", 7), ("1_000 B", 1000)]
)
def test_sizes(text: str, count: int) -> None:
    """Decimal and binary prefixes are told apart."""
    assert parse_size(text) == count


@pytest.mark.parametrize("bad", [2, "2", "two s", "2 parsecs", True, None, "-1 s", "", "1e9 s", "9" * 400 + " s", []])
def test_a_duration_without_a_known_unit_is_refused(bad: object) -> None:
    """What has no unit, a wrong one, or is no amount gets a sentence with an example."""
    with pytest.raises(ValueError, match="expected"):
        parse_duration(bad)


def test_numbers_and_shares() -> None:
    """A share stays within 0 and 1, a number takes no unit."""
    assert (parse_number("12"), parse_share(0.5)) == (12, 0.5)
    for bad in ("3 s", True, "x"):
        with pytest.raises(ValueError, match=r"expected a number|something"):
            parse_number(bad)
    with pytest.raises(ValueError, match="from 0 to 1"):
        parse_share("1.1")


def test_comparisons() -> None:
    """Signs compare, `and` joins, a bare number is equality, and units are read inside."""
    assert parse_comparison(">= 0.6", Measure.SHARE).holds(0.6)
    assert not parse_comparison("< 10 MB", Measure.SIZE).holds(10_000_000)
    assert parse_comparison("> 2 days", Measure.DURATION).holds(172801)
    both = parse_comparison(">= 512 and < 2048", Measure.NUMBER)
    assert [both.holds(n) for n in (511, 512, 2047, 2048)] == [False, True, True, False]
    assert parse_comparison(512, Measure.NUMBER).holds(512)
    assert parse_comparison("!= 3", Measure.NUMBER).holds(4)


def test_a_share_or_size_needs_a_sign() -> None:
    """`confidence: 0.9` would mean "exactly 0.9", which nobody means."""
    for value, measure in ((0.9, Measure.SHARE), ("10 MB", Measure.SIZE)):
        with pytest.raises(ValueError, match="sign"):
            parse_comparison(value, measure)


@given(st.one_of(st.text(max_size=20), st.floats(), st.integers(), st.booleans(), st.none()), st.sampled_from(Measure))
def test_only_value_errors(value: object, measure: Measure) -> None:
    """A comparison is read or refused with a ValueError; once read it can be asked anything."""
    try:
        made = parse_comparison(value, measure)
    except ValueError:
        return
    assert made.holds(float("nan")) in (True, False)


@given(st.integers(min_value=0, max_value=10**15))
def test_a_shown_size_reads_back_nearly(count: int) -> None:
    """What we show of a size can be written into a rule and means the same within a percent."""
    assert parse_size(show_size(count)) == pytest.approx(count, rel=0.01, abs=1)


def test_shown_durations() -> None:
    """Durations are shown in the largest unit that fits."""
    assert [show_duration(s) for s in (2, 900, 7200, 1209600)] == ["2 s", "15 min", "2 h", "14 days"]
