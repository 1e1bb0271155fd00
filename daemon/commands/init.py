"""init: find the apps, ask, write a first configuration, and show what models are there."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .common import FAILED, WRONG, clean, config_option, one_line, stop

if TYPE_CHECKING:
    from ..app_folders import AppFolder
    from ..initial import Answers


@click.command()
@click.option("--yes", is_flag=True, help="Ask nothing: take the defaults, every app that is found, and track its models.")
@click.option("--no-scan", is_flag=True, help="Do not look through the models at the end.")
@config_option
def init(yes: bool, no_scan: bool) -> None:
    """Look for your apps, ask where things shall lie, and write a first configuration.

    ComfyUI, Forge, A1111, SwarmUI, Fooocus, Wan2GP and AI Toolkit are looked for in your home, beside this folder, in /workspace, /opt and
    the like, and told by their own files. The configuration goes to --config, else to your configuration folder; one that is there is
    never written over. At the end the models of your apps are scanned. Nothing is moved, and no app is changed.

    \b
    Example:
      dropdock init
      dropdock init --yes --config ~/dropdock.yaml
    """
    from ..config import ConfigError, default_path, read
    from ..initial import config_text, write

    path = (click.get_current_context().meta.get("dropdock.config") or default_path(os.environ)).absolute()
    if path.exists() or path.is_symlink():
        stop(clean(f"{path} is there already: change it by hand, or name another file with --config"))
    home = Path.home()
    answers = _answers(home, yes)
    text = config_text(answers, home)
    try:
        read(text, path, os.environ)  # what the loader would refuse is told before anything is written
        write(path, text)
    except ConfigError as error:
        stop(clean("\ndropdock: ".join(str(p) for p in error.problems)), WRONG)
    except OSError as error:
        stop(clean(f"{path} cannot be written: {error.strerror}"), FAILED)
    program = "dropdock" if path == default_path(os.environ).absolute() else f"dropdock --config {shlex.quote(str(path))}"
    click.echo(clean(f"\nwritten: {path}\nnext: {program} doctor, then {program} run\n"))
    if answers.libraries and not no_scan:
        from .scan import show_scan

        click.echo("what is there:\n")
        show_scan(answers.libraries)


def _answers(home: Path, yes: bool) -> Answers:
    """What the person wants; with `yes` what most want."""
    from ..app_folders import find_apps, usual_places
    from ..initial import Answers, default_base, defaults, outermost

    apps = find_apps(usual_places(home, Path.cwd()))
    for app in apps:
        click.echo(one_line(f"found {app.name} in {app.path}"))
    if not apps:
        click.echo("found no app")
    if yes:
        return defaults(home, apps)
    wanted = [*_confirmed(apps), *_named()]
    base = default_base(home, wanted)
    folders = [_folder(f"Folder for {what}", base / name) for name, what in FOLDERS]
    places = outermost([app.models for app in wanted if app.models is not None])
    libraries = tuple(p for p in places if click.confirm(one_line(f"Track the models in {p}? They stay where they are"), True))
    return Answers(folders[0], folders[1], folders[2], tuple(wanted), libraries)


FOLDERS = (("inbox", "what you drop"), ("hub", "all models, once each"), ("datasets", "datasets"))


def _confirmed(apps: tuple[AppFolder, ...]) -> list[AppFolder]:
    return [app for app in apps if click.confirm(one_line(f"Shall {app.name} in {app.path} get links to models?"), True)]


def _named() -> list[AppFolder]:
    """Further apps that the person names."""
    from ..app_folders import NAMES, AppFolder, recognise

    named: list[AppFolder] = []
    while text := click.prompt("Folder of another app (empty for none)", default="", show_default=False):
        path = Path(text).expanduser().absolute()
        if not path.is_dir():
            click.echo(one_line(f"{path} is no folder"))
            continue
        layout = recognise(path) or click.prompt("Which app is it like?", type=click.Choice(tuple(NAMES)))
        named.append(AppFolder(layout, path))
    return named


def _folder(question: str, default: Path) -> Path:
    text = click.prompt(question, default=str(default))
    return Path(os.path.normpath(Path(text).expanduser().absolute()))
