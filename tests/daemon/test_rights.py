"""What may not be read, or not be taken, by somebody who is not root: said with whose it is, left where it lies, taken once it may be."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from dropdock.rules.terms import Lane
from house_made import Home, opened
from pictures_made import picture

NOBODY = 65534
RULES = "pipelines: {inbox: [{name: p, when: {kind: image}, do: [dataset]}]}\n"


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder that anybody may enter: pytest's own are closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="dropdock-rights-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def scene(root: Path) -> Home:
    """An inbox with a closed file, a file in a read-only folder and a plain one."""
    home = Home(root, RULES)
    for name, n in (("closed", 1), ("read-only/kept", 2), ("plain", 3)):
        home.drop(f"{name}.png", picture(n))
    return home


async def walk(home: Home) -> dict[str, list[object]]:
    """Name -> state, end, what is said, and whether it lies there still; the closed file once more after it was opened."""
    closed, kept, plain = (home.inbox / f"{n}.png" for n in ("closed", "read-only/kept", "plain"))
    closed.chmod(0)
    kept.parent.chmod(0o555)
    told: dict[str, list[object]] = {}
    async with opened(home) as house:

        async def tell(name: str, path: Path) -> None:
            row = await house.file(path)
            told[name] = [row.state, row.end, f"{row.why} {row.note}", path.exists()]

        for path in (closed, kept, plain):
            await house.arrive(path)
        await house.work(Lane.CPU)
        for name, path in (("closed", closed), ("kept", kept), ("plain", plain)):
            await tell(name, path)
        if closed.exists():  # as root it was taken
            closed.chmod(0o644)
            await house.arrive(closed)
            await house.work(Lane.CPU)
            await tell("opened", closed)
    if kept.parent.exists():
        kept.parent.chmod(0o755)
    return told


def as_nobody(home: Home) -> dict[str, list[object]]:
    """The walk in a child that is nobody where we are root; what it must import is imported by then."""
    if os.getuid():
        return asyncio.run(walk(home))
    for path in (home.root, *home.root.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writer, json.dumps(asyncio.run(walk(home))).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        text = answer.read()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    told: dict[str, list[object]] = json.loads(text)
    return told


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork and no setuid here")
def test_what_may_not_be_read_or_taken_is_said_and_waits(root: Path) -> None:
    """The closed one is left with whose it is, the one in the read-only folder held with the folder's name, the plain one taken; the
    closed one is taken once it may be read."""
    asyncio.run(walk(scene(root / "first")))  # as whoever we are: all that is imported late is there before the child is nobody
    told = as_nobody(scene(root / "second"))
    state, end, said, there = told["closed"]
    assert (
        there and end in ("left", None, "held") and state in ("left", "held") and "unreadable" in str(said) and "uid" in str(said)
    )
    state, end, said, there = told["kept"]
    assert there and state == "held" and "read-only" in str(said) and "uid" in str(said)
    assert told["plain"][1:2] == ["dataset"] and not told["plain"][3]
    assert told["opened"][1:2] == ["dataset"] and not told["opened"][3]
