"""reload: let the running daemon take over the configuration as it is on disk now."""

from __future__ import annotations

import os

import click

from .common import NO_DAEMON, WRONG, clean, config_option, json_option, load_config, one_line, print_json, stop


@click.command()
@json_option
@config_option
def reload(as_json: bool) -> None:
    """Let the running daemon take over the configuration as it is on disk now, and say what changed.

    The file is read and checked first. With a mistake in it nothing changes, every mistake is printed, and the code is 2. No job is
    dropped: those that run keep the actions they began with. Another data_dir, hub, datasets or server needs a restart. SIGHUP does
    the same.

    \b
    Example:
      dropdock check
      dropdock reload
    """
    from ..client import NoDaemon, Refused, connect

    try:
        answer = connect(load_config(), os.environ).post("/config/reload")
    except NoDaemon as error:
        stop(clean(str(error)), NO_DAEMON)
    except Refused as error:
        for problem in error.problems:
            click.echo(clean(problem), err=True)
        stop(clean(str(error)), WRONG if error.problems else 1)
    changes = answer.get("changes")
    if as_json:
        print_json(answer)
    else:
        click.echo("\n".join(map(one_line, changes)) if isinstance(changes, list) and changes else "nothing differs")
