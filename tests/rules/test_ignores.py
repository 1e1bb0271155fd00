import re

import pytest
from dropdock.rules.ignores import Ignores, built_in, final_name, is_temp, translate
from hypothesis import given
from hypothesis import strategies as st

NAME = st.text(st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=12).filter(
    lambda n: n not in (".", "..")
)


@pytest.mark.parametrize(
    "name",
    [
        "x.safetensors.part",
        "Unconfirmed 81234.crdownload",
        "x.zip.tmp",
        "x.zip.download",
        "x.gguf.incomplete",
        "x.mkv.!ut",
        "x.safetensors.aria2",
        "X.ZIP.PART",
        ".x.safetensors.Ab3dEf",
        "notes.txt~",
        ".dropdock",
        ".git",
        ".DS_Store",
        ".hidden",
        "Thumbs.db",
        "desktop.ini",
        "__MACOSX",
        "_latent_cache",
        "_t_e_cache",
        ".aitk_size.json",
        "cat.npz",
        "metadata_cache.json",
    ],
)
def test_names_that_are_nobodys_drop(name: str) -> None:
    """A temporary, hidden, cache or litter name is skipped as a file, as a folder, and as a folder on the way."""
    ignores = Ignores()
    assert ignores.skip(name, False) and ignores.skip(name, True)
    assert ignores.skip(f"a/{name}", False) and ignores.skip(f"{name}/x.png", False)


@pytest.mark.parametrize(
    "name", ["x.safetensors", "part", "tmp", "a.part.zip", "cat.png", "party.txt", "npz", "x.ünï", "~x", "a.b"]
)
def test_ordinary_names_are_drops(name: str) -> None:
    """Names that only resemble temporary ones are taken."""
    assert not Ignores().skip(name, False) and built_in(name) is None


@pytest.mark.parametrize(
    ("temp", "final"),
    [("x.zip.part", "x.zip"), (".x.zip.Ab3dEf", "x.zip"), ("x.zip~", "x.zip"), ("x.gguf.aria2", "x.gguf"), ("x.zip", None)],
)
def test_a_temporary_name_knows_what_it_will_be(temp: str, final: str | None) -> None:
    """The name at the end of a download or an rsync is told from the temporary one, and from no other."""
    assert final_name(temp) == final and is_temp(temp) == (final is not None)


@pytest.mark.parametrize(
    ("glob", "rel", "is_dir", "skipped"),
    [
        ("*.bak", "a/b/x.bak", False, True),
        ("*.bak", "x.bak/y.png", False, True),
        ("*.bak", "x.bake", False, False),
        ("drafts/**", "drafts/a/x.png", False, True),
        ("drafts/**", "my/drafts/x.png", False, False),
        ("**/drafts/*.png", "my/drafts/x.png", False, True),
        ("**/drafts/*.png", "drafts/x.png", False, True),
        ("/top.txt", "top.txt", False, True),
        ("/top.txt", "a/top.txt", False, False),
        ("old/", "a/old/x.png", False, True),
        ("old/", "a/old", False, False),
        ("a/*", "a/b/c", False, True),  # `a/*` matches the folder a/b, and with it all below
        ("x?.png", "x1.png", False, True),
        ("x[0-3].png", "x2.png", False, True),
        ("x[!0-3].png", "x2.png", False, False),
        ("x[.png", "x[.png", False, True),
    ],
)
def test_a_watchs_own_globs(glob: str, rel: str, is_dir: bool, skipped: bool) -> None:
    """A glob without a slash is asked of each name, one with a slash of the path, and a skipped folder skips what is in it."""
    assert Ignores([glob]).skip(rel, is_dir) is skipped


def test_depth_counts_folders_below_the_root() -> None:
    """max_depth 0 takes the root's own files only; 1 takes one level of folders."""
    assert not Ignores(max_depth=0).skip("x.png", False)
    assert Ignores(max_depth=0).skip("a", True) and Ignores(max_depth=0).skip("a/x.png", False)
    assert not Ignores(max_depth=1).skip("a/x.png", False) and Ignores(max_depth=1).skip("a/b", True)


def test_the_reason_is_said() -> None:
    """why() names the user's own pattern, or what kind of name it is."""
    ignores = Ignores(["*.bak"])
    assert ignores.why("x.bak", False) == "ignore: *.bak"
    assert ignores.why("a/.git", True) == "hidden name"
    assert ignores.why("x.png", False) is None and ignores.why("", True) is None


@given(st.lists(NAME, min_size=1, max_size=4), st.lists(NAME, max_size=3))
def test_below_a_skipped_folder_everything_is_skipped(parts: list[str], patterns: list[str]) -> None:
    """Asking for a whole path gives the same answer as pruning folder by folder."""
    ignores = Ignores(patterns)
    pruned = any(ignores.skip("/".join(parts[: n + 1]), n < len(parts) - 1) for n in range(len(parts)))
    assert ignores.skip("/".join(parts), False) is pruned


@given(st.text(max_size=20))
def test_every_glob_compiles(glob: str) -> None:
    """No text that a user writes as a pattern is an error."""
    re.compile(translate(glob))


@given(NAME)
def test_a_name_without_magic_matches_itself_only(name: str) -> None:
    """A pattern that is plain text is that very name."""
    if not set(name) & set("*?["):
        assert re.fullmatch(translate(name), name, re.DOTALL) and not re.fullmatch(translate(name), name + "x", re.DOTALL)
