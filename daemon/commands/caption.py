"""caption: have a dataset captioned by the running daemon, or pictures and folders anywhere without one."""

from __future__ import annotations

import os

import click

from ..client import Row
from .common import WRONG, config_option, json_option, stop


def is_path(what: str) -> bool:
    """Whether an argument means a file or folder: it exists, or has a slash. Everything else is the name of a dataset."""
    return "/" in what or os.sep in what or os.path.lexists(what)


@click.command()
@click.argument("what", metavar="DATASET|PATH...", nargs=-1, required=True)
@click.option(
    "--with", "captioner", metavar="NAME", help="The captioner. [default: the only one of the configuration, else basic]"
)
@click.option("--set", "caption_set", metavar="SET", help="The caption set of a dataset that gets the texts. [default: main]")
@click.option("--all", "every", is_flag=True, help="Pictures that have a text too; theirs is replaced.")
@click.option("--missing", is_flag=True, help="Only pictures without a text; also when nothing is said.")
@click.option(
    "--below", type=click.FloatRange(0, 1, min_open=True), help="Only pictures of a dataset whose quality is less (0..1)."
)
@click.option("--prompt", metavar="TEXT", help="The question to a language model, with {tags}, {name}, {folder}, {trigger}.")
@click.option("--trigger", metavar="WORDS", help="The trigger phrase: put first, once.")
@click.option("--overwrite-edited", is_flag=True, help="Replace texts of a dataset that were written by hand, too.")
@click.option("--wait/--no-wait", default=True, help="Show how a dataset's captions go on until they are done. [default: wait]")
@click.option("--quality", is_flag=True, help="Measure pictures named by path, and print their scores.")
@json_option
@config_option
def caption(
    what: tuple[str, ...], captioner: str | None, caption_set: str | None, every: bool, missing: bool, below: float | None,
    prompt: str | None, trigger: str | None, overwrite_edited: bool, wait: bool, quality: bool, as_json: bool,
) -> None:  # fmt: skip
    """Write captions: for a dataset, or for pictures and folders anywhere.

    What exists or has a slash is a path. A picture's text is printed; a folder's pictures, also those in the folders below, get .txt
    files beside them, unless they have one. A link to a picture is a picture; linked folders are not entered. This needs no daemon;
    one that runs does the work, so that no model is loaded twice. What fails is told on stderr, the rest is done, the code is then 1.

    A dataset is captioned by the running daemon. Ctrl-C leaves that going; `dropdock captioning` shows, pauses and cancels it. With
    --json one object a picture and one at the end, or one for the run.

    \b
    Example:
      dropdock caption cat.jpg
      dropdock caption ~/pictures/style --with tagger --trigger "ohwx style"
      dropdock caption my-dataset --with tagger --set tags
    """
    if "" in what:
        stop("a dataset or a path is empty", WRONG)
    paths = [w for w in what if is_path(w)]
    if paths and len(paths) != len(what):
        name = next(w for w in what if not is_path(w))
        stop(f"`{name}` is no path here: name either paths or datasets", WRONG)
    if every + missing + (below is not None) > 1:
        stop("of --all, --missing and --below only one can be meant", WRONG)
    if paths:
        if caption_set or below is not None or overwrite_edited or not wait:
            stop("--set, --below, --overwrite-edited and --no-wait are for datasets, not for paths", WRONG)
        from .caption_paths import caption_paths

        caption_paths(paths, captioner, every, prompt or "", trigger or "", quality, as_json)
        return
    if quality:
        stop("--quality is for paths; a dataset's scores are kept, and shown with its pictures", WRONG)
    from .caption_runs import caption_datasets

    only = "below" if below is not None else "all" if every else "missing" if missing else None
    body: Row = {"with": captioner, "set": caption_set, "only": only, "below": below}
    body |= {"prompt": prompt, "trigger": trigger, "overwrite_edited": overwrite_edited}
    caption_datasets(what, {key: value for key, value in body.items() if value is not None}, wait, as_json)
