"""Ignores: which names under a watch are nobody's drop, so that they are neither watched, nor listed, nor taken.

Built in: names of unfinished downloads and copies (the rename at the end is what counts), hidden names (rsync's and the browsers' dot
names, `.git`, our own `.dropdock` folders), caches that trainers write beside pictures, and the litter of desktop systems. A watch adds
its own globs and a depth. What must hold: pure; asked with the path relative to the watch, forward slashes; a skipped folder skips all
below it; the same answer for a file whether the walker pruned its parents before or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

# Browsers, download managers, torrent clients and rsync --suffix users write to these and rename at the end.
_TEMP = re.compile(
    r".+\.(?:part|partial|filepart|crdownload|opdownload|download|incomplete|aria2|tmp|temp|ytdl|!ut|!qb|bc!|sw[opx])|.*~",
    re.IGNORECASE | re.DOTALL,
)
# rsync writes `.name.XXXXXX` beside the target and renames it.
_RSYNC = re.compile(r"\.(.+)\.[A-Za-z0-9]{6}", re.DOTALL)
# AI Toolkit's _latent_cache and friends, kohya's *.npz and metadata_cache.json: written into the folder of pictures by trainers.
_CACHES = re.compile(r"_latent_cache|_t_e_cache|_clip_vision_cache|_controls|metadata_cache\.json|.*\.npz|__pycache__", re.DOTALL)
_JUNK = re.compile(
    r"__MACOSX|thumbs\.db|ehthumbs\.db|desktop\.ini|icon\r|\$RECYCLE\.BIN|System Volume Information|lost\+found|@eaDir|#recycle",
    re.IGNORECASE | re.DOTALL,
)


def is_temp(name: str) -> bool:
    """True for the name of a file that is still being written and will be renamed."""
    return _TEMP.fullmatch(name) is not None or _RSYNC.fullmatch(name) is not None


def final_name(name: str) -> str | None:
    """The name that a temporary name stands for (`x.zip.part` -> `x.zip`, rsync's `.x.zip.Ab12Cd` -> `x.zip`), else None."""
    if rsync := _RSYNC.fullmatch(name):
        return rsync[1]
    if _TEMP.fullmatch(name) is None:
        return None
    return name[:-1] if name.endswith("~") else name[: name.rindex(".")]


@lru_cache(maxsize=4096)
def built_in(name: str) -> str | None:
    """Why one name (a file's or a folder's, no path) is never a drop, in words for a person; None when it may be one."""
    if _RSYNC.fullmatch(name) and not name.startswith((".git", ".dropdock")):
        return "temporary name"
    if name.startswith("."):
        return "hidden name"
    if _TEMP.fullmatch(name):
        return "temporary name"
    if _CACHES.fullmatch(name):
        return "a trainer's cache"
    if _JUNK.fullmatch(name):
        return "litter of the desktop system"
    return None


class Ignores:
    """The ignores of one watch: the built-in names, the watch's own globs, and its depth.

    A glob without a slash is asked of every name on the way (`*.bak`, `old`); with a slash, of the path from the watch root
    (`drafts/**`, `/top.txt`); a trailing slash means folders only. `*` and `?` stop at slashes, `**` does not. `max_depth` counts
    folders below the root: 0 takes only what lies in the root itself.
    """

    def __init__(self, patterns: Iterable[str] = (), max_depth: int | None = None) -> None:
        self._max_depth = max_depth
        self._names: list[tuple[re.Pattern[str], str, bool]] = []
        self._paths: list[tuple[re.Pattern[str], str, bool]] = []
        for pattern in patterns:
            body = pattern.rstrip("/")
            where = self._paths if "/" in body else self._names
            where.append((re.compile(translate(body.lstrip("/")), re.DOTALL), pattern, pattern.endswith("/")))

    def skip(self, rel: str, is_dir: bool) -> bool:
        """True when `rel` (relative to the watch, forward slashes) must not be watched, listed or taken."""
        return self.why(rel, is_dir) is not None

    def why(self, rel: str, is_dir: bool) -> str | None:
        """The reason why `rel` is skipped, in words for a person; None when it is not. The root itself ("" or ".") never is."""
        if rel in ("", "."):
            return None
        parts = rel.split("/")
        if self._max_depth is not None and len(parts) - (not is_dir) > self._max_depth:
            return f"deeper than {self._max_depth} folders"
        last = len(parts) - 1
        for n, part in enumerate(parts):
            reason = built_in(part)
            if reason is None and (self._names or self._paths):
                reason = self._own("/".join(parts[: n + 1]), part, is_dir or n < last)
            if reason is not None:
                return reason
        return None

    def _own(self, rel: str, name: str, is_dir: bool) -> str | None:
        for patterns, text in ((self._names, name), (self._paths, rel)):
            for regex, pattern, folders_only in patterns:
                if (is_dir or not folders_only) and regex.fullmatch(text):
                    return f"ignore: {pattern}"
        return None


def translate(glob: str) -> str:
    """A glob as a regular expression for the whole text. An unclosed `[` is an ordinary character, so every glob compiles."""
    out, at = [], 0
    while at < len(glob):
        char = glob[at]
        close = glob.find("]", at + 2) if char == "[" else -1
        if glob.startswith("**/", at):
            out.append("(?:.*/)?")
            at += 2
        elif glob.startswith("**", at):
            out.append(".*")
            at += 1
        elif close > 0:
            out.append(_bracket(glob[at + 1 : close]))
            at = close
        else:
            out.append({"*": "[^/]*", "?": "[^/]"}.get(char) or re.escape(char))
        at += 1
    return "".join(out)


def _bracket(body: str) -> str:
    """The inside of `[...]`: characters and ascending ranges; `!` or `^` in front negates. Never matches a slash."""
    negate = body[0] in "!^" and len(body) > 1
    body = body[1:] if negate else body
    out, at = [], 0
    while at < len(body):
        if body[at + 1 : at + 2] == "-" and body[at] <= body[at + 2 : at + 3]:
            out.append(f"{re.escape(body[at])}-{re.escape(body[at + 2])}")
            at += 3
        else:
            out.append(re.escape(body[at]))
            at += 1
    return f"(?!/)[{'^' if negate else ''}{''.join(out)}]"
