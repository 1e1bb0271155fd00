"""llama: a GGUF model with its vision half, run by llama.cpp in this process (llama-cpp-python, extra `llama`).

What must hold: one question at a time; JSON is forced by a grammar; a question stops at its time-out or when nobody waits any more,
between two tokens; a prompt that does not fit the context is asked again with half the picture; nothing is printed; the model is loaded
anew after `recycle` pictures, since long runs were seen to leak. The handler is the generic one, which uses the chat template in the
GGUF: the named ones carry templates of their own, and Qwen2.5-VL's loses a line end.
"""

from __future__ import annotations

import contextlib
import importlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Protocol

from . import news
from .client import dig
from .gguf_files import find
from .loops import loop_start
from .options import Options, number, text
from .picture_bytes import SIDE, Shot, shoot, smaller
from .prompts import Question, bounded_schema
from .protocol import Answer, Picture, Source
from .served import SHARE
from .talk import Patience, Reply, manner_of, talk, with_quality

INSTALL = (
    "pipx inject dropdock llama-cpp-python (or pip install 'dropdock[llama]'; with CMAKE_ARGS=-DGGML_CUDA=on for an NVIDIA card)"
)
CAPTION = 1000  # characters of a caption that the grammar allows
LOOK = 48  # tokens between two looks for a circle
BEAT = 20.0  # seconds between two signs of life while a model loads
_ERROR = 4  # GGML_LOG_LEVEL_ERROR


class Model(Protocol):
    """What is used of llama_cpp.Llama."""

    def create_chat_completion(self, **asked: object) -> Iterator[Mapping[str, object]]:
        """The chunks of an answer."""
        ...

    def close(self) -> None:
        """Free its memory."""
        ...


@dataclass(frozen=True, slots=True)
class Setup:
    """How a model is loaded."""

    model: Path
    mmproj: Path
    layers: int  # on the card; -1 all
    card: int
    context: int
    threads: int | None


class Llama:
    """engine: llama."""

    ahead = 2  # the next picture is decoded while one is asked about

    def __init__(self, options: Options) -> None:
        self._module = library()
        self._errors = quiet(self._module)
        model, mmproj = find(text(options, "model"), text(options, "mmproj"), text(options, "hub"))
        self._setup, self.device = _place(self._module, options, model, mmproj)
        self._manner, self._patience = manner_of(options), Patience()
        self._system = text(options, "system")
        self._seconds = number(options, "timeout", 120.0) * SHARE
        self._side, self._recycle = int(number(options, "side", SIDE)), int(number(options, "recycle", 500))
        self._hands = ThreadPoolExecutor(1, "llama")
        self._model: Model | None = self._load()
        self._used = 0

    def captions(self, source: Source) -> Iterator[tuple[int, Answer]]:
        """Each picture's answer, in order."""
        coming: list[tuple[Picture, Future[Shot | str]]] = []
        while True:
            for picture in source.take(2 - len(coming), wait=not coming):
                coming.append((picture, self._hands.submit(shoot, picture.path, self._side, picture.quality)))
            if not coming:
                return
            picture, decoding = coming.pop(0)
            shot = decoding.result()
            if isinstance(shot, str):
                yield picture.id, Answer(error=shot)
                continue
            answer = self._caption(picture, shot, lambda id=picture.id: source.dropped(id))  # type: ignore[misc]
            yield picture.id, self._patience.judge(with_quality(answer, shot.quality))
            self._freshen()

    def close(self) -> None:
        """Free the model; left to the interpreter's end it complains."""
        model, self._model = self._model, None
        if model is not None:
            model.close()
        self._hands.shutdown(wait=False, cancel_futures=True)

    # ------------------------------------------------------------ one picture

    def _caption(self, picture: Picture, shot: Shot, unwanted: Callable[[], bool]) -> Answer:
        deadline = time.monotonic() + self._seconds
        conversation = talk(picture, self._manner)
        question = next(conversation)
        while True:
            reply = None
            try:
                reply, shot = self._ask_smaller(question, shot, deadline, unwanted)
            except Unanswerable as error:
                return Answer(error=str(error))
            if unwanted():
                return Answer(error="cancelled")
            try:
                question = conversation.send(reply)
            except StopIteration as end:
                answer = end.value
                assert isinstance(answer, Answer)
                return answer

    def _ask_smaller(
        self, question: Question, shot: Shot, deadline: float, unwanted: Callable[[], bool]
    ) -> tuple[Reply | None, Shot]:
        """The reply, and the picture as small as it had to be made to fit into the context. Raises Unanswerable."""
        while True:
            try:
                return self._ask(question, shot, deadline, unwanted), shot
            except ValueError as error:
                if "n_ctx" not in str(error) and "context" not in str(error).lower():
                    raise Unanswerable(f"the model cannot be asked: {_line(error)}") from None
                less = smaller(shot)
                if less is None:
                    raise Unanswerable("picture and question do not fit the model: raise `context`") from None
                shot = less
            except RuntimeError as error:  # the decoder failed: out of memory, or a context that is spoilt now
                self._reload()
                raise Unanswerable(f"the model failed: {_line(error)} {' '.join(self._errors)}".strip()[:300]) from None

    def _ask(self, question: Question, shot: Shot, deadline: float, unwanted: Callable[[], bool]) -> Reply | None:
        """None when it took too long."""
        content = [{"type": "image_url", "image_url": {"url": shot.data_url}}, {"type": "text", "text": question.text}]
        system = [{"role": "system", "content": self._system}] if self._system else []
        form = {"type": "json_object", "schema": bounded_schema(CAPTION)} if question.json else None
        assert self._model is not None
        chunks = self._model.create_chat_completion(
            messages=[*system, {"role": "user", "content": content}],
            max_tokens=question.tokens,
            temperature=question.temperature,
            repeat_penalty=question.penalty,
            seed=question.seed,
            response_format=form,
            stream=True,
        )
        said, ended = list[str](), ""
        with contextlib.closing(chunks):  # type: ignore[type-var]  # a generator; closing it stops the model
            for count, chunk in enumerate(chunks, 1):
                piece, why = dig(chunk, "choices", 0, "delta", "content"), dig(chunk, "choices", 0, "finish_reason")
                said.append(piece if isinstance(piece, str) else "")
                ended = why if isinstance(why, str) else ended
                if unwanted() or time.monotonic() > deadline:
                    return None
                if count % LOOK == 0 and loop_start("".join(said)) is not None:
                    return Reply("".join(said), cut=True)
        return Reply("".join(said), cut=ended == "length")

    # ------------------------------------------------------------ the model

    def _freshen(self) -> None:
        self._used += 1
        if self._recycle and self._used >= self._recycle:
            self._reload()

    def _reload(self) -> None:
        model, self._model = self._model, None
        if model is not None:
            model.close()
        self._model, self._used = self._load(), 0

    def _load(self) -> Model:
        """Load on a thread and tell that we live: a large file on a slow disk takes minutes. Raises ValueError."""
        name = self._setup.model.name
        news.tell(f"loading {name}")
        loading = self._hands.submit(_load, self._module, self._setup)
        while True:
            try:
                return loading.result(timeout=BEAT)
            except TimeoutError:
                if loading.done():
                    raise
                news.tell(f"loading {name}")
            except (ValueError, RuntimeError, AssertionError, OSError) as error:
                why = " ".join(self._errors) or _line(error)
                raise ValueError(f"{name} cannot be loaded: {why[:300]}") from None


class Unanswerable(Exception):
    """This picture cannot be asked about; the text is for people."""


def library() -> ModuleType:
    """The module llama_cpp. Raises ImportError with the way to install it."""
    try:
        return importlib.import_module("llama_cpp")
    except ImportError:
        raise ImportError(f"the engine llama needs llama-cpp-python: {INSTALL}") from None
    except (OSError, RuntimeError) as error:  # its library lacks one of its own
        raise ImportError(f"llama-cpp-python does not load ({_line(error)}): install it anew: {INSTALL}") from None


def quiet(module: ModuleType) -> deque[str]:
    """Have llama.cpp print nothing; its last errors are kept here, for messages."""
    kept: deque[str] = deque(maxlen=3)

    def hear(level: int, said: bytes, _: object) -> None:
        if level == _ERROR and (line := said.decode("utf-8", "replace").strip()):
            kept.append(line[:160])

    vision = importlib.import_module(f"{module.__name__}.mtmd_cpp")
    callback = module.llama_log_callback(hear)
    for tell in (module.llama_log_set, vision.mtmd_log_set, vision.mtmd_helper_log_set):
        tell(callback, None)
    _CALLBACKS.append(callback)
    return kept


_CALLBACKS: list[object] = []  # C holds pointers to these for as long as the process lives


def _place(module: ModuleType, options: Options, model: Path, mmproj: Path) -> tuple[Setup, str]:
    """Where it runs, and how that is told to people."""
    word, layers = text(options, "device", "auto").casefold(), int(number(options, "gpu_layers", -1))
    able = bool(module.llama_supports_gpu_offload())
    if word == "cpu" or not able:
        layers = 0
    card = word.partition(":")[2]
    where = "cpu" if not layers else f"cuda:{card or 0}" if word.startswith("cuda") else "gpu"
    if word.startswith("cuda") and not able:
        where = "cpu (llama-cpp-python was built without a card: reinstall it with CMAKE_ARGS=-DGGML_CUDA=on)"
    threads = options.get("threads")
    context = int(number(options, "context", 8192))
    spot = int(card) if card.isdecimal() else 0
    return Setup(model, mmproj, layers, spot, context, threads if isinstance(threads, int) else None), where


def _load(module: ModuleType, setup: Setup) -> Model:
    formats = importlib.import_module(f"{module.__name__}.llama_chat_format")
    eyes = formats.MTMDChatHandler(clip_model_path=str(setup.mmproj), verbose=False, use_gpu=setup.layers != 0)
    made: Model = module.Llama(
        model_path=str(setup.model),
        chat_handler=eyes,
        n_gpu_layers=setup.layers,
        main_gpu=setup.card,
        n_ctx=setup.context,
        n_threads=setup.threads,
        verbose=False,
    )
    return made


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
