"""The command line: `dropdock COMMAND`. One module of commands/ a subject; this table says which command is which.

What must hold: nothing heavy is imported before a command needs it, so that `--help` and `status` answer at once; exit codes are 0 for
done, 1 for failed, 2 for a mistake in the call or the configuration, 3 for "no daemon is running"; no secret is ever printed.
"""

from __future__ import annotations

import click

from .. import __version__
from .commands.add import add
from .commands.caption import caption
from .commands.captioners import captioners
from .commands.captioning import captioning
from .commands.captions import captions
from .commands.common import CONTEXT, Group, config_option
from .commands.datasets import datasets
from .commands.demo import demo
from .commands.deploy import deploy, undeploy
from .commands.doctor import doctor
from .commands.explain import explain
from .commands.hash import hash_files
from .commands.history import history
from .commands.init import init
from .commands.jobs import jobs
from .commands.life import check, completion, run, version
from .commands.links import links
from .commands.models import models
from .commands.plan import plan
from .commands.reload import reload
from .commands.rescan import rescan
from .commands.scan import scan
from .commands.schema import schema
from .commands.sets import sets
from .commands.status import status
from .commands.targets import targets
from .commands.trash import quarantine, trash
from .commands.undo import undo
from .commands.why import why

COMMANDS = (
    init,
    run,
    check,
    doctor,
    reload,
    explain,
    plan,
    scan,
    hash_files,
    status,
    history,
    why,
    undo,
    trash,
    quarantine,
    jobs,
    rescan,
    add,
    models,
    captioners,
    caption,
    captioning,
    datasets,
    sets,
    captions,
    targets,
    links,
    deploy,
    undeploy,
    demo,
    schema,
    completion,
    version,
)


@click.group(cls=Group, context_settings=CONTEXT)
@click.version_option(__version__, message="%(prog)s %(version)s")
@config_option
def cli() -> None:
    """Drop a file into a folder: dropdock finds out what it is and does what your rules say.

    `dropdock demo` shows all of it on generated files, in a scratch folder. `dropdock run` does it for real; while it runs, the
    other commands ask it over HTTP. `dropdock COMMAND --help` explains one command, with an example.
    """


for _command in COMMANDS:
    cli.add_command(_command)


def main() -> None:
    """The entry point of the script."""
    cli(prog_name="dropdock", complete_var="_DROPDOCK_COMPLETE")
