"""The table of captioner engines: the word of the config and the class behind it.

What must hold: an engine's module is imported when one is made and not before, so that a tagger's process holds no HTTP client and a
remote model's no runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...rules.terms import Param
from .protocol import Captioner

Options = Mapping[str, Param]


def _basic(options: Options) -> Captioner:
    from .basic import Basic

    return Basic(options)


def _simple(options: Options) -> Captioner:
    from .simple import Simple

    return Simple(options)


def _onnx(options: Options) -> Captioner:
    from .onnx import Onnx

    return Onnx(options)


def _llama(options: Options) -> Captioner:
    from .llama import Llama

    return Llama(options)


def _ollama(options: Options) -> Captioner:
    from .ollama import Ollama

    return Ollama(options)


def _openai(options: Options) -> Captioner:
    from .openai import OpenAI

    return OpenAI(options)


def _http(options: Options) -> Captioner:
    from .http import Http

    return Http(options)


ENGINES: Mapping[str, Callable[[Options], Captioner]] = {
    "basic": _basic,
    "simple": _simple,
    "onnx": _onnx,
    "llama": _llama,
    "ollama": _ollama,
    "openai": _openai,
    "http": _http,
}


def make(engine: str, options: Options) -> Captioner:
    """A captioner of an engine. Raises KeyError for an unknown engine (the config check has refused it before).

    Raises ImportError with the way to install it where an extra is missing, OSError or ValueError where a model is.
    """
    return ENGINES[engine](options)
