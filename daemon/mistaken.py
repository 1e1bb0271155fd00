"""A configuration with mistakes: enough of it to find the daemon that runs on what it read before, so that it can still be asked.

What must hold: nothing but the address is taken from such a file, and only for a daemon that surely runs (its data folder is locked).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from .config import Config, ConfigError, default_path, read
from .instance import find

_BLOCK = r"^{key}[ \t]*:.*(?:\n(?:[ \t]+.*|[ \t]*#.*|[ \t]*)$)*"  # a top-level key with all that is indented below it


def still_running(path: Path | None, environ: Mapping[str, str]) -> Config | None:
    """The data folder and the server of a file that cannot be read whole, when a daemon runs on that data folder; else None."""
    source = (path or default_path(environ)).absolute()
    try:
        text = source.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    data_dir, server = (_block(text, key) for key in ("data_dir", "server"))
    for part in (f"{data_dir}\n{server}\n", f"{data_dir}\n"):
        try:
            config = read(part, source, environ)
        except ConfigError:
            continue
        return config if find(config.data_dir) is not None else None
    return None


def _block(text: str, key: str) -> str:
    found = re.search(_BLOCK.format(key=key), text, re.MULTILINE)
    return found[0] if found else ""
