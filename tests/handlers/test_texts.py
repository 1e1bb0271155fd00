"""Caption files: UTF-8 stays byte for byte, everything else is read as what it is and never fails."""

import codecs

import pytest
from dropdock.handlers import texts
from hypothesis import given
from hypothesis import strategies as st


@given(st.text())
def test_plain_utf8_is_left_as_it_is(text):
    """Whatever is UTF-8 without a mark is told to be plain, and reads back equal."""
    if not text.startswith("\ufeff"):
        assert texts.decode(text.encode()) == (text, True)


@given(st.binary())
def test_any_bytes_are_some_text(data):
    """Reading never fails; what is not plain can be written as UTF-8."""
    text, plain = texts.decode(data)
    assert plain is False or text.encode() == data
    text.encode()


@pytest.mark.parametrize("mark, encoding", [
    (codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"), (b"", "cp1252"),
])  # fmt: skip
def test_other_encodings_are_told_by_their_mark_or_taken_for_windows(mark, encoding):
    """The words are right, the mark is gone, and the bytes are known not to be plain."""
    assert texts.decode(mark + "fenêtre – rouge".encode(encoding)) == ("fenêtre – rouge", False)


def test_a_new_text_never_overwrites(tmp_path):
    """A file that stands there stays."""
    path = tmp_path / "sub/a.txt"
    texts.write_new(path, b"one")
    with pytest.raises(FileExistsError):
        texts.write_new(path, b"two")
    assert path.read_bytes() == b"one"
