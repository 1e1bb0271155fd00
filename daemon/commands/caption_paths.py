"""caption PATH...: texts for pictures that lie anywhere, printed or written beside them.

What must hold: nothing is loaded when there is nothing to do; each bad picture is told and hinders no other; a daemon that holds the
data folder does the captioning (no second model on one card), and this process the writing, with the rights of whoever called it.
"""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ...handlers.captioners.protocol import Answer, Picture
from ...handlers.sidecars import Survey, Wanted, Writer, survey
from ...rules.captions import Quality, Style
from ..config import CaptionerConfig, Config
from .common import FAILED, clean, load_config, number, one_line, print_json, stop

if TYPE_CHECKING:
    from rich.progress import Progress

Ask = Callable[[CaptionerConfig, Sequence[Picture], "Report"], None]


def caption_paths(
    paths: Sequence[str], captioner: str | None, every: bool, prompt: str, trigger: str, quality: bool, as_json: bool
) -> None:
    """Caption pictures and folders. Ends the command with code 1 when something failed."""
    config = load_config()
    chosen = _chosen(config, captioner)
    report = Report(as_json, quality)
    named = [Path(p) for p in paths if not Path(p).is_dir()]
    files = [path for path in named if not no_file(path)]
    found = survey([Path(p) for p in paths if Path(p).is_dir()], every)
    report.begin(files, found, [(path, no_file(path)) for path in named if path not in files])
    style = Style(prompt=prompt, trigger=trigger)
    wanted = [Picture(n, _absolute(path), style, quality=quality) for n, path in enumerate(files)]
    wanted += [
        Picture(n, _absolute(w.path), style, existing=w.existing() if every else "", quality=quality)
        for n, w in enumerate(found.wanted, len(files))
    ]
    stopped = ""
    with _bar(len(wanted)) as bar:
        report.bar = bar
        writer = Writer(report.written)
        report.writer = writer
        try:
            if wanted:
                _captioned(config, chosen, wanted, report)
        except KeyboardInterrupt:
            stopped = "stopped: what is written stays, the same call goes on with the rest"
        except _Stopped as error:
            stopped = str(error)
        finally:
            writer.close()
    report.end()
    if stopped:
        stop(one_line(stopped))
    if report.failed:
        raise click.exceptions.Exit(FAILED)


def no_file(path: Path) -> str:
    """Why a path cannot be a picture whatever it holds; '' when it can. Reading a pipe would wait for ever."""
    try:
        return "" if stat.S_ISREG(path.stat().st_mode) else "this is no file"
    except OSError as error:
        return f"the picture cannot be read: {error.strerror or error}"


def _absolute(path: Path) -> Path:
    return path if path.is_absolute() else Path.cwd() / path


def _chosen(config: Config, name: str | None) -> CaptionerConfig:
    """The captioner of a name; without one the only one that the configuration has, else basic."""
    known = config.captioners
    if name is None:
        own = [c for c in known if c != "basic"]
        return known[own[0] if len(own) == 1 else "basic"]
    if name not in known:
        stop(one_line(f"there is no captioner {name!r} in the configuration, only {', '.join(sorted(known))}"), 2)
    return known[name]


class _Stopped(Exception):
    """The captioner cannot go on; the message says why."""


def _captioned(config: Config, chosen: CaptionerConfig, wanted: Sequence[Picture], report: Report) -> None:
    """Have the pictures captioned: by the daemon that has the data folder, else by processes of our own."""
    from ..instance import find

    if find(config.data_dir) is not None:
        _by_daemon(config, chosen, wanted, report)
    else:
        _alone(config, chosen, wanted, report)


def _alone(config: Config, chosen: CaptionerConfig, wanted: Sequence[Picture], report: Report) -> None:
    from .. import logs
    from ..captioning_paths import Unable, caption_all
    from ..cards import cards
    from ..courtesy import devices

    keys = [str(chosen.options[name]) for name in ("api_key", "token") if chosen.options.get(name)]
    logs.set_up("console", "error", keys)
    try:
        asyncio.run(caption_all(chosen, wanted, report.heard, report.news, devices(chosen.options, cards())))
    except Unable as error:
        raise _Stopped(str(error)) from error


def _by_daemon(config: Config, chosen: CaptionerConfig, wanted: Sequence[Picture], report: Report) -> None:
    from ..client import NoDaemon, Refused, connect
    from ..handed import Asked, answer_of, leave, withdraw

    token, ended, pictures = "", False, {p.id: p for p in wanted}
    try:
        token = leave(config.data_dir, Asked(chosen.name, tuple(wanted)))
        for row in connect(config, os.environ).lines("/caption", {"list": token}):
            if "stopped" in row:
                raise _Stopped(str(row["stopped"]))
            ended = ended or "end" in row
            if "note" in row:
                report.news(str(row["note"]))
            elif row.get("id") in pictures:
                report.heard(pictures[int(number(row["id"]))], answer_of(row))
    except OSError as error:
        raise _Stopped(f"the daemon cannot be asked: {error}") from error
    except (NoDaemon, Refused) as error:
        raise _Stopped(str(error)) from error
    finally:
        if token:
            withdraw(config.data_dir, token)
    if not ended:
        raise _Stopped("the daemon has stopped: the same call goes on with the rest")


# ---------------------------------------------------------------- what is told


@dataclass(slots=True)
class Report:
    """What became of each picture, told as it comes. `heard` and `written` may be called from two threads."""

    as_json: bool
    quality: bool
    files: list[Path] = field(default_factory=list)
    named: int = 0  # pictures named one by one, also those that are none
    found: Survey = field(default_factory=Survey)
    writer: Writer | None = None
    bar: Progress | None = None
    done: int = 0
    failed: int = 0
    first: float = 0.0  # monotonic: the first and the last end of a picture
    last: float = 0.0
    ends: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    waits: str = ""  # what is waited for, as far as that was said
    answers: dict[Path, Answer] = field(default_factory=dict)  # of texts that are being written

    def begin(self, files: list[Path], found: Survey, none: Sequence[tuple[Path, str]] = ()) -> None:
        """Say what is no matter of any captioner: what is no file, folders that cannot be read, pictures that would share one text."""
        self.files, self.found, self.named = files, found, len(files) + len(none)
        for path, why in [*none, *found.unreadable]:
            self.failed += 1
            self._object(path, error=why)
            self._line(f"{path}: {why}", err=True)
        for path, other in found.shared:
            self._object(path, error=f"shares its text with {other.name}")
            self._line(f"{path}: left out, its text would be that of {other.name}, which has the same stem", err=True)

    def news(self, text: str) -> None:
        """What goes on before the first picture is done. Without a bar only what is waited for is said, once, and another device."""
        if text.startswith("runs on "):
            self._line(f"dropdock: the captioner {text}", err=True)
        elif self.bar is not None:
            self.bar.update(self.bar.task_ids[0], description=one_line(text))
        elif text.startswith("waits ") and text.partition(": ")[2] not in ("", self.waits):
            self.waits = text.partition(": ")[2]
            click.echo(one_line(f"dropdock: {text}"), err=True)

    def heard(self, picture: Picture, answer: Answer) -> None:
        """A picture's answer."""
        error = answer.error or ("" if answer.text.strip() else "the captioner said nothing")
        wanted = None if picture.id < len(self.files) else self.found.wanted[picture.id - len(self.files)]
        path = self.files[picture.id] if wanted is None else wanted.path
        if error:
            self._bad(path, error)
        elif wanted is None:
            self._say(path, answer)
        else:
            self.answers[wanted.path] = answer
            assert self.writer is not None
            self.writer.put(wanted, answer.text)

    def written(self, wanted: Wanted, text: str, why: str) -> None:
        """A text is written, or cannot be."""
        answer = self.answers.pop(wanted.path)
        if why:
            self._bad(wanted.path, why)
            return
        self._object(wanted.path, answer, wanted.text)
        if self.quality and answer.quality is not None:
            self._line(f"{one_line(wanted.path)}: {scores(answer.quality)}")
        self._ended(good=True)

    def end(self) -> None:
        """The summary, where a folder was captioned."""
        skipped, speed = self.found.captioned + len(self.found.shared), self.per_second
        if self.as_json:
            print_json({"done": self.done, "skipped": skipped, "failed": self.failed, "per_second": round(speed, 3)})
        elif self.found != Survey() or not self.named:
            rate = f", {speed:.1f} img/s" if speed else ""
            click.echo(f"{self.done} done, {skipped} skipped, {self.failed} failed{rate}", err=True)

    @property
    def per_second(self) -> float:
        """Pictures a second from the first to the last; 0 for fewer than two."""
        return (self.ends - 1) / (self.last - self.first) if self.ends > 1 and self.last > self.first else 0.0

    # ------------------------------------------------------------ one line each

    def _say(self, path: Path, answer: Answer) -> None:
        self._object(path, answer)
        self._line(f"{one_line(path)}: {answer.text}" if self.named > 1 else answer.text)
        if self.quality and answer.quality is not None:
            self._line(f"{one_line(path)}: {scores(answer.quality)}" if self.named > 1 else scores(answer.quality))
        self._ended(good=True)

    def _bad(self, path: Path, why: str) -> None:
        self._object(path, error=why)
        self._line(f"{path}: {why}", err=True)
        self._ended(good=False)

    def _ended(self, good: bool) -> None:
        with self.lock:
            self.last = time.monotonic()
            self.first = self.first or self.last
            self.ends += 1
            self.done += good
            self.failed += not good
        if self.bar is not None:
            speed = f"captioning, {self.per_second:.1f} img/s" if self.ends > 1 else "captioning"
            self.bar.update(self.bar.task_ids[0], advance=1, description=speed)

    def _object(self, path: Path, answer: Answer | None = None, text: Path | None = None, error: str = "") -> None:
        if self.as_json:
            said = answer or Answer(error=error)
            row = {
                "path": str(path),
                "text": said.text,
                "written": None if text is None else str(text),
                "error": said.error or None,
            }
            more: dict[str, object] = {"votes": dict(said.votes)} if said.votes else {}
            with self.lock:
                print_json({**row, "flags": list(said.flags), "quality": quality_row(said.quality), **more})

    def _line(self, text: str, err: bool = False) -> None:
        if self.as_json and not err:
            return
        said = one_line(f"dropdock: {text}") if err else clean(text)  # a text may have several lines, a trouble has one
        if self.bar is not None:
            self.bar.console.print(said, markup=False, highlight=False, soft_wrap=True) if err else self._above(said)
        else:
            click.echo(said, err=err)

    def _above(self, said: str) -> None:
        """A line of the answer while the bar stands on the same terminal."""
        assert self.bar is not None
        if sys.stdout.isatty():
            self.bar.console.print(said, markup=False, highlight=False, soft_wrap=True)
        else:
            click.echo(said)


def scores(found: Quality) -> str:
    """How good a picture is, in a line."""
    overall = [] if found.overall is None else [f"overall {found.overall:.2f}"]
    said = (found.opinion or found.measured).items()
    parts = [*overall, *(f"{name} {value:.2f}" for name, value in said if name != "overall" and not name.startswith("raw_"))]
    return ", ".join([*parts, *found.flags])


def quality_row(found: Quality | None) -> Mapping[str, object] | None:
    """The same for programs."""
    if found is None:
        return None
    row = {"overall": found.overall, "measured": dict(found.measured), "opinion": dict(found.opinion)}
    return {**row, "flags": list(found.flags), "dhash": found.dhash}


@contextmanager
def _bar(total: int) -> Iterator[Progress | None]:
    """A progress bar on stderr where that is a terminal."""
    if not total or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True, markup=False, emoji=False), transient=True) as progress:
        progress.add_task("starting the captioner", total=total)
        yield progress
