"""demo: the main job on generated files, in a scratch folder."""

from __future__ import annotations

import signal
import sys

import click


@click.command()
@click.option("--keep", is_flag=True, help="Leave the daemon running and the folder in place, to look around.")
def demo(keep: bool) -> None:
    """Show the main job on generated files, in a scratch folder.

    A real daemon is started, a ZIP of pictures, models, a text file and a hostile pickle are dropped into its inbox, and what became of
    each is shown and checked: the dataset with its captions, the links in three apps' folders, the quarantine. The code is 0 only if
    everything is as it should be. Nothing outside the scratch folder is touched.

    \b
    Example:
      dropdock demo --keep
    """
    from ..demo import play

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that what was started is ended and cleared too
    raise click.exceptions.Exit(play(keep))
