"""docs/cli.md and the commands say the same: every command has its heading, every option its word, every example parses."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import dropdock
import pytest
from dropdock.daemon.cli import cli

DOC = (Path(dropdock.__file__).parent / "docs" / "cli.md").read_text("utf-8")


def commands(command: click.Command = cli, name: str = "dropdock") -> Iterator[tuple[str, click.Command]]:
    """Every command below the root, by its full name."""
    if isinstance(command, click.Group):
        for word, inner in command.commands.items():
            yield f"{name} {word}", inner
            yield from commands(inner, f"{name} {word}")


ALL = dict(commands())
SECTIONS = {m[1]: m[2] for m in re.finditer(r"^##+ (dropdock .+)\n((?:(?!^##).*\n)*)", DOC, re.MULTILINE)}


def test_the_headings_are_the_commands() -> None:
    """No command without its heading, no heading without its command, in the same order."""
    assert list(SECTIONS) == list(ALL)


@pytest.mark.parametrize("name", ALL)
def test_every_option_is_named(name: str) -> None:
    """The section of a command names each of its options, and gives an example of it."""
    for param in ALL[name].params:
        if isinstance(param, click.Option) and param.name != "config":
            assert param.opts[0] in SECTIONS[name], param.opts
    assert f"```sh\n{name}" in SECTIONS[name]


def examples() -> list[str]:
    """The lines that call us, in the docs and in the help texts."""
    texts = [*re.findall(r"```sh\n(.*?)```", DOC, re.DOTALL), *(command.help or "" for command in ALL.values())]
    return sorted({line.strip() for text in texts for line in text.splitlines() if line.strip().startswith("dropdock ")})


@pytest.mark.parametrize("line", examples())
def test_every_example_is_a_call_that_parses(line: str) -> None:
    """Command, options and arguments of each example exist."""
    words = shlex.split(re.split(r" (?:\||>>?) ", line)[0])[1:]
    command: click.Command = cli
    context: click.Context | None = None
    while isinstance(command, click.Group):
        context = command.make_context("dropdock", words, parent=context)
        words = [*context._protected_args, *context.args]
        if not words:
            return
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
    command.make_context("dropdock", words, parent=context)
