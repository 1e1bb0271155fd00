"""The arguments of a program, before any file is dropped: where a placeholder may not stand, since a file's name would become a command.

What must hold: no dropped file says what is run. A program that is itself a shell or an interpreter gets its code from the configuration
alone; what it works on comes as arguments of their own, which it does not read as code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_INTERPRETER = re.compile(
    r"(?:|ba|da|z|k|mk|c|tc|fi|a)sh|(?:python|pypy|perl|ruby|php|lua)[\d.]*w?|node|nodejs|osascript|pwsh|powershell|cmd",
    re.IGNORECASE,
)
_CODE = re.compile(r"-[a-z]*[cer]|--?(?:eval|command|print)|/[ck]", re.IGNORECASE)  # what comes next is code: -c, -lc, -e, /c
_PLACEHOLDER = re.compile(r"\{[^{}]+\}")


def dangers(argv: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """(which argument, what is wrong with it, how to write it instead)."""
    for at, part in enumerate(argv):
        found = _PLACEHOLDER.search(part.replace("{{", "").replace("}}", ""))
        if found is None:
            continue
        if at == 0:
            yield at, "the program's own name must not come from the file", ""
        elif _CODE.fullmatch(argv[at - 1]) and _is_told_code(argv[: at - 1]):
            yield (
                at,
                f"a file's name would be run as code: give {found[0]} as an argument of its own",
                _instead(argv[at - 1], found[0]),
            )


def _is_told_code(before: Sequence[str]) -> bool:
    """Whether an option behind these arguments is one of an interpreter, and not of a script that it runs."""
    while before and before[-1].startswith(("-", "/")) and not _interprets(before[-1]):
        before = before[:-1]
    return bool(before) and _interprets(before[-1])


def _interprets(program: str) -> bool:
    return _INTERPRETER.fullmatch(re.split(r"[\\/]", program)[-1].removesuffix(".exe")) is not None


def _instead(flag: str, placeholder: str) -> str:
    return f"""[sh, {flag}, 'echo "$1"', sh, "{placeholder}"]"""
