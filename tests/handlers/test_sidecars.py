"""Sidecars: which pictures of a folder want a text, and texts that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from dropdock.handlers import sidecars
from dropdock.handlers.sidecars import LEFT, Wanted, Writer, survey, write
from hypothesis import given
from hypothesis import strategies as st


def made(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def names(found: sidecars.Survey) -> list[str]:
    return [w.path.name for w in found.wanted]


def test_pictures_without_a_text_are_wanted_in_order(tmp_path: Path) -> None:
    """Below all folders, in the order of names; those with a text are counted, other files and caches are nothing."""
    made(tmp_path, "b.png", "a.JPG", "done.webp", "readme.md", "sub/c.png", "_latent_cache/d.png", ".hidden/e.png", "sub/z.npz")
    (tmp_path / "done.txt").write_text("a text")
    found = survey([tmp_path])
    assert (names(found), found.captioned) == (["a.JPG", "b.png", "c.png"], 1)
    assert found.wanted[0].text == tmp_path / "a.txt" and found.wanted[0].there is None


def test_every_takes_those_with_a_text_too(tmp_path: Path) -> None:
    """With the stamp of their text, and its words."""
    made(tmp_path, "a.png")
    (tmp_path / "a.txt").write_text("old words\n")
    (wanted,) = survey([tmp_path], every=True).wanted
    assert wanted.there is not None and wanted.existing() == "old words"


def test_a_text_of_blanks_is_none_and_one_in_capitals_is_one(tmp_path: Path) -> None:
    """Trainers take an empty text for a missing one; A.TXT would be a second text beside a.txt."""
    made(tmp_path, "a.png", "b.png")
    (tmp_path / "a.txt").write_text(" \n")
    (tmp_path / "b.TXT").write_text("words")
    found = survey([tmp_path])
    assert (names(found), found.captioned) == (["a.png"], 1)


def test_links_are_pictures_and_linked_folders_are_not_entered(tmp_path: Path) -> None:
    """The text of a linked picture lies beside the link; a loop of folders ends."""
    made(tmp_path, "real/a.png")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/b.png").symlink_to("../real/a.png")
    (tmp_path / "here/loop").symlink_to("..")
    found = survey([tmp_path / "here"])
    assert [(w.path.name, w.text) for w in found.wanted] == [("b.png", tmp_path / "here/b.txt")]
    assert len(survey([tmp_path, tmp_path / "here", tmp_path]).wanted) == 2  # each folder once


def test_pictures_of_one_stem_are_told(tmp_path: Path) -> None:
    """The first by name has the text; the other is named with it."""
    made(tmp_path, "a.png", "a.jpg", "A.webp")
    found = survey([tmp_path])
    assert [w.path.name for w in found.wanted] == ["A.webp"]
    assert [(p.name, q.name) for p, q in found.shared] == [("a.jpg", "A.webp"), ("a.png", "A.webp")]


def test_a_folder_that_cannot_be_read_hinders_no_other(tmp_path: Path) -> None:
    """It is told with its reason."""
    made(tmp_path, "x/a.png")
    found = survey([tmp_path / "gone", tmp_path / "x"])
    assert names(found) == ["a.png"] and found.unreadable[0][0] == tmp_path / "gone"


def test_texts_appear_whole_and_end_with_a_line(tmp_path: Path) -> None:
    """UTF-8, one line end, nothing else left in the folder."""
    made(tmp_path, "a.png", "b.png")
    assert write([(w, f"é {w.path.stem}") for w in survey([tmp_path]).wanted]) == ["", ""]
    assert (tmp_path / "b.txt").read_bytes() == "é b\n".encode()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "a.txt", "b.png", "b.txt"]


def test_a_text_that_somebody_wrote_meanwhile_stays(tmp_path: Path) -> None:
    """New or changed: it is left, the reason is told, and the other texts are written."""
    made(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "b.txt").write_text("old")
    wanted = survey([tmp_path], every=True).wanted
    (tmp_path / "a.txt").write_text("mine")
    (tmp_path / "b.txt").write_text("mine too")
    said = write([(w, "new") for w in wanted])
    assert [bool(s) for s in said] == [True, True, False] and "meanwhile" in said[0]
    assert [(tmp_path / n).read_text() for n in ("a.txt", "b.txt", "c.txt")] == ["mine", "mine too", "new\n"]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".")]


def test_part_files_of_a_dead_process_go_and_those_of_a_living_one_stay(tmp_path: Path) -> None:
    """By their age."""
    part = tmp_path / f".a.txt.{'0' * 16}.dropdock.part"
    part.touch()
    born = part.stat().st_mtime
    survey([tmp_path], now=born + LEFT - 1)
    assert part.exists()
    survey([tmp_path], now=born + LEFT + 1)
    assert not part.exists()


def test_the_writer_tells_each_text_once_and_passes_on_surprises(tmp_path: Path) -> None:
    """A folder that is gone is a reason; what `told` raises is raised at the end."""
    made(tmp_path, "a.png")
    (good,) = survey([tmp_path]).wanted
    bad = Wanted(tmp_path / "gone/b.png", tmp_path / "gone/b.txt")
    told: list[tuple[str, bool]] = []
    writer = Writer(lambda wanted, text, why: told.append((wanted.path.name, bool(why))))
    writer.put(good, "x")
    writer.put(bad, "x")
    writer.close()
    assert told == [("a.png", False), ("b.png", True)]

    def surprised(wanted: Wanted, text: str, why: str) -> None:
        raise KeyError("a bug")

    writer = Writer(surprised)
    writer.put(good, "x")
    with pytest.raises(KeyError):
        writer.close()


@given(text=st.text(st.characters(codec="utf-8"), max_size=80), stem=st.text("aé. x\u0301日", min_size=1, max_size=80))
def test_any_text_and_name_comes_back(tmp_path_factory: pytest.TempPathFactory, text: str, stem: str) -> None:
    """What was written is what is read, whatever the words and the name of the picture."""
    root = tmp_path_factory.mktemp("any")
    path = root / f"x{stem}.png"
    if len(os.fsencode(path.name)) > 250:
        return
    assert write([(Wanted(path, path.with_suffix(".txt")), text)]) == [""]
    assert path.with_suffix(".txt").read_bytes() == (text.rstrip("\n") + "\n").encode()


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    """Whoever reads it waits for ever; a link that leads nowhere is told as a picture that cannot be read."""
    made(tmp_path, "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "lost.png").symlink_to("nowhere")
    (tmp_path / "link.png").symlink_to("pipe.png")
    (tmp_path / "folder.png").mkdir()
    assert names(survey([tmp_path])) == ["a.png", "lost.png"]
