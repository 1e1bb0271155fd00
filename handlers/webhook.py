"""webhook: what is known of a file, as JSON, to an address of the local configuration.

What must hold: the address and what it answers never reach a log or an error with more than scheme and host; redirects are not followed,
so that the configuration alone says who is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp

from .task import Failure


def shown(url: str) -> str:
    """An address as it may be shown: scheme, host and port."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


async def send(session: aiohttp.ClientSession, url: str, body: Mapping[str, object], seconds: float) -> str:
    """POST a body; what was answered, in a word. Raises Failure for anything but a 2xx answer within so many seconds."""
    limit = aiohttp.ClientTimeout(total=seconds)
    try:
        async with session.post(url, json=body, timeout=limit, allow_redirects=False) as answer:
            status = answer.status
    except TimeoutError:
        raise Failure(f"{shown(url)} did not answer within {seconds:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Failure(f"{shown(url)} cannot be told: {type(error).__name__}") from None
    if not 200 <= status < 300:
        raise Failure(f"{shown(url)} answered {status}")
    return f"{shown(url)} answered {status}"
