"""Stand-ins: files that lie where a model or its tags should, and are something else: a git-LFS pointer, a web page, nothing at all.

What must hold: only the first bytes are read; a file that may be what its name says is never called a stand-in; what is told says what
it is and how the real one is had, since the libraries only say that they cannot parse it.
Source: github.com/git-lfs/git-lfs docs/spec.md (a pointer is a text below 1024 bytes that begins with its version and has its size).
"""

from __future__ import annotations

import re
from pathlib import Path

from ...rules.measures import show_size

HEAD = 1024  # bytes; no pointer is longer
LFS = b"version https://git-lfs"  # said once more than in rules/identify.py, which takes a tenth of a second to import
_PAGE = re.compile(rb"(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_REFUSAL = re.compile(rb'<\?xml\b.*?<error\b|\{\s*"(?:error|message|detail)"\s*:\s*"', re.IGNORECASE | re.DOTALL)


def stand_in(path: Path) -> str:
    """What a file is instead of the real one, and the mend: the rest of a sentence behind its name; '' for no stand-in known.

    Raises OSError where it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head:
        return "an empty file: the download did not come about, fetch it again"
    if not head.strip(b"\0"):
        return "a file of zeros: the download reserved its room and never filled it, fetch it again"
    if head.startswith(LFS):
        size = re.search(rb"^size (\d{1,15})$", head, re.MULTILINE)
        real = f" of {show_size(int(size[1]))}" if size else ""
        return f"a git-LFS pointer, a text in place of the real file{real}: fetch that with `git lfs pull` in its folder"
    said = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _PAGE.match(said):
        return "a web page: the download led to a login or an error, fetch the file itself"
    if _REFUSAL.match(said):
        return "a server's refusal instead of the file: fetch it again"
    return ""
