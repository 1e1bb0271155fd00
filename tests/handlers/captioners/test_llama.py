"""The llama engine on real llama.cpp: a model of our own making that says a fixed text, through the whole path from JPEG to caption."""

from __future__ import annotations

import builtins
import importlib.util
from pathlib import Path

import pytest
from caption_servers import CAPTION, GOOD, SCORES
from dropdock.handlers.captioners import llama as engine
from dropdock.handlers.captioners.protocol import Answer, Fixed, Picture
from dropdock.handlers.captioners.table import make
from pictures_made import picture

HAVE = importlib.util.find_spec("llama_cpp") is not None and importlib.util.find_spec("gguf") is not None
needs_llama = pytest.mark.skipif(not HAVE, reason="llama-cpp-python (extra llama) or gguf is not installed")


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    paths = [tmp_path / f"{n}.{form.lower()}" for n, form in enumerate(("PNG", "JPEG", "WEBP", "PNG"))]
    for n, path in enumerate(paths):
        path.write_bytes(picture(n, (140, 112), path.suffix[1:].upper()))
    return [Picture(n, path, quality=False) for n, path in enumerate(paths)]


def run(model: Path, pictures: list[Picture], **options: object) -> dict[int, Answer]:
    captioner = make("llama", {"model": str(model), "context": 2048, "threads": 2, "device": "cpu", **options})
    try:
        return dict(captioner.captions(Fixed(pictures)))
    finally:
        captioner.close()


def scripted(*args: object, **more: object) -> Path:
    from gguf_made import scripted

    return scripted(*args, **more)


@needs_llama
def test_the_grammar_gives_text_scores_and_flags(
    tmp_path: Path, pictures: list[Picture], capfd: pytest.CaptureFixture[str]
) -> None:
    """PNG, JPEG and WebP alike: the model's JSON becomes caption, opinion and flags; llama.cpp prints nothing."""
    found = run(scripted(tmp_path / "vlm", GOOD), pictures)
    assert [found[n].text for n in range(4)] == [CAPTION] * 4
    assert found[0].quality is not None and dict(found[0].quality.opinion) == SCORES and found[0].quality.flags == ("low light",)
    assert capfd.readouterr() == ("", "")


@needs_llama
@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (f"```json\n{GOOD}\n```", CAPTION),
        (f"<think>\nI see it.\n</think>\n\n{GOOD}", CAPTION),
        (CAPTION, CAPTION),
        (f"The image shows a{CAPTION[1:]}", CAPTION),
    ],
    ids=["fence", "think", "plain", "opener"],
)
def test_replies_in_words(tmp_path: Path, pictures: list[Picture], reply: str, text: str) -> None:
    """Without a grammar the model may say what it likes: the caption is found in it."""
    assert run(scripted(tmp_path / "vlm", reply), pictures[:1], structured=False)[0].text == text


@needs_llama
def test_a_refusal_is_an_error(tmp_path: Path, pictures: list[Picture]) -> None:
    """A model that refuses in every way it is asked gives no caption."""
    found = run(scripted(tmp_path / "vlm", "I'm sorry, but I can't help with this image."), pictures[:1], structured=False)[0]
    assert not found.text and "refuses" in found.error


@needs_llama
def test_a_circle_ends(tmp_path: Path, pictures: list[Picture]) -> None:
    """A model that never stops is stopped, and what it said before it went round is taken."""
    model = scripted(tmp_path / "vlm", "A red lantern hangs over a street. And it glows ", circle=True)
    found = run(model, pictures[:1], structured=False, max_tokens=400)[0]
    assert found.text == "A red lantern hangs over a street." and "loop" in found.flags


@needs_llama
def test_a_small_context_gets_a_smaller_picture(tmp_path: Path) -> None:
    """A picture that does not fit is asked about at half the side; one that never fits is this picture's error."""
    path = tmp_path / "large.png"
    path.write_bytes(picture(1, (1000, 1000)))
    model = scripted(tmp_path / "vlm", CAPTION)
    assert run(model, [Picture(0, path)], structured=False, context=1024)[0].text == CAPTION
    found = run(model, [Picture(0, path)], structured=False, context=512, prompt="word " * 600)[0]
    assert not found.text and "raise `context`" in found.error and not found.later


@needs_llama
def test_time_runs_out_between_two_words(tmp_path: Path, pictures: list[Picture]) -> None:
    """At its time-out a question ends, and the picture says why; the next one is answered."""
    found = run(scripted(tmp_path / "vlm", CAPTION), pictures[:1], structured=False, timeout=0.0)[0]
    assert not found.text and "in time" in found.error


class Unwanted(Fixed):
    """A source whose first picture nobody waits for."""

    def dropped(self, id: int) -> bool:
        return id == 0


@needs_llama
def test_what_nobody_waits_for_is_broken_off(tmp_path: Path, pictures: list[Picture]) -> None:
    """A cancelled picture ends at once, and the model answers the next as if nothing had been."""
    captioner = make(
        "llama", {"model": str(scripted(tmp_path / "vlm", CAPTION)), "context": 2048, "threads": 2, "structured": False}
    )
    found = dict(captioner.captions(Unwanted(pictures[:2])))
    captioner.close()
    assert (found[0].error, found[1].text) == ("cancelled", CAPTION)


@needs_llama
def test_it_is_loaded_anew_after_so_many(tmp_path: Path, pictures: list[Picture], monkeypatch: pytest.MonkeyPatch) -> None:
    """`recycle: 2`: four pictures, three loads, and every picture has its caption."""
    loads = []
    load = engine._load
    monkeypatch.setattr(engine, "_load", lambda *given: loads.append(given) or load(*given))
    found = run(scripted(tmp_path / "vlm", CAPTION), pictures, structured=False, recycle=2)
    assert [found[n].text for n in range(4)] == [CAPTION] * 4 and len(loads) == 3


@needs_llama
def test_a_bad_picture_fails_alone(tmp_path: Path, pictures: list[Picture]) -> None:
    """What does not decode is its own error, the rest is captioned."""
    pictures[1].path.write_bytes(pictures[1].path.read_bytes()[:150])
    found = run(scripted(tmp_path / "vlm", CAPTION), pictures, structured=False)
    assert "decode" in found[1].error and [found[n].text for n in (0, 2, 3)] == [CAPTION] * 3


@needs_llama
def test_a_damaged_model_is_a_sentence(tmp_path: Path) -> None:
    """A file that llama.cpp refuses names itself and the reason, in one line."""
    model = scripted(tmp_path / "vlm", CAPTION)
    model.write_bytes(model.read_bytes()[:60_000])
    with pytest.raises(ValueError, match=r"model\.gguf cannot be loaded: \S") as told:
        make("llama", {"model": str(model)})
    assert "\n" not in str(told.value)


def test_a_missing_extra_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without llama-cpp-python the engine says how to install it."""
    real = builtins.__import__
    monkeypatch.setattr(engine.importlib, "import_module", lambda name: real("there.is.no.such.module"))
    with pytest.raises(
        ImportError, match=r"the engine llama needs llama-cpp-python: pipx inject dropdock llama-cpp-python"
    ) as told:
        make("llama", {"model": "x.gguf"})
    assert "\n" not in str(told.value)
