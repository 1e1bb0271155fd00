"""Links on a real disk: made, kept, replaced and removed, and never at the cost of a person's file."""

import hashlib
import os
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from dropdock.handlers import swap
from dropdock.handlers.links import FRESH, METHODS, Applied, Did, apply, clear_fresh, look
from dropdock.rules.deployment import Deployable, Wanted, load_layouts, recorded_names, wanted
from dropdock.rules.linkplan import Made, Method, plan
from dropdock.rules.terms import LinkState, Target
from hypothesis import given, settings
from hypothesis import strategies as st

LAYOUTS = load_layouts()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Desk:
    """A hub and one ComfyUI on a real disk, with what was recorded of it."""

    def __init__(self, root: Path, relative: bool = False, methods: tuple[Method, ...] = METHODS) -> None:
        self.hub, self.methods = root / "hub", methods
        self.target = Target("comfy", "comfyui", root / "app", relative=relative)
        self.target.path.mkdir()
        self.loras = self.target.path / "models" / "loras"
        self.models: list[Deployable] = []
        self.recorded: dict[Path, Made] = {}

    def keep(self, name: str, content: bytes, type: str = "lora") -> Deployable:
        sha = hashlib.sha256(content).hexdigest()
        blob = self.hub / sha[:2] / sha / name
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        self.models.append(Deployable(sha, name, type, "sdxl", blob))
        return self.models[-1]

    def aims(self) -> Wanted:
        names = recorded_names(made.link for made in self.recorded.values())
        return wanted(self.models, [self.target], LAYOUTS, names)

    def project(self) -> tuple[Applied, ...]:
        """One round: want, look, plan, apply, record."""
        aims = self.aims()
        made = plan(aims, look(aims, self.recorded.values(), digest), self.recorded.values())
        results = apply(made, self.methods)
        self.recorded |= {m.link.at: m for m in made.ok}
        for at in [*made.forget, *(r.at for r in results if r.did is Did.REMOVED)]:
            self.recorded.pop(at, None)
        self.recorded |= {r.at: r.made for r in results if r.made}
        return results

    def states(self) -> list[LinkState]:
        aims = self.aims()
        return [c.state for c in plan(aims, look(aims, self.recorded.values(), digest), self.recorded.values()).conflicts]


@pytest.mark.parametrize("relative", [False, True])
def test_links_are_made_once_and_go_with_their_model(tmp_path: Path, relative: bool) -> None:
    """before: an empty app -> deployed: one symlink to the hub, of the target's form -> again: nothing -> undeployed: gone."""
    desk = Desk(tmp_path, relative)
    kept = desk.keep("style.safetensors", b"weights")
    at = desk.loras / "style.safetensors"
    assert [r.did for r in desk.project()] == [Did.CREATED]
    assert at.read_bytes() == b"weights"
    assert Path(os.readlink(at)).is_absolute() is not relative
    assert at.resolve() == kept.blob.resolve()
    assert desk.project() == ()
    desk.models.clear()
    assert [r.did for r in desk.project()] == [Did.REMOVED]
    assert list(desk.loras.iterdir()) == []
    assert kept.blob.read_bytes() == b"weights"


def test_a_type_folder_that_is_a_link_itself(tmp_path: Path) -> None:
    """Relative links work where a person moved `loras` to another disk and left a link."""
    desk = Desk(tmp_path, relative=True)
    desk.keep("style.safetensors", b"weights")
    elsewhere = tmp_path / "far" / "deep" / "disk"
    elsewhere.mkdir(parents=True)
    desk.loras.parent.mkdir()
    desk.loras.symlink_to(elsewhere)
    assert [r.did for r in desk.project()] == [Did.CREATED]
    assert (elsewhere / "style.safetensors").read_bytes() == b"weights"
    assert desk.project() == ()


def test_the_three_conflicts_leave_everything_as_it_was(tmp_path: Path) -> None:
    """Same content is adoptable, other content a conflict, another link foreign; none is touched, now or at undeploying."""
    desk = Desk(tmp_path)
    for name in ("same", "other", "link", "folder"):
        desk.keep(f"{name}.safetensors", name.encode())
    desk.loras.mkdir(parents=True)
    (desk.loras / "same.safetensors").write_bytes(b"same")
    (desk.loras / "other.safetensors").write_bytes(b"mine!")
    (desk.loras / "link.safetensors").symlink_to(tmp_path / "mine")
    (desk.loras / "folder.safetensors").mkdir()
    before = sorted((p.name, p.lstat().st_ino, p.lstat().st_mtime_ns) for p in desk.loras.iterdir())
    assert desk.project() == ()
    assert sorted(desk.states()) == [LinkState.ADOPTABLE, LinkState.CONFLICT, LinkState.CONFLICT, LinkState.FOREIGN]
    desk.models.clear()
    assert desk.project() == ()
    assert sorted((p.name, p.lstat().st_ino, p.lstat().st_mtime_ns) for p in desk.loras.iterdir()) == before


def test_a_link_that_an_app_replaced_by_a_file_is_the_persons(tmp_path: Path) -> None:
    """Our link became a private file: reported while wanted, forgotten and left when not."""
    desk = Desk(tmp_path)
    desk.keep("x.safetensors", b"weights")
    desk.project()
    at = desk.loras / "x.safetensors"
    at.unlink()
    at.write_bytes(b"changed by the app")
    assert desk.project() == ()
    assert desk.states() == [LinkState.CONFLICT]
    desk.models.clear()
    desk.project()
    assert at.read_bytes() == b"changed by the app"
    assert desk.recorded == {}


def test_a_deleted_link_comes_back_and_a_missing_app_is_not_made(tmp_path: Path) -> None:
    """What a person's clean-up removed is made again; an unplugged target's folder is neither created nor forgotten."""
    desk = Desk(tmp_path)
    desk.keep("x.safetensors", b"weights")
    desk.project()
    (desk.loras / "x.safetensors").unlink()
    assert [r.did for r in desk.project()] == [Did.CREATED]
    shutil.move(desk.target.path, tmp_path / "unplugged")
    assert desk.project() == ()
    assert not desk.target.path.exists()
    assert len(desk.recorded) == 1
    shutil.move(tmp_path / "unplugged", desk.target.path)
    assert desk.project() == ()


def test_a_hub_that_moved(tmp_path: Path) -> None:
    """Links to the old place are replaced; with the blob gone for good they are removed, so nothing dangles."""
    desk = Desk(tmp_path)
    kept = desk.keep("x.safetensors", b"weights")
    desk.project()
    moved = tmp_path / "new" / "x.safetensors"
    moved.parent.mkdir()
    shutil.move(kept.blob, moved)
    assert [r.did for r in desk.project()] == [Did.REMOVED]
    assert not os.path.lexists(desk.loras / "x.safetensors")
    desk.models = [Deployable(kept.sha256, kept.name, "lora", "sdxl", moved)]
    assert [r.did for r in desk.project()] == [Did.CREATED]
    moved2 = tmp_path / "newer.safetensors"
    shutil.copy(moved, moved2)
    desk.models = [Deployable(kept.sha256, kept.name, "lora", "sdxl", moved2)]
    assert [r.did for r in desk.project()] == [Did.REPLACED]
    assert (desk.loras / "x.safetensors").resolve() == moved2.resolve()


@pytest.mark.parametrize("method", [Method.HARDLINK, Method.COPY])
def test_fallbacks(tmp_path: Path, method: Method) -> None:
    """Where symlinks are refused a hardlink or a copy stands, is recorded as such, is right when seen again, and goes."""
    desk = Desk(tmp_path, methods=(method,))
    kept = desk.keep("x.safetensors", b"weights")
    at = desk.loras / "x.safetensors"
    assert [(r.did, r.made and r.made.method) for r in desk.project()] == [(Did.CREATED, method)]
    assert at.read_bytes() == b"weights" and not at.is_symlink()
    assert os.path.samefile(at, kept.blob) is (method is Method.HARDLINK)
    assert [p.name for p in desk.loras.iterdir()] == ["x.safetensors"]
    assert desk.project() == ()
    desk.models.clear()
    assert [r.did for r in desk.project()] == [Did.REMOVED]
    assert kept.blob.exists() and not at.exists()


def test_the_next_method_is_tried_where_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that says "not permitted" to symlinks gets a hardlink; a full disk is a failure, not a reason to copy."""

    def refuse(code: int) -> None:
        def raising(*_: object) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "symlink", raising)

    desk = Desk(tmp_path)
    desk.keep("x.safetensors", b"weights")
    refuse(28)
    assert [(r.did, r.note) for r in desk.project()] == [(Did.FAILED, os.strerror(28))]
    assert not os.path.lexists(desk.loras / "x.safetensors")
    refuse(1)
    assert [r.made.method for r in desk.project() if r.made] == [Method.HARDLINK]


def test_what_appears_between_looking_and_applying_is_safe(tmp_path: Path) -> None:
    """A file that a person saves at the very moment wins, both over a creation and over a removal."""
    desk = Desk(tmp_path)
    desk.keep("x.safetensors", b"weights")
    at = desk.loras / "x.safetensors"
    aims = desk.aims()
    create = plan(aims, look(aims, []), [])
    desk.loras.mkdir(parents=True)
    at.write_bytes(b"mine")
    for methods in ((Method.SYMLINK,), (Method.HARDLINK,), (Method.COPY,)):
        assert [r.did for r in apply(create, methods)] == [Did.FAILED]
    assert at.read_bytes() == b"mine" and len(list(desk.loras.iterdir())) == 1
    at.unlink()
    desk.project()
    desk.models.clear()
    aims = desk.aims()
    remove = plan(aims, look(aims, desk.recorded.values()), desk.recorded.values())
    at.unlink()
    at.write_bytes(b"mine")
    assert [r.note for r in apply(remove)] == ["it changed since it was looked at"]
    assert at.read_bytes() == b"mine"


def repointed(desk: Desk, tmp_path: Path) -> Path:
    """A link whose blob lies elsewhere by now; returns its place."""
    kept = desk.keep("x.safetensors", b"weights")
    desk.project()
    moved = tmp_path / "moved.safetensors"
    shutil.copy(kept.blob, moved)
    desk.models = [Deployable(kept.sha256, kept.name, "lora", "sdxl", moved)]
    return desk.loras / "x.safetensors"


def test_a_link_that_is_pointed_elsewhere_is_missing_at_no_instant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is unlinked or renamed on the way, the name gives the bytes before and after it."""
    desk = Desk(tmp_path)
    at, seen = repointed(desk, tmp_path), []
    for owner, name in ((os, "unlink"), (os, "replace"), (os, "symlink"), (swap, "_RENAME")):
        real = getattr(owner, name)

        def looking(*args: object, real=real, **more: object) -> object:  # type: ignore[no-untyped-def]
            seen.append(at.read_bytes())
            result = real(*args, **more)
            seen.append(at.read_bytes())
            return result

        if real is not None:
            monkeypatch.setattr(owner, name, looking)
    assert [r.did for r in desk.project()] == [Did.REPLACED]
    assert len(seen) >= 4 and set(seen) == {b"weights"} and at.resolve() == tmp_path / "moved.safetensors"
    assert [p.name for p in desk.loras.iterdir()] == ["x.safetensors"]


@pytest.mark.skipif(swap._RENAME is None, reason="no renameat2 here")
def test_what_is_saved_over_a_link_while_it_is_pointed_elsewhere_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The app saves just before the swap: its file stands, the result says why, nothing else is left."""
    desk = Desk(tmp_path)
    at, kernel, once = repointed(desk, tmp_path), swap._RENAME, [True]

    def racing(a: bytes, b: bytes, flags: int) -> int:
        if once:
            once.clear()
            at.unlink()
            at.write_bytes(b"mine")
        assert kernel is not None
        return kernel(a, b, flags)

    monkeypatch.setattr(swap, "_RENAME", racing)
    assert [(r.did, r.note) for r in desk.project()] == [(Did.FAILED, "it changed since it was looked at")]
    assert at.read_bytes() == b"mine" and [p.name for p in desk.loras.iterdir()] == ["x.safetensors"]


def test_what_a_dead_process_left_beside_a_link_is_cleared(tmp_path: Path) -> None:
    """A hidden link into the hub goes; a file that an app had saved in that instant gets a name that can be seen; the rest stays."""
    hub, folder = tmp_path / "hub", tmp_path / "loras"
    hub.mkdir(), folder.mkdir()
    (folder / f".a.safetensors{FRESH}").symlink_to(hub / "gone")
    (folder / f".b.safetensors{FRESH}").write_bytes(b"mine")
    (folder / "b.safetensors").symlink_to(hub / "b")
    (folder / ".hidden").write_bytes(b"theirs")
    clear_fresh([folder, tmp_path / "nowhere"], hub)
    assert {p.name for p in folder.iterdir()} == {"b (2).safetensors", "b.safetensors", ".hidden"}
    assert (folder / "b (2).safetensors").read_bytes() == b"mine"


def test_files_in_the_way_are_results(tmp_path: Path) -> None:
    """A file where the type folder should be blocks that link alone."""
    desk = Desk(tmp_path)
    desk.keep("x.safetensors", b"weights")
    desk.keep("v.safetensors", b"vae", "vae")
    (desk.target.path / "models").mkdir()
    desk.loras.write_bytes(b"a file")
    assert [(r.at.name, r.did) for r in desk.project()] == [("v.safetensors", Did.CREATED)]
    assert desk.states() == [LinkState.CONFLICT]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("keep"), st.integers(0, 5), st.sampled_from(["a", "A", "b"])),
        st.tuples(st.just("drop"), st.integers(0, 5), st.just("")),
        st.tuples(st.just("save"), st.integers(0, 5), st.sampled_from(["a", "A", "b"])),
        st.tuples(st.just("clean"), st.integers(0, 5), st.sampled_from(["a", "A", "b"])),
        st.tuples(st.just("project"), st.integers(0, 1), st.just("")),
    ),
    max_size=14,
)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_whatever_happens_a_second_round_is_idle(steps: list[tuple[str, int, str]]) -> None:
    """Models come and go and a person saves and deletes at will: their files stay as saved, links all work, twice is once."""
    with TemporaryDirectory() as name:
        desk = Desk(Path(name))
        desk.loras.mkdir(parents=True)
        theirs: dict[Path, bytes] = {}
        for what, n, word in steps:
            at = desk.loras / f"{word}.safetensors"
            if what == "keep":
                if all(m.blob.read_bytes() != bytes([n]) for m in desk.models):
                    desk.keep(f"{word}.safetensors", bytes([n]))
            elif what == "drop":
                desk.models = desk.models[:n] + desk.models[n + 1 :]
            elif what == "save":
                at.unlink(missing_ok=True)
                at.write_bytes(b"mine %d" % n)
                theirs[at] = b"mine %d" % n
            elif what == "clean":
                at.unlink(missing_ok=True)
                theirs.pop(at, None)
            else:
                desk.methods = METHODS[n:]
                desk.project()
        desk.project()
        assert desk.project() == ()
        assert {p: p.read_bytes() for p in theirs} == theirs
        made = {link.sha256 for link in desk.aims().links if link.at not in theirs}
        assert {m.link.sha256 for at, m in desk.recorded.items() if at not in theirs} == made
        assert all(p.exists() for p in desk.loras.iterdir())
