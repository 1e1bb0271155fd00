"""run, check, version, completion: the commands that are about the daemon and the configuration themselves."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from ... import __version__
from .common import config_option, json_option, load_config, one_line, print_json, print_table, stop

if TYPE_CHECKING:
    from ..config import Config


@click.command()
@config_option
def run() -> None:
    """Run the daemon in the foreground.

    It watches the folders of the configuration, takes in what is dropped, and answers on the status page and over HTTP, until it gets
    SIGTERM or Ctrl-C. There is one daemon for a data folder: a second one says where the first is, and ends with code 1.

    \b
    Example:
      dropdock run --config ~/dropdock.yaml
    """
    with _sigterm_is_a_good_end():
        from ..interpreter import load_lean

        load_lean()
        config = load_config()
        import asyncio

        from ..app import serve
        from ..instance import AlreadyRunning

        try:
            code = asyncio.run(serve(config))
        except AlreadyRunning as other:
            stop(str(other))
        raise click.exceptions.Exit(code)


@contextlib.contextmanager
def _sigterm_is_a_good_end() -> Iterator[None]:
    """SIGTERM before the daemon listens for it itself ends with code 0 too: most of a start's time goes into imports."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(0)

    if threading.current_thread() is not threading.main_thread():  # signals reach no other
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@json_option
@config_option
def check(file: Path | None, as_json: bool) -> None:
    """Read the configuration and its rules, and say what they mean.

    FILE is checked instead of the configuration that `run` would take. Every mistake is printed, one a line, as
    `file:line:column: key: what is wrong`, and the code is 2. Nothing is touched, and a running daemon keeps what it has.

    \b
    Example:
      dropdock check ~/dropdock.yaml
    """
    from ...rules.measures import show_duration

    config = load_config(file)
    if as_json:
        print_json(_plainly(config))
        return
    click.echo(one_line(f"{config.source or 'no file, all defaults'}: ok"))
    page = f"http://{config.server.host}:{config.server.port}"
    key = "with a key" if config.server.api_key else "without a key"
    click.echo(one_line(f"data {config.data_dir}, hub {config.hub}, datasets {config.datasets}, server {page} {key}") + "\n")
    watches = ((w.name, w.mode, w.pipeline, show_duration(w.settle), _there(w.path, w.enabled)) for w in config.watches)
    print_table(("watch", "mode", "pipeline", "settle", "folder"), watches, "no watches")
    rules = (
        (pipeline.name, str(i + 1), rule.name, ", ".join(action.verb for action in rule.do))
        for pipeline in config.pipelines.values()
        for i, rule in enumerate(pipeline.rules)
    )
    click.echo()
    print_table(("pipeline", "#", "rule", "does"), rules, "no rules")
    targets = ((t.name, t.layout, _there(t.path, t.enabled)) for t in config.targets)
    click.echo()
    print_table(("target", "layout", "folder"), targets, "no targets")


def _there(path: Path, enabled: bool) -> str:
    note = "" if path.is_dir() else "  (not there yet)"
    return f"{path}{note}" if enabled else f"{path}  (disabled)"


def _plainly(config: Config) -> dict[str, object]:
    """What `check` says, for programs. The key is not in it."""
    return {
        "source": str(config.source) if config.source else None,
        "data_dir": str(config.data_dir),
        "hub": str(config.hub),
        "datasets": str(config.datasets),
        "server": {"host": config.server.host, "port": config.server.port, "key": config.server.api_key is not None},
        "watches": [
            {"name": w.name, "path": str(w.path), "mode": w.mode, "pipeline": w.pipeline, "enabled": w.enabled}
            for w in config.watches
        ],
        "pipelines": {p.name: [r.name for r in p.rules] for p in config.pipelines.values()},
        "targets": [{"name": t.name, "layout": t.layout, "path": str(t.path), "enabled": t.enabled} for t in config.targets],
    }


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@config_option
def completion(shell: str) -> None:
    """Print the completion script of a shell.

    Put it where the shell reads it at start; from then on TAB completes commands, options and files.

    \b
    Example:
      dropdock completion bash >> ~/.bashrc
      dropdock completion zsh >> ~/.zshrc
      dropdock completion fish > ~/.config/fish/completions/dropdock.fish
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None, "click knows these three"
    root = click.get_current_context().find_root().command
    click.echo(kind(root, {}, "dropdock", "_DROPDOCK_COMPLETE").source())


@click.command()
@json_option
@config_option
def version(as_json: bool) -> None:
    """Say which version this is.

    The version of a running daemon is in `dropdock status`.

    \b
    Example:
      dropdock version
    """
    if as_json:
        print_json({"version": __version__})
    else:
        click.echo(f"dropdock {__version__}")
