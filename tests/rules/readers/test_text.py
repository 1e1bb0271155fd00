"""Captions are small clean UTF-8 text."""

import pytest
from dropdock.rules.readers.text import MAX_CAPTION, caption_text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b" a cat, sitting\n", "a cat, sitting"),
        (b"\xef\xbb\xbfwith a mark", "with a mark"),
        ("ein Kätzchen 猫".encode(), "ein Kätzchen 猫"),
        (b"", ""),
        (b"latin \xfc", None),
        (b"zero \0 byte", None),
        (b"x" * (MAX_CAPTION + 1), None),
    ],
)
def test_captions(raw: bytes, text: str | None) -> None:
    """Valid text comes back stripped; binary, other encodings and long files are no captions."""
    assert caption_text(raw) == text
