"""The settings of engines with language models: what is taken, what is refused in which words, and that keys stay hidden."""

from __future__ import annotations

from pathlib import Path

import pytest
from dropdock.daemon.config import Config, ConfigError, read
from dropdock.daemon.reload import effective

ENV = {"HOME": "/home/me", "KEY": "sk-very-secret"}


def config(text: str) -> Config:
    return read(f"captioners:\n  eye: {{{text}}}\n", Path("/etc/dropdock/config.yaml"), ENV)


def test_paths_are_files_and_names_are_names() -> None:
    """A relative file is below the configuration's folder, ~ is the home, a bare name stays one; the hub is told with it."""
    made = {
        word: config(f"engine: llama, model: '{word}'").captioners["eye"].options
        for word in ("models/a.gguf", "~/a.gguf", "a.gguf", "qwen3-vl-8b")
    }
    assert [options["model"] for options in made.values()] == [
        "/etc/dropdock/models/a.gguf", "/home/me/a.gguf", "/etc/dropdock/a.gguf", "qwen3-vl-8b",
    ]  # fmt: skip
    assert all(options["hub"] == "/home/me/dropdock/hub" and options["gpu_layers"] == -1 for options in made.values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("engine: openai", "expected `url`"),
        ("engine: openai, url: ftp://a", "expected an address like http://127.0.0.1:8000/v1 (a key goes into `api_key`)"),
        ("engine: openai, url: 'http://me:pw@a'", "a key goes into `api_key`"),
        ("engine: openai, url: ''", "expected an address"),
        ("engine: openai, url: 'http://a', concurrency: 0", "expected more than 0"),
        ("engine: openai, url: 'http://a', temperature: 9", "expected at most 2"),
        ("engine: ollama", "expected `model`"),
        ("engine: ollama, model: x, keep_alive: soon", "soon"),
        ("engine: ollama, model: x, modle: y", "model"),
        ("engine: http, url: 'http://a', api: bites", "bytes"),
        ("engine: llama, model: x, gpu_layers: -2", "-1 for all layers"),
        ("engine: llama, model: x, structured: perhaps", "true or false"),
    ],
)
def test_what_cannot_stand_is_told_with_its_mend(text: str, said: str) -> None:
    """Each mistake names the line, the key and what was expected."""
    with pytest.raises(ConfigError) as told:
        config(text)
    assert said in str(told.value) and "captioners.eye" in str(told.value) and "config.yaml:2" in str(told.value)


@pytest.mark.parametrize("engine", ["openai, url: 'http://a'", "ollama, model: x", "http, url: 'http://a'"])
def test_a_key_is_used_and_never_shown(engine: str) -> None:
    """The engine gets it; what is shown of the configuration does not, nor does a complaint about it."""
    found = config(f"engine: {engine}, api_key: '${{KEY}}'")
    assert found.captioners["eye"].options["api_key"] == "sk-very-secret"
    assert "sk-very-secret" not in str(effective(found)) and "***" in str(effective(found))
    with pytest.raises(ConfigError) as told:
        config(f"engine: {engine}, api_key: [sk-very-secret]")
    assert "sk-very-secret" not in str(told.value)
