"""onnx: taggers of the WD kind on ONNX Runtime, one or several merged, on the CPU or a card.

A picture is decoded by one of a few threads into a row of a batch (pixels.py, pipeline.py), run through every model (runtime.py), and its
scores become tags (tagging.py) and a finished caption (finish.py); its quality is measured from the same pixels. What must hold: what a
picture is tagged with does not depend on what else is in its batch; a picture that fails, fails alone; where the models run is told.
"""

from __future__ import annotations

import math
import os
import queue
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from ...rules.captions import PAIR
from ...rules.header import Damaged
from ...rules.terms import Param
from .finish import finish
from .labels import read
from .news import tell
from .options import Options, flag, model_spec, number, style_of, text, texts
from .pipeline import Item, Ring, Runner, Said, Scored
from .pixels import GAP, decode, fill, squared
from .protocol import Answer, Picture, Source
from .quality import GRAIN, SIDE, measure
from .runtime import Net, Unfit, errors_of, opened, runtime, wanted
from .tagging import Model, Tagger, Taste, written
from .weights import Hub, find

CPU_BATCH, CARD_BATCH = 1, 8  # a batch buys nothing on a CPU and costs 150 MB a picture; a card is busy from 4 to 8 on
POLL = 0.01  # seconds between looks for new pictures while others are worked on
MOST_DECODERS = 12
NOTHING = "no tag is above its threshold"
NO_NUMBERS = "the model's scores for it are no numbers (a half-precision model that overflows?)"


class Onnx:
    """engine: onnx. Raises ImportError, Unfit, NoWeights, NoSuchTagger or NoLabels when it cannot be made; the text is for people."""

    def __init__(self, options: Mapping[str, Param]) -> None:
        ort = runtime()
        from PIL import Image

        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # for good: this process decodes in many threads
        self._style, self._taste, self._exact = style_of(options), taste_of(options), flag(options, "exact") is True
        self._quality = flag(options, "quality") is not False
        self._nets, self.device = _nets(options)
        self._tagger = Tagger(
            [_model(net, spec, options) for net, spec in zip(self._nets, _specs(options), strict=True)], self._taste
        )
        on_card = self.device.startswith("CUDA")
        self._batch = int(number(options, "batch", 0)) or (CARD_BATCH if on_card else CPU_BATCH)
        frozen = max(net.frozen for net in self._nets)
        self._batch += -self._batch % (frozen or 1)  # a frozen batch costs the same when it is half empty
        self._rounded, self._errors = on_card, (*errors_of(ort), MemoryError, RuntimeError, ValueError)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._decoders = min(MOST_DECODERS, cores + 1)
        self.ahead = 3 * self._batch + 2 * self._decoders
        self._shapes = [net.shape for net in self._nets]
        least = 0 if self._exact else int(GAP * max(shape.side for shape in self._shapes))
        self._least = max(least, SIDE) if least and self._quality else least

    def captions(self, source: Source) -> Iterator[tuple[int, Answer]]:
        """Tags for each picture, as they are ready."""
        out: queue.SimpleQueue[Said] = queue.SimpleQueue()
        ring = Ring(self._shapes, self._batch)
        models = [(net.shape, net.scores) for net in self._nets]
        runner = Runner(models, self._errors, self._batch, out, self._rounded)
        with ThreadPoolExecutor(1, "model") as model, ThreadPoolExecutor(self._decoders, "decode") as decoders:
            model.submit(runner.serve, ring).add_done_callback(_Done(out))
            try:
                yield from self._answers(source, ring, out, decoders)
            finally:
                ring.stop()
                decoders.shutdown(cancel_futures=True)
                self._batch = min(self._batch, runner.most)  # what was out of memory once is not tried again

    def close(self) -> None:
        """Give back the models."""
        self._nets = []

    def _answers(
        self, source: Source, ring: Ring, out: queue.SimpleQueue[Said], decoders: ThreadPoolExecutor
    ) -> Iterator[tuple[int, Answer]]:
        under_way = 0
        while True:
            room = self.ahead - under_way
            pictures = source.take(room, wait=under_way == 0) if room > 0 else ()
            for picture in pictures:
                decoders.submit(self._decode, picture, source, ring, out).add_done_callback(_Done(out))
            under_way += len(pictures)
            if under_way == 0:
                return
            try:
                said = out.get(timeout=POLL if under_way < self.ahead else None)
            except queue.Empty:
                continue
            if isinstance(said, BaseException):
                raise said
            under_way -= 1
            yield said if isinstance(said, tuple) else (said.item.picture.id, self._answer(said))

    def _decode(self, picture: Picture, source: Source, ring: Ring, out: queue.SimpleQueue[Said]) -> None:
        """One picture from its file into a row; what does not decode is answered at once."""
        if source.dropped(picture.id):
            out.put((picture.id, Answer(error="nobody wants it any more")))
            return
        measured = self._quality and picture.quality
        found = decode(picture.path, self._least, GRAIN if measured else 0)
        if isinstance(found, Damaged):
            out.put((picture.id, Answer(error=found.text)))
            return
        quality = measure(found) if measured else None
        squares = [(shape, squared(found, shape)) for shape in dict.fromkeys(self._shapes)]
        row = ring.claim()
        if row is None:
            return
        for shape, square in squares:
            fill(row.batch.rows[shape][row.at], square, shape)
        ring.filled(row, Item(picture, quality))

    def _answer(self, scored: Scored) -> Answer:
        if scored.error:
            return Answer(error=scored.error)
        picture, quality = scored.item.picture, scored.item.quality
        if any(not (scores.max(initial=0.0) < math.inf) for scores in scored.scores):
            return Answer(error=NO_NUMBERS, quality=quality)
        tags = self._tagger.tags(scored.scores)
        caption = finish(written(tags), picture.style.over(self._style), True, picture.existing)
        votes = tuple((tag.name, tag.votes) for tag in tags if tag.votes) if len(self._nets) > 1 else ()
        return Answer(caption, quality=quality, votes=votes) if caption else Answer(error=NOTHING, quality=quality)


class _Done:
    """Has a thread's exception raised where its answer is waited for."""

    def __init__(self, out: queue.SimpleQueue[Said]) -> None:
        self._out = out

    def __call__(self, future: Future[None]) -> None:
        error = None if future.cancelled() else future.exception()
        if error is not None:
            self._out.put(error)


# ---------------------------------------------------------------- options


def taste_of(options: Options) -> Taste:
    """How tags are chosen and written, by the options merge, mcut, rating, order and max_tags."""
    return Taste(
        text(options, "merge", "union"),
        flag(options, "mcut") is True,
        text(options, "rating", "none"),
        text(options, "order", "house"),
        int(number(options, "max_tags", 0)),
    )


def _specs(options: Options) -> list[tuple[str, dict[str, float]]]:
    """Each model with the thresholds that were given for it alone."""
    return [model_spec(item) for item in texts(options, "models")]


def _nets(options: Options) -> tuple[list[Net], str]:
    """Every model, loaded, and where they run: the first of them that had to take something else than was asked says so."""
    where = wanted(text(options, "device", "auto"))
    hub = Hub(text(options, "token"), flag(options, "offline") is True)
    specs = _specs(options)
    if not specs:
        raise Unfit("the engine onnx wants `models`: names of taggers, folders or addresses")
    nets, devices = [], list[str]()
    for name, _ in specs:
        weights = find(name, hub, tell)
        tell(f"loading {weights.entry.name}")
        session, device = opened(weights.model, where)
        nets.append(Net(weights, session))
        devices.append(device)
    return nets, next((device for device in devices if not device.startswith("CUDA")), devices[0])


def _model(net: Net, spec: tuple[str, dict[str, float]], options: Options) -> Model:
    """A net's names and thresholds. Raises Unfit where it gives more or fewer scores than have names."""
    vocabulary = read(net.labels)
    net.fit(len(vocabulary.names))
    asked = {name: float(value) for name, _, value in (item.partition(PAIR) for item in texts(options, "thresholds"))}
    for category in ("general", "character"):
        value = number(options, category, -1.0)
        if value >= 0:
            asked[category] = value
    return Model(net.entry.name, vocabulary, net.entry.thresholds, {**asked, **spec[1]}, net.entry.generation)
