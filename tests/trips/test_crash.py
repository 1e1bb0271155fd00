"""Law 3: killed at any moment, the daemon loses nothing, repeats nothing and leaves nothing half done."""

import contextlib
import hashlib
import os
import random
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from daemon_process import Daemon, Home
from dropdock.daemon import samples
from pictures_made import picture, zipped

RULES = """
pipelines:
  library:
    - {name: take in, when: {kind: model}, do: [adopt]}
"""
KILLS = int(os.environ.get("DROPDOCK_KILLS", "20"))
SEED = int(os.environ.get("DROPDOCK_SEED", "7"))


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Load:
    """What is dropped, and what must become of it."""

    def __init__(self, home: Home, rng: random.Random) -> None:
        self.home, self.rng = home, rng
        self.dropped: dict[Path, str] = {}  # path -> sha256 of what was put there
        self.wanted: dict[str, set[str]] = {}  # dataset -> contents of its pictures
        self.imported: dict[str, str] = {}  # content -> caption that came with it
        self.models: set[str] = set()
        self.aside: set[Path] = set()  # must end in the quarantine
        self.left: set[Path] = set()
        self.library: dict[Path, str] = {}  # an app's own files, which are adopted

    def put(self, rel: str, data: bytes) -> Path:
        """Like a person: under a temporary name first, then renamed."""
        path = self.home.inbox / rel
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(data)
        part.rename(path)
        self.dropped[path] = hashlib.sha256(data).hexdigest()
        return path

    def some(self, n: int) -> None:
        """The n-th portion: a ZIP (every other into an existing dataset), a model, pictures, a text, things that are broken."""
        name = f"set{n // 2}"
        pictures = {f"{n}-{i}.png": picture(1000 * n + i, (280, 260)) for i in range(6)}
        members = {f"top/{k}": v for k, v in pictures.items()} | {f"top/{n}-0.txt": f"a caption of {n}".encode()}
        path = zipped(self.home.root / "made.zip", members | {"top/broken.jpg": picture(n, form="JPEG")[:700]})
        self.put(f"{name}.zip" if n % 2 == 0 else f"more/{name}.zip", path.read_bytes())
        self.wanted.setdefault(name, set()).update(hashlib.sha256(v).hexdigest() for v in pictures.values())
        self.imported[hashlib.sha256(pictures[f"{n}-0.png"]).hexdigest()] = f"a caption of {n}"
        lora = samples.flux_lora(self.home.root / "made.safetensors", rank=1)
        data = lora.read_bytes()[:-1] + bytes([n])  # the same header, another content
        self.models.add(hashlib.sha256(data).hexdigest())
        self.put(f"lora{n}.safetensors", data)
        if n % 3 == 0:
            self.put(f"copy-of-{n}.safetensors", data)
        mine = self.home.root / f"library/loras/mine{n}.safetensors"
        own = lora.read_bytes()[:-2] + bytes([n, 238])
        mine.with_suffix(".part").write_bytes(own)
        mine.with_suffix(".part").rename(mine)
        self.library[mine] = hashlib.sha256(own).hexdigest()
        solo = picture(500_000 + n)
        self.put(f"solo/{n}.png", solo)
        self.wanted.setdefault("solo", set()).add(hashlib.sha256(solo).hexdigest())
        self.left.add(self.put(f"note{n}.md", b"# nothing for anybody"))
        self.aside.add(self.put(f"cut{n}.zip", path.read_bytes()[:-40]))


def undo_something(daemon: Daemon, rng: random.Random) -> threading.Thread:
    """Ask for one undo, from beside: the daemon may be killed in the middle of it."""

    def ask() -> None:
        with contextlib.suppress(OSError, ValueError):  # refused (something depends on it), or dead by now
            lines = [h["id"] for h in daemon.get("history?limit=200")["history"] if h["verb"] in ("store", "adopt")]
            if lines:
                daemon.post(f"history/{choice(lines)}/undo")

    choice = random.Random(rng.random()).choice
    asking = threading.Thread(target=ask)
    asking.start()
    return asking


def check(home: Home, load: Load) -> None:
    """Law 2 for every dropped path, and everything else that must hold at rest."""
    with sqlite3.connect(home.database) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM journal").fetchone() == (0,)
        jobs = Counter(dict(db.execute("SELECT state, count(*) FROM jobs GROUP BY state")))
        assert set(jobs) <= {"done"}, db.execute("SELECT title, state, error FROM jobs WHERE state<>'done'").fetchall()
        ends = {}
        rows = db.execute(
            "SELECT folder, name, end_kind, end_at, state FROM files WHERE lead IS NULL AND watch='inbox'"
        ).fetchall()
        for folder, name, end, at, state in rows:
            path = Path(folder) / name
            assert path not in ends, f"{path} has two records: {rows}"
            ends[path] = (end, at, state)
        unpacked = Counter(str(r[0]) for r in db.execute("SELECT path FROM history WHERE verb='unpack' AND status='done'"))
        assert set(unpacked.values()) == {1}, f"unpacked more than once: {unpacked}"
        captions = Counter(r[0] for r in db.execute("SELECT path FROM history WHERE verb='caption' AND status='done'"))
        assert set(captions.values()) == {1}, f"captioned more than once: {captions.most_common(3)}"
        aside = {Path(p): Path(o) for p, o in db.execute("SELECT path, original FROM aside WHERE state='kept'")}
        links = db.execute("SELECT at, points_to, state FROM links WHERE state<>'not mapped' AND target<>''").fetchall()
        undone = {Path(p) for (p,) in db.execute("SELECT path FROM history WHERE undone IS NOT NULL")}
        _check_library(home, db, load, undone)
    _check_ends(load, ends, aside, undone)
    _check_datasets(home, load)
    models = {load.dropped[p] for p in load.dropped if p.suffix == ".safetensors" and p not in undone}
    for sha256 in models:
        kept = [p for p in (home.hub / sha256[:2] / sha256).iterdir() if p.suffix == ".safetensors"]
        assert len(kept) == 1 and sha(kept[0]) == sha256
    assert len([link for link in links if link[2] == "ok"]) == 3 * len(models)
    for at, to, state in links:
        assert state == "ok" and Path(at).is_symlink() and Path(at).resolve() == Path(to)
    for target in ("ComfyUI", "forge", "ai-toolkit"):
        found = [p for p in (home.root / target).rglob("*") if p.is_symlink()]
        assert all(p.exists() for p in found), "a dangling link"
        assert len(found) == len(models)
    for root in (home.inbox, home.hub, home.datasets, home.root / "library"):
        staging = root / ".dropdock/staging"
        assert not staging.exists() or not list(staging.iterdir()), "staging is left over"


def _check_library(home: Home, db: sqlite3.Connection, load: Load, undone: set[Path]) -> None:
    """An app's file is there under its name at all times: as a link into the hub, or, undone, as itself."""
    places = {Path(at) for (at,) in db.execute("SELECT at FROM adopted")}
    for path, content in load.library.items():
        assert sha(path) == content and path.is_symlink() is (path not in undone), path
        assert (path in places) is path.is_symlink() is ((home.hub / content[:2] / content).exists())


def _check_ends(load: Load, ends: dict, aside: dict[Path, Path], undone: set[Path]) -> None:
    trash = {original: path for path, original in aside.items()}
    for path, content in load.dropped.items():
        end, at, state = ends[path]
        if path in undone:
            assert (end, state) == ("held", "held") and sha(path) == content, (path, end, at)
        elif path in load.left:
            assert (end, state) == ("left", "left") and sha(path) == content
        elif path in load.aside:
            assert end == "quarantine" and sha(Path(at)) == content, (path, end, at)
        elif path.suffix == ".zip":
            assert end == "dataset" and Path(at).is_dir() and sha(trash[path]) == content
        else:
            assert end == ("hub" if path.suffix == ".safetensors" else "dataset"), (path, end)
            assert sha(Path(at)) == content and not path.exists()


def _check_datasets(home: Home, load: Load) -> None:
    assert {p.name for p in home.datasets.iterdir() if not p.name.startswith(".")} == set(load.wanted)
    for name, contents in load.wanted.items():
        found = sorted(p for p in (home.datasets / name).rglob("*") if p.suffix == ".png")
        assert Counter(map(sha, found)) == Counter(contents), f"{name} is not what was dropped"
        for path in found:
            text = path.with_suffix(".txt").read_text().strip()
            assert text == load.imported.get(sha(path), text) and text
    with sqlite3.connect(home.database) as db:
        items = db.execute("SELECT count(*) FROM items").fetchone()[0]
    assert items == sum(map(len, load.wanted.values()))


@pytest.mark.timeout(280)
def test_killed_at_random_moments_nothing_is_lost_or_done_twice(tmp_path):
    """SIGKILL at seeded random moments while a mixed load is worked on; after the last start all is as if nothing had happened."""
    rng = random.Random(SEED)
    home = Home(tmp_path, settle=0.2, more=RULES)
    load = Load(home, rng)
    for round_ in range(KILLS):
        if round_ % 2 == 0:
            load.some(round_ // 2)
        daemon = Daemon(home)
        if rng.random() < 0.8:  # else also while it starts
            daemon.wait_ready()
        if round_ % 4 == 1:
            load.some(100 + round_)
        time.sleep(rng.uniform(0.02, 1.2))
        asking = undo_something(daemon, rng) if round_ % 3 == 2 and daemon.url else None
        time.sleep(rng.uniform(0, 0.05))
        daemon.kill()
        if asking is not None:
            asking.join()
    with Daemon(home) as daemon:
        daemon.wait_idle(90)
        time.sleep(0.5)
        daemon.wait_idle(30)
        assert daemon.stop() == 0, daemon.said()
    check(home, load)


def test_children_die_with_the_daemon_and_the_lock_is_free(tmp_path):
    """After kill -9 no worker process is left, and the next daemon starts at once."""
    home = Home(tmp_path, settle=0.2)
    daemon = Daemon(home).wait_ready()
    zipped(home.root / "x.zip", {f"{n}.png": picture(n) for n in range(3)}).rename(home.inbox / "x.zip")
    daemon.wait_idle()
    children = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/children")
    pids = children.read_text().split() if children.exists() else []
    assert pids, "the captioner should be running"
    daemon.kill()
    deadline = time.monotonic() + 5
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived its daemon"
        time.sleep(0.05)
    with Daemon(home) as again:
        assert again.get("status")["pid"] == again.process.pid
