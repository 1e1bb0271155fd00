"""Targets in the configuration: a map of one's own, an address, and a secret that stays one."""

from __future__ import annotations

from pathlib import Path

import pytest
from dropdock.daemon.config import Config, ConfigError, read
from dropdock.daemon.reload import differences, effective

HOME = Path("/home/me/config.yaml")
GOOD = """
targets:
  a: {layout: custom, path: ~/app, map: {lora: "loras/{base}", vae: vae}, url: "http://localhost:7860/", auth: "me:secret"}
"""


def config(text: str) -> Config:
    return read(text, HOME, {"HOME": "/home/me"})


def test_a_map_an_address_and_a_secret() -> None:
    """They are read, and the secret shows itself nowhere: not in a representation, a difference or the settings in force."""
    found = config(GOOD)
    assert found.targets[0].map == (("lora", "loras/{base}"), ("vae", "vae"))
    app = found.apps["a"]
    assert app.url == "http://localhost:7860" and app.auth is not None and app.auth.reveal() == "me:secret"
    changed = config(GOOD.replace("me:secret", "me:another").replace("7860", "7861"))
    shown = repr(found) + str(effective(found)) + str(differences(found, changed))
    assert "secret" not in shown and "another" not in shown
    assert differences(found, changed) == (
        "targets.a.auth: changed",
        "targets.a.url: http://localhost:7860 -> http://localhost:7861",
    )


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ("{layout: custom, path: ~/a}", "the layout custom wants a `map`"),
        ("{layout: comfyui, path: ~/a, map: [lora]}", "expected folders by type"),
        ("{layout: comfyui, path: ~/a, map: {lroa: x}}", "did you mean lora"),
        ("{layout: comfyui, path: ~/a, map: {lora: ../x}}", "below the app's own"),
        ("{layout: comfyui, path: ~/a, map: {lora: 'x/{type}'}}", "the one placeholder here is {base}"),
        ("{layout: comfyui, path: ~/a, map: {lora: 1}}", "put quotes"),
        ("{layout: comfyui, path: ~/a, url: 'ftp://x'}", "expected an address"),
        ("{layout: comfyui, path: ~/a, url: 'http://me:hidden@x'}", "a password goes into `auth`"),
        ("{layout: comfyui, path: ~/a, url: 'localhost:8188'}", "expected an address"),
        ("{layout: comfyui, path: ~/a, auth: 12345678}", "auth"),
        ("{layout: swarm, path: ~/a}", "did you mean swarmui"),
    ],
)
def test_a_mistake_is_named_without_the_secret(targets: str, said: str) -> None:
    """What was expected stands in the message; a password in the wrong place, or a key that is a number, does not."""
    with pytest.raises(ConfigError) as error:
        config(f"targets: {{a: {targets}}}")
    assert said in str(error.value) and "hidden" not in str(error.value) and "12345678" not in str(error.value)
