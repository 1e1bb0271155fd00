"""What a captioner can be asked before any picture: whether it could work now, which models are offered, and to fetch its model.

What must hold: nothing is loaded and no process is started; a server is asked once and briefly; a local engine only looks for files and for
its library. A reason is one line for a person, '' where nothing is wrong.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from collections.abc import AsyncGenerator
from urllib.parse import urlsplit

import aiohttp

from .client import Client, Trouble, reason
from .http import HttpDialect
from .ollama import URL, OllamaDialect, Pulled
from .openai import OpenAIDialect, base_url
from .options import Options, flag, model_spec, text, texts
from .served import Dialect

REMOTE = ("ollama", "openai", "http")


def model_of(engine: str, options: Options) -> str:
    """The model that is asked for, in a line; '' where the engine has none, or the server chooses."""
    return ", ".join(texts(options, "models")) if engine == "onnx" else text(options, "model")


def where(engine: str, options: Options) -> str:
    """Where it is to run: an address, or the device that is asked for."""
    if engine in REMOTE:
        parts = urlsplit(_url(engine, options))
        return f"{parts.scheme}://{parts.netloc}"
    return text(options, "device", "auto") if engine in ("onnx", "llama") else "cpu"


def lacks(engine: str, options: Options) -> str:
    """What a local engine lacks. Blocking: looks at the disk."""
    if engine == "onnx":
        return _tagger_lacks(options)
    if engine == "llama":
        from .gguf_files import find
        from .llama import INSTALL as LLAMA

        if importlib.util.find_spec("llama_cpp") is None:
            return f"the engine llama needs llama-cpp-python: {LLAMA}"
        try:
            find(text(options, "model"), text(options, "mmproj"), text(options, "hub"))
        except ValueError as error:
            return str(error)
    return ""


def _tagger_lacks(options: Options) -> str:
    from .registry import NoSuchTagger
    from .runtime import INSTALL
    from .weights import Hub, NoWeights, find, is_local

    if importlib.util.find_spec("onnxruntime") is None:
        return f"the engine onnx needs onnxruntime: {INSTALL}"
    fetches = flag(options, "offline") is not True and importlib.util.find_spec("huggingface_hub") is not None
    try:
        for name, _ in map(model_spec, texts(options, "models")):
            if is_local(name) or not fetches:  # what may be fetched is fetched when it is needed
                find(name, Hub(offline=True), lambda said: None)
    except (NoWeights, NoSuchTagger, ImportError) as error:
        return " ".join(str(error).split())
    return ""


async def offered(session: aiohttp.ClientSession, engine: str, options: Options, seconds: float) -> list[str]:
    """The models one may choose from: a server's, or the taggers that onnx knows by name. Raises Trouble."""
    if engine == "onnx":
        from .registry import entries

        return list(await asyncio.to_thread(entries))
    if engine == "http":
        await _reach(_url(engine, options), seconds)
    if engine not in REMOTE:
        return []
    client = Client(session, _url(engine, options), text(options, "api_key"))
    return await _dialect(engine, options).models(client, seconds)


def has(models: list[str], wanted: str) -> bool:
    """Whether a model is among those offered; Ollama leaves `:latest` out where people do."""
    return not wanted or wanted in models or f"{wanted}:latest" in models


async def pull(session: aiohttp.ClientSession, engine: str, options: Options) -> AsyncGenerator[Pulled, None]:
    """Fetch the model: Ollama's by Ollama, a tagger's weights to this machine. Raises Trouble; one for an engine that cannot."""
    if engine == "ollama":
        client = Client(session, _url(engine, options), text(options, "api_key"))
        async with contextlib.aclosing(OllamaDialect(options).pull(client)) as going:
            async for pulled in going:
                yield pulled
    elif engine == "onnx":
        async with contextlib.aclosing(_weights(options)) as going:
            async for pulled in going:
                yield pulled
    else:
        raise Trouble(f"the engine {engine} fetches no models: only ollama and onnx do")


async def _weights(options: Options) -> AsyncGenerator[Pulled, None]:
    """A tagger's files, one after the other; what is said of them is all that is known of how far they are."""
    from .registry import NoSuchTagger
    from .weights import Hub, NoWeights, find

    loop, said = asyncio.get_running_loop(), asyncio.Queue[str | None]()

    def tell(words: str) -> None:
        loop.call_soon_threadsafe(said.put_nowait, words)

    def fetch() -> None:
        hub = Hub(text(options, "token"), flag(options, "offline") is True)
        for item in texts(options, "models"):
            find(model_spec(item)[0], hub, tell)

    fetching = asyncio.create_task(asyncio.to_thread(fetch))
    fetching.add_done_callback(lambda _: said.put_nowait(None))
    while (words := await said.get()) is not None:
        yield Pulled(words, 0, 0)
    try:
        await fetching
    except (NoWeights, NoSuchTagger, ImportError, OSError) as error:
        raise Trouble(" ".join(str(error).split())) from None
    yield Pulled("success", 0, 0)


def _url(engine: str, options: Options) -> str:
    if engine == "ollama":
        return text(options, "url", URL)
    return base_url(text(options, "url")) if engine == "openai" else text(options, "url")


def _dialect(engine: str, options: Options) -> Dialect:
    if engine == "ollama":
        return OllamaDialect(options)
    return OpenAIDialect(options) if engine == "openai" else HttpDialect(options)


async def _reach(url: str, seconds: float) -> None:
    """Somebody listens at an address. Raises Trouble."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(seconds):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError) as error:
        why = "does not answer" if isinstance(error, TimeoutError) else reason(error)
        raise Trouble(f"{parts.scheme}://{parts.netloc}: {why}", 30.0) from None
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
