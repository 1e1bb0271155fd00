"""What goes wrong inside goes to the log, the key never does."""

import io
import logging

import pytest
import structlog
from dropdock.api import models
from dropdock.daemon import logs

KEY = "Zebra-4711-secret"


@pytest.fixture
def log():
    """A function that has the daemon's own log written, in a form; logging is the process's, so it is put back."""
    before, handlers, level = structlog.get_config(), logging.root.handlers[:], logging.root.level

    def write(form: str, secrets: tuple[str, ...]) -> io.StringIO:
        out = io.StringIO()
        logs.set_up(form, "debug", secrets, out)
        return out

    yield write
    structlog.configure(**before)
    logging.root.handlers[:], logging.root.level = handlers, level


def listing(c, **asked):
    """A question of the store that fails; only here, in a local of the frame, stands what it was asked with."""
    given = f"asked with {KEY}"
    if given:
        raise LookupError("the listing failed")


@pytest.mark.parametrize("form", ["console", "json"])
@pytest.mark.parametrize("how", ["X-API-Key", "Authorization"])
async def test_a_route_that_fails_never_tells_the_key(face, aiohttp_client, monkeypatch, log, form, how):
    """The log has the error and its place, but neither the headers nor a local variable; the answer has nothing of it."""
    monkeypatch.setattr(models.models, "listing", listing)
    client = await aiohttp_client(face.app(api_key=KEY))
    out = log(form, ())  # without a list of secrets to strike out: nothing that holds one may be written to begin with
    headers = {how: KEY if how == "X-API-Key" else f"Bearer {KEY}"}
    answer = await client.get("/api/v1/models", headers=headers)
    said = await answer.text()
    assert answer.status == 500 and "listing failed" not in said and KEY not in said
    assert "LookupError: the listing failed" in out.getvalue() and "/api/v1/models" in out.getvalue()
    assert KEY not in out.getvalue()


@pytest.mark.parametrize("form", ["console", "json"])
async def test_an_error_that_holds_the_key_itself_is_struck_out(face, aiohttp_client, monkeypatch, log, form):
    """With the key told to the log, as the daemon does, not even an exception's own words have it."""

    def failing(c, **asked):
        raise LookupError(f"cannot ask with {KEY}")

    monkeypatch.setattr(models.models, "listing", failing)
    client = await aiohttp_client(face.app(api_key=KEY))
    out = log(form, (KEY,))
    assert (await client.get("/api/v1/models", headers={"X-API-Key": KEY})).status == 500
    assert "cannot ask with ***" in out.getvalue() and KEY not in out.getvalue()
