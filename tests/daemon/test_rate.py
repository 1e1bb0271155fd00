"""Rate: how many a second, over the last while."""

from dropdock.daemon.rate import WINDOW, Rate
from hypothesis import given
from hypothesis import strategies as st


def test_a_steady_pace_is_told():
    """Two each half second are four a second; nothing and one look are no speed."""
    rate = Rate()
    assert rate.per_second(0.0) == 0.0
    rate.count(2, 10.0)
    assert rate.per_second(10.0) == 0.0
    for n in range(1, 21):
        rate.count(2, 10.0 + n / 2)
    assert rate.per_second(20.0) == 4.0


def test_what_is_long_ago_does_not_count():
    """After WINDOW without anything the speed is nothing."""
    rate = Rate()
    rate.count(5, 0.0)
    rate.count(5, 1.0)
    assert rate.per_second(2.0) == 2.5 and rate.per_second(WINDOW + 5) == 0.0


def test_the_last_speed_is_kept():
    """Long after the last picture it is still known how fast it went; one look after a long rest changes nothing."""
    rate = Rate()
    rate.count(5, 0.0)
    rate.count(5, 1.0)
    assert (rate.per_second(WINDOW + 5), rate.last) == (0.0, 5.0)
    rate.count(1, 3 * WINDOW)
    assert rate.last == 5.0


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 20)), max_size=50))
def test_it_is_never_negative_and_forgets(counts):
    """Whatever comes, in the order of time."""
    rate, now = Rate(), 0.0
    for many, later in counts:
        now += later
        rate.count(many, now)
        assert rate.per_second(now) >= 0
    assert rate.per_second(now + 2 * WINDOW) == 0.0
