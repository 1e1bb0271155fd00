"""onnx: real sessions over tiny graphs with the taggers' contract, whose tags are wrong when anything before them is."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from dropdock.handlers.captioners import news, pipeline, runtime
from dropdock.handlers.captioners.onnx import NO_NUMBERS, NOTHING, Onnx
from dropdock.handlers.captioners.options import model_spec
from dropdock.handlers.captioners.protocol import Answer, Fixed, Picture
from dropdock.handlers.captioners.runtime import Unfit, opened, wanted
from dropdock.handlers.captioners.weights import NoWeights
from dropdock.rules.captions import Style
from onnx_made import labels, tagger
from PIL import Image

RED, GREEN, BLUE, WHITE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)
WORDS = {RED: "red", GREEN: "green", BLUE: "blue", WHITE: "white", BLACK: "black"}
ODD = '^_^, tail (animal), don\'t say "lazy", \\m/'


def four(colours: tuple[tuple[int, int, int], ...], size: tuple[int, int] = (200, 200)) -> Image.Image:
    """A picture of four quarters: top left, top right, bottom left, bottom right."""
    image, (w, h) = Image.new("RGB", size), (size[0] // 2, size[1] // 2)
    for n, colour in enumerate(colours):
        image.paste(colour, (n % 2 * w, n // 2 * h, n % 2 * w + w, n // 2 * h + h))
    return image


def quarters(*colours: tuple[int, int, int]) -> set[str]:
    names = ("top left", "top right", "bottom left", "bottom right")
    return {f"{name} {WORDS[colour]}" for name, colour in zip(names, colours, strict=True)}


def ask(captioner: Onnx, *paths: Path, **picture: object) -> dict[int, Answer]:
    return dict(captioner.captions(Fixed([Picture(n, path, **picture) for n, path in enumerate(paths)])))  # type: ignore[arg-type]


def tags(captioner: Onnx, path: Path) -> set[str]:
    answer = ask(captioner, path)[0]
    assert not answer.error, answer.error
    return set(answer.text.split(", "))


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    four((RED, GREEN, BLUE, WHITE)).save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """A function that waits until so many pictures in all lie decoded: a batch that is taken then is as full as it can be."""
    done, filled = threading.Semaphore(0), pipeline.Ring.filled
    seen = 0

    def counted(ring: pipeline.Ring, row: pipeline.Row, item: pipeline.Item) -> None:
        filled(ring, row, item)
        done.release()

    def wait(total: int) -> None:
        nonlocal seen
        while seen < total:
            assert done.acquire(timeout=20), f"{seen} of {total} were decoded"
            seen += 1

    monkeypatch.setattr(pipeline.Ring, "filled", counted)
    return wait


KINDS = {
    "as the family": {},
    "frozen at one": {"batch": 1},
    "frozen at three": {"batch": 3},
    "logits": {"logits": True},
    "newer": {"nchw": True, "unit": True},
    "newer, frozen, logits": {"nchw": True, "unit": True, "batch": 1, "logits": True},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("exact", [True, False])
def test_a_picture_is_tagged_as_it_looks(tmp_path, scene, kind, exact):
    """Layout, order, scale, batch and activation are found out: each kind of export says the same of the same picture."""
    captioner = Onnx({"models": (str(tagger(tmp_path / "m", **KINDS[kind])),), "exact": exact})
    said = tags(captioner, scene)
    assert quarters(RED, GREEN, BLUE, WHITE) <= said and len([t for t in said if t.startswith(("top", "bottom"))]) == 4
    assert captioner.device == "cpu"


def test_a_picture_that_is_turned_is_tagged_as_displayed(tmp_path, scene):
    """A camera held upright: the first column is the lower row."""
    exif = Image.Exif()
    exif[274] = 6
    four((RED, GREEN, BLUE, WHITE)).save(tmp_path / "turned.jpg", quality=100, subsampling=0, exif=exif)
    captioner = Onnx({"models": (str(tagger(tmp_path / "m")),)})
    assert quarters(BLUE, RED, WHITE, GREEN) <= tags(captioner, tmp_path / "turned.jpg")


def test_a_wide_picture_stands_between_white_bars(tmp_path):
    """Twice as wide as high: half of each quarter is white, which is neither colour."""
    four((BLACK,) * 4, (200, 100)).save(tmp_path / "wide.png")
    Image.new("RGB", (200, 20), WHITE).save(tmp_path / "white.png")
    captioner = Onnx({"models": (str(tagger(tmp_path / "m")),)})
    assert not any(tag.startswith("top") for tag in tags(captioner, tmp_path / "wide.png"))
    assert quarters(WHITE, WHITE, WHITE, WHITE) <= tags(captioner, tmp_path / "white.png")


def test_a_caption_reads_as_its_style_says(tmp_path, scene):
    """The family's order and faces; the captioner's style below the picture's; the rating where it is asked for."""
    options = {
        "models": (str(tagger(tmp_path / "m")),),
        "rating": "last",
        "escape": True,
        "trigger": "ohwx",
        "exclude": ("/^top|^bottom/",),
    }
    captioner = Onnx(options)
    assert ask(captioner, scene)[0].text == (
        'ohwx, 1girl, someone \\(series\\), ^_^, tail \\(animal\\), don\'t say "lazy", \\\\m/, sensitive'
    )
    mine = ask(captioner, scene, style=Style(trigger="sks", max_length=30, escape=False))[0]
    assert mine.text == "sks, 1girl, someone (series)"


def test_thresholds_are_those_that_were_asked_for(tmp_path, scene):
    """General and characters, for all models and for one; where nothing is above, the answer is an error and no empty caption."""
    folder = str(tagger(tmp_path / "m"))
    assert "someone else" in ask(Onnx({"models": (folder,), "character": 0.7}), scene)[0].text
    assert ask(Onnx({"models": (f"{folder} @ general=0.65 character=0.99",)}), scene)[0].text.endswith("^_^, tail (animal)")
    assert ask(Onnx({"models": (folder,), "general": 1.0, "character": 1.0}), scene)[0].error == NOTHING


def test_two_taggers_are_merged(tmp_path, scene):
    """Of different layouts and vocabularies, by name; a tag that one has given up is out."""
    old = tagger(tmp_path / "old", batch=1, rename={"never": "bangs", "top_left_red": "red_corner"})
    new = tagger(tmp_path / "new", nchw=True, unit=True, side=32, drop=("never",))
    options = {"models": (str(old), str(new)), "general": 0.29}
    said = tags(Onnx(options), scene)
    assert {"red corner", "top left red", "top right green"} <= said and "bangs" not in said
    both = tags(Onnx({**options, "merge": "intersection"}), scene)
    assert {"red corner", "top right green"} <= both


def test_every_picture_is_answered_and_a_bad_one_alone_fails(tmp_path, scene):
    """Among many, in any order, each as if it were alone; measured only where that is wanted."""
    (tmp_path / "half.jpg").write_bytes(scene.read_bytes()[:150])
    paths = [scene, tmp_path / "half.jpg", tmp_path / "gone.png"] * 15
    captioner = Onnx({"models": (str(tagger(tmp_path / "m")),), "batch": 4})
    answers = ask(captioner, *paths)
    assert sorted(answers) == list(range(45))
    assert {a.text for n, a in answers.items() if n % 3 == 0} == {ask(captioner, scene)[0].text}
    assert all(a.error and not a.text for n, a in answers.items() if n % 3)
    assert answers[0].quality is not None and answers[0].quality.overall is not None
    assert ask(captioner, scene, quality=False)[0].quality is None
    assert ask(Onnx({"models": (str(tmp_path / "m"),), "quality": False}), scene)[0].quality is None


# ---------------------------------------------------------------- the flow


class Slowly:
    """A Source that gives one picture, then the next only when the first is answered, then ends."""

    def __init__(self, pictures: list[Picture]) -> None:
        self._left, self._may = pictures, threading.Event()
        self._may.set()

    def take(self, most: int, wait: bool) -> list[Picture]:
        if not self._may.is_set() and not wait:
            return []
        assert self._may.wait(20)
        self._may.clear()
        return [self._left.pop(0)] if self._left else []

    def answered(self) -> None:
        self._may.set()

    def dropped(self, id: int) -> bool:
        return id == 7


def test_a_picture_that_comes_alone_is_run_at_once(tmp_path, scene):
    """A batch that is not full waits for nobody: the next picture comes only after this one's answer."""
    source = Slowly([Picture(n, scene) for n in (1, 2, 3)])
    captioner, got = Onnx({"models": (str(tagger(tmp_path / "m")),), "batch": 16}), []
    for id, answer in captioner.captions(source):
        got.append((id, bool(answer.text)))
        source.answered()
    assert got == [(1, True), (2, True), (3, True)]


def test_what_nobody_wants_is_not_decoded(tmp_path, scene):
    """It is answered all the same, so that nobody waits for it."""
    source = Slowly([Picture(7, scene)])
    got = []
    for id, answer in Onnx({"models": (str(tagger(tmp_path / "m")),)}).captions(source):
        got.append((id, answer.text, bool(answer.error)))
        source.answered()
    assert got == [(7, "", True)]


def test_who_stops_listening_leaves_no_thread_behind(tmp_path, scene):
    """The generator is closed in the middle of a thousand pictures."""
    captioner = Onnx({"models": (str(tagger(tmp_path / "m")),)})
    answers = captioner.captions(Fixed([Picture(n, scene) for n in range(1000)]))
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert not [t for t in threading.enumerate() if t.name.startswith(("model", "decode"))]


class Broken:
    """A session that fails as cards do: the graph's own words, but `fails` is asked before each run."""

    def __init__(self, session: runtime.Session, fails: object) -> None:
        self._session, self._fails = session, fails

    def __getattr__(self, name: str) -> object:
        return getattr(self._session, name)

    def run(self, outputs: object, inputs: dict[str, np.ndarray]) -> object:
        self._fails(next(iter(inputs.values())))  # type: ignore[operator]
        return self._session.run(outputs, inputs)  # type: ignore[arg-type]


def broken(monkeypatch: pytest.MonkeyPatch, fails: object) -> None:
    def made(model: Path, where: object) -> tuple[object, str]:
        session, device = opened(model, where)  # type: ignore[arg-type]
        return Broken(session, fails), device

    monkeypatch.setattr("dropdock.handlers.captioners.onnx.opened", made)


def test_out_of_memory_halves_the_batch_and_goes_on(tmp_path, scene, monkeypatch, decoded):
    """No picture is lost, no larger batch is tried again, and a person hears of it."""
    sizes, told = [], []

    def fails(rows: np.ndarray) -> None:
        sizes.append(len(rows))
        if len(sizes) == 1:
            decoded(len(rows) + 8)  # the next batch is full
        if len(rows) > 2:
            raise RuntimeError("Failed to allocate memory for requested buffer of size 1234")

    broken(monkeypatch, fails)
    news.listen(told.append)
    try:
        captioner = Onnx({"models": (str(tagger(tmp_path / "m")),), "batch": 8})
        answers = ask(captioner, *[scene] * 60)
        first = len(sizes)
        ask(captioner, *[scene] * 30)
    finally:
        news.listen(None)
    assert len(answers) == 60 and not [a.error for a in answers.values() if a.error]
    assert max(sizes[:first]) > 2 and max(sizes[first:]) <= 2
    assert any(line.startswith("out of memory: ") for line in told)


def test_a_poisonous_picture_fails_alone(tmp_path, scene, monkeypatch):
    """The batch is split until the one that the model fails on stands alone; its answer says why."""
    four((BLACK,) * 4).save(tmp_path / "poison.png")

    def fails(rows: np.ndarray) -> None:
        if (rows.reshape(len(rows), -1).max(axis=1) < 5).any():
            raise ValueError("Non-zero status code returned\nwhile running a node")

    broken(monkeypatch, fails)
    answers = ask(
        Onnx({"models": (str(tagger(tmp_path / "m")),), "batch": 8}), *[scene] * 9, tmp_path / "poison.png", *[scene] * 9
    )
    assert {n: a.error for n, a in answers.items() if a.error} == {9: "the model fails on it: Non-zero status code returned"}


def test_a_card_that_is_lost_ends_the_captioner(tmp_path, scene, monkeypatch):
    """Nothing would run any more in this process: the pictures are not to blame."""

    def fails(rows: np.ndarray) -> None:
        raise RuntimeError("CUDA failure 700: an illegal memory access was encountered")

    broken(monkeypatch, fails)
    with pytest.raises(RuntimeError, match="the card does not go on: CUDA failure 700"):
        ask(Onnx({"models": (str(tagger(tmp_path / "m")),)}), scene)


def test_a_surprise_in_a_thread_reaches_whoever_waits(tmp_path, scene, monkeypatch):
    """Neither swallowed nor a hang."""

    def fails(rows: np.ndarray) -> None:
        raise ZeroDivisionError("ours")

    broken(monkeypatch, fails)
    with pytest.raises(ZeroDivisionError):
        ask(Onnx({"models": (str(tagger(tmp_path / "m")),)}), scene)


# ---------------------------------------------------------------- making one


def test_what_is_wrong_with_a_model_is_one_line(tmp_path):
    """No folder, no model, no names, names of another model, a file that is no model, a model that is no tagger."""
    folder = tagger(tmp_path / "m")
    with pytest.raises(Unfit, match="wants `models`"):
        Onnx({})
    with pytest.raises(NoWeights, match="there is no folder"):
        Onnx({"models": (str(tmp_path / "gone"),)})
    labels(folder, [("a", 0), ("b", 0)])
    with pytest.raises(Unfit, match=r"m gives 32 scores and selected_tags\.csv names 2"):
        Onnx({"models": (str(folder),)})
    (folder / "model.onnx").write_bytes(b"no model")
    with pytest.raises(
        Unfit, match=r"model\.onnx does not load: it is no ONNX model, or not the whole of one \(.* B\): fetch it again"
    ):
        Onnx({"models": (str(folder),)})
    (folder / "selected_tags.csv").unlink()
    with pytest.raises(NoWeights, match=r"selected_tags\.csv is missing"):
        Onnx({"models": (str(folder),)})


def _changed(folder: Path, change) -> Path:
    """The folder's model, changed."""
    model = onnx.load(folder / "model.onnx")
    change(model.graph)
    onnx.save(model, folder / "model.onnx")
    return folder


def test_of_several_outputs_the_one_with_a_score_for_each_name_is_read(tmp_path, scene):
    """An embedding beside the scores, before or behind them, is not taken for them."""

    def embedded(graph, last=True):
        graph.node.append(onnx.helper.make_node("ReduceMean", ["input"], ["embedding"], axes=[1, 2], keepdims=0))
        ports = [onnx.helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, ["batch", 3]), *graph.output]
        del graph.output[:]
        graph.output.extend(ports[::-1] if last else ports)

    want = tags(Onnx({"models": (str(tagger(tmp_path / "m")),)}), scene)
    for name, last in (("behind", True), ("before", False)):
        folder = _changed(tagger(tmp_path / name), lambda graph, last=last: embedded(graph, last))
        assert tags(Onnx({"models": (str(folder),)}), scene) == want


def test_pixels_of_another_type_are_refused_at_once(tmp_path):
    """Not picture by picture."""

    def bytes_wanted(graph):
        graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
        next(node for node in graph.node if "input" in node.input).input[0] = "floats"
        graph.node.insert(0, onnx.helper.make_node("Cast", ["input"], ["floats"], to=onnx.TensorProto.FLOAT))

    with pytest.raises(Unfit, match=r"its pixels are tensor\(uint8\), not float"):
        Onnx({"models": (str(_changed(tagger(tmp_path / "m"), bytes_wanted)),)})


def test_scores_that_are_no_numbers_are_an_error_that_says_so(tmp_path, scene):
    """As of a half-precision model that overflows."""

    def overflows(graph):
        next(node for node in graph.node if node.output[0] == "output").output[0] = "scores"
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(np.nan, np.float32), "nan"))
        graph.node.append(onnx.helper.make_node("Add", ["scores", "nan"], ["output"]))

    captioner = Onnx({"models": (str(_changed(tagger(tmp_path / "m"), overflows)),)})
    assert ask(captioner, scene)[0].error == NO_NUMBERS


def test_a_frozen_batch_is_filled(tmp_path, scene, monkeypatch, decoded):
    """A model that always runs four at once is given four where there are four."""
    captioner, sizes = Onnx({"models": (str(tagger(tmp_path / "m", batch=4)),)}), []
    scores = runtime.Net.scores

    def counted(net: runtime.Net, rows: np.ndarray) -> object:
        sizes.append(len(rows))
        decoded(min(40, sum(sizes) + 4))
        return scores(net, rows)

    monkeypatch.setattr(runtime.Net, "scores", counted)
    assert all(answer.text for answer in ask(captioner, *[scene] * 40).values())
    assert sum(sizes) == 40
    assert max(sizes) == 4


def test_a_missing_runtime_says_how_it_is_installed(tmp_path, monkeypatch):
    """One line with the command."""
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"needs onnxruntime: pipx inject dropdock onnxruntime"):
        Onnx({"models": ("x",)})


def test_a_card_that_cannot_be_used_is_told(tmp_path, scene):
    """The session runs on the CPU and says why; on its own account it says so only where a card was asked for."""
    folder = str(tagger(tmp_path / "m"))
    if runtime.CUDA in runtime.runtime().get_available_providers():
        pytest.skip("this runtime may have a card")
    asked = Onnx({"models": (folder,), "device": "cuda:1"})
    assert asked.device == "cpu (CUDA was asked for: onnxruntime is installed for the CPU only, it takes the extra gpu)"
    assert ask(asked, scene)[0].text and Onnx({"models": (folder,), "device": "auto"}).device == "cpu"


def test_devices_by_their_word():
    """auto, cpu, cuda, cuda:N; nothing else."""
    assert [wanted(w).card for w in ("cpu", "auto", "cuda", "cuda:2")] == [None, 0, 0, 2]
    for word in ("gpu", "cuda:", "cuda:x"):
        if word != "cuda:":
            with pytest.raises(Unfit):
                wanted(word)


def test_a_models_own_thresholds_are_written_behind_its_name():
    """An at sign in a path is none of them."""
    assert model_spec("/a b/c @ general=0.4 character=0.9") == ("/a b/c", {"general": 0.4, "character": 0.9})
    assert model_spec("me@home/c") == ("me@home/c", {})
    with pytest.raises(ValueError, match=r"like general=0\.4"):
        model_spec("c @ general")


def test_a_run_takes_the_pictures_that_came_meanwhile(tmp_path, scene, monkeypatch, decoded):
    """While a batch is run the next ones are decoded: a slow model sees full batches without ever being waited for."""
    sizes = []

    def slowly(rows: np.ndarray) -> None:
        sizes.append(len(rows))
        if len(sizes) < 5:
            decoded(sum(sizes) + 4)

    broken(monkeypatch, slowly)
    ask(Onnx({"models": (str(tagger(tmp_path / "m")),), "batch": 4, "quality": False}), *[scene] * 40)
    assert sum(sizes) == 40 and sizes[1:5] == [4] * 4
