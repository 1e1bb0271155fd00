"""The civitai section: off by default, its token safe everywhere, and mistakes named with their place."""

from __future__ import annotations

from pathlib import Path

import pytest
from dropdock.daemon.config import CivitaiConfig, Config, ConfigError, Secret, read
from dropdock.daemon.reload import differences, effective

TOKEN = "Zebra-4711-token"


def config(text: str, **env: str) -> Config:
    return read(text, Path("/home/me/config.yaml"), {"HOME": "/home/me", **env})


def wrong(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as error:
        config(text)
    return tuple(map(str, error.value.problems))


def test_nobody_is_asked_unless_told_so() -> None:
    """Without the section, or with an empty token from the environment, it is off and has no token."""
    assert config("").civitai == CivitaiConfig() and not config("").civitai.enabled
    assert config('civitai: {token: "${CIVITAI_TOKEN:-}", url: "${CIVITAI_URL:-}"}').civitai == CivitaiConfig()


def test_all_of_it_is_read() -> None:
    """Times in seconds, the token as a secret without the line end that a file gave it."""
    text = 'civitai: {enabled: true, url: "http://127.0.0.1:9/", token: "${T}", batch: 7, timeout: 1 s,'
    text += " remember: 1 day, remember_unknown: 1 h}"
    assert config(text, T=f"{TOKEN} ").civitai == CivitaiConfig(
        True, "http://127.0.0.1:9", Secret(TOKEN), 7, 1.0, 86_400.0, 3600.0
    )


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("civitai: {enabled: maybe}", "true or false"),
        ("civitai: {url: civitai.com}", "expected an address"),
        ("civitai: {batch: 0}", "at least"),
        ("civitai: {batch: 10001}", "at most"),
        ("civitai: {timeout: 0}", "more than"),
        ("civitai: {remember: 5 s}", "at least"),
        ("civitai: {tokens: x}", "token"),
        (f'civitai: {{token: "{TOKEN} or so"}}', "one word"),
        (f'civitai: {{token: "{TOKEN}\\nX-Header: 1"}}', "one word"),
        (f"civitai: {{url: 'http://civitai.com', token: {TOKEN}}}", "in the clear"),
    ],
)
def test_a_mistake_is_named_without_the_token(text: str, word: str) -> None:
    """Each is one problem with file, line and key; a token is in none of them."""
    (problem,) = wrong(text)
    assert word in problem and "config.yaml:1:" in problem and "civitai" in problem and TOKEN not in problem


def test_the_token_is_never_shown() -> None:
    """Not in the settings in force, in what a reload says, nor in the value's own text."""
    old, new = config(f"civitai: {{token: {TOKEN}}}"), config(f"civitai: {{token: {TOKEN}2}}")
    assert TOKEN not in f"{effective(old)} {old} {differences(old, new)}"
    assert differences(old, new) == ("civitai.token: changed",)
    assert differences(config(""), config("civitai: {enabled: true}")) == ("civitai.enabled: False -> True",)
