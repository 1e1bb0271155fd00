"""The daemon's own words: in the right form, to the right place, and never a secret among them."""

import io
import json
import logging
import os

import pytest
import structlog
from dropdock.daemon import logs
from hypothesis import given
from hypothesis import strategies as st

KEY = "Zebra-4711-secret"


@pytest.fixture(autouse=True)
def restored():
    """Logging is the process's: put it back."""
    before = structlog.get_config()
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.configure(**before)
    logging.root.handlers[:], logging.root.level = handlers, level


def said(form: str, level: str = "info") -> tuple[io.StringIO, structlog.BoundLogger]:
    out = io.StringIO()
    logs.set_up(form, level, (KEY,), out)
    return out, structlog.get_logger()


def test_json_is_one_object_a_line():
    """Level, time and fields; a traceback is text; what JSON does not know is shown as text."""
    out, log = said("json")
    log.info("took in", path=os, n=3)
    try:
        raise ValueError("oh")
    except ValueError:
        log.exception("bad")
    first, second = map(json.loads, out.getvalue().splitlines())
    assert (first["event"], first["level"], first["n"]) == ("took in", "info", 3) and first["timestamp"]
    assert "ValueError: oh" in second["exception"] and second["level"] == "error"


def test_less_than_the_level_is_not_said():
    """`warning` keeps the log quiet; the level can be changed at any time, for loggers that are there already too."""
    out, log = said("json", "warning")
    log.info("quiet")
    log.warning("loud")
    logs.set_up("json", "debug", (), out)
    log.debug("louder")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["loud", "louder"]


def test_the_console_takes_no_orders_from_names():
    """A name with escapes, a line end or a mark that turns the direction is shown with escapes; a traceback keeps its lines."""
    out, log = said("console")
    log.info("took in \x1b[2J", path="a\x9b2J\u202e", other="two\nlines \x07", paths=["b\x1b"])
    try:
        raise ValueError("oh \x1b]0;x\x07")
    except ValueError:
        log.exception("bad")
    text = out.getvalue()
    assert all(c == "\n" or c.isprintable() for c in text)
    assert "two\nlines" not in text and "\n  File " in text and "ValueError: oh" in text


@pytest.mark.parametrize("form", ["console", "json"])
def test_no_secret_is_written(form):
    """Not under a key that names one, not inside a text, a list, an exception's words, or what a library logs."""
    out, log = said(form)
    log.info(
        "asked",
        api_key="abc-1",
        headers={"Authorization": "Bearer abc-2", "X-Api-Key": "abc-3", "n": 1},
        url=f"http://x/?k={KEY}",
    )
    log.warning(f"with {KEY} in it", parts=[KEY, (KEY,)], token="abc-4", hf_token="abc-5", password="abc-6")
    try:
        raise RuntimeError(f"refused {KEY}")
    except RuntimeError:
        log.exception("failed")
    logging.getLogger("some.library").error("it said %s", KEY)
    text = out.getvalue()
    assert KEY not in text and "abc-" not in text and logs.HIDDEN in text
    assert "refused" in text and "some.library" in text


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
    )
)
def test_hiding_never_fails(value):
    """Any value can be logged, and the secret is in none of it."""
    hide = logs._hiding((KEY,))
    assert KEY not in str(hide(None, "info", {"event": "x", "value": [value, KEY], "more": value}))


def test_under_journald_each_line_has_its_priority(tmp_path, monkeypatch):
    """$JOURNAL_STREAM that is our stderr: `<N>` before every line, those of a traceback too; another one: the console's form."""
    with (tmp_path / "journal").open("w+") as out:
        found = os.fstat(out.fileno())
        monkeypatch.setattr(logs, "_journal", lambda: None)
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        logs.set_up("auto", "info", (), out)
        structlog.get_logger().warning("slow disk", watch="in box")
        try:
            raise OSError("gone")
        except OSError:
            structlog.get_logger().exception("failed")
        monkeypatch.setenv("JOURNAL_STREAM", "1:1")
        logs.set_up("auto", "info", (), out)
        structlog.get_logger().info("plain")
        out.seek(0)
        lines = out.read().splitlines()
    assert lines[0] == "<4>slow disk watch='in box'"
    assert all(line.startswith("<3>") for line in lines[1:-1]) and lines[-2] == "<3>OSError: gone"
    assert "plain" in lines[-1] and not lines[-1].startswith("<")


def test_with_the_extra_the_journal_gets_fields(tmp_path, monkeypatch):
    """Each field stands under a name that journald takes, nothing is written to stderr, and a journal that is away is no error."""
    sent = []
    monkeypatch.setattr(logs, "_journal", lambda: lambda message, **fields: sent.append((message, fields)))
    with (tmp_path / "journal").open("w+") as out:
        found = os.fstat(out.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        logs.set_up("auto", "info", (), out)
        structlog.get_logger().error("failed", watch="inbox", api_key="abc")
        out.seek(0)
        assert out.read() == ""
    ((message, fields),) = sent
    assert message == "failed watch=inbox api_key='***'"
    assert fields == {"SYSLOG_IDENTIFIER": "dropdock", "PRIORITY": "3", "DROPDOCK_WATCH": "inbox", "DROPDOCK_API_KEY": "***"}


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=4))
def test_every_field_has_a_name_journald_takes(event):
    """Upper-case letters, digits and underscores, not at the front: journald drops others."""
    assert all(
        name[0].isalpha() and set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") for name in logs.journal_fields(event)
    )


def test_a_reader_that_went_away_ends_nothing():
    """A closed stream, or a pipe that nobody reads, does not disturb who logs."""
    out, log = said("json")
    out.close()
    log.error("nobody hears")
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        logs.set_up("json", "info", (), pipe)
        log.error("nobody hears")
        with pytest.raises(BrokenPipeError):
            pipe.write("x" * 100_000)
        os.dup2(os.open(os.devnull, os.O_WRONLY), pipe.fileno())
