"""Styles are laid over each other: what was asked for last counts, and what nobody asks for stays as it was."""

from dropdock.rules.captions import Style


def test_what_is_asked_for_lies_over_what_was_there():
    """Empty fields ask for nothing; False asks for something."""
    below = Style(kind="tags", trigger="ohwx", escape=True, exclude=("solo",), replace={"a": "b"})
    assert Style().over(below) == below and below.over(Style()) == below
    above = Style(trigger="sks", escape=False, max_length=75)
    assert above.over(below) == Style(
        kind="tags", trigger="sks", escape=False, exclude=("solo",), replace={"a": "b"}, max_length=75
    )
