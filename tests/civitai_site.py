"""CivitAI as the program meets it, on loopback: batch and single look-ups, and every kind of trouble that a test scripts.

The shapes are those of its documentation (site/reference/model-versions.md of civitai/civitai-developer-docs): upper-case digests, a
JSON 404 for what is unknown, web pages from what stands in front of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

Script = Callable[[web.Request], "web.StreamResponse | None"]
PAGE = "<!DOCTYPE html><html><body>Just a moment...</body></html>"


def version(sha256: str, base: str, kind: str = "LORA", number: int = 100, **more: object) -> dict[str, object]:
    """One model version as `GET by-hash` answers."""
    return {
        "id": number,
        "modelId": number + 1,
        "name": "v1.0",
        "baseModel": base,
        "baseModelType": "Standard",
        "nsfwLevel": 3,
        "trainedWords": ["blue hat"],
        "stats": {"downloadCount": 1},
        "model": {"name": "A style", "type": kind, "nsfw": False, "poi": False},
        "files": [{"id": 1, "name": "style.safetensors", "type": "Model", "hashes": {"SHA256": sha256.upper()}, "primary": True}],
        "images": [],
        **more,
    }


@dataclass
class CivitaiSite:
    """`versions` by lower-case digest; `scripts` answer first, one a request, and None lets the site answer itself."""

    versions: dict[str, dict[str, object]] = field(default_factory=dict)
    scripts: list[Script] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)  # "POST ids 2", "GET ABCD…"
    tokens: list[str | None] = field(default_factory=list)

    def always(self, script: Script) -> None:
        """Answer every request so."""
        self.scripts = [script] * 10_000

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Any request to the site."""
        self.tokens.append(request.headers.get("Authorization"))
        body = await request.json() if request.method == "POST" else None
        name = request.path.rsplit("/", 1)[-1]
        self.asked.append(f"POST {name} {len(body)}" if body is not None else f"GET {name}")
        scripted = self.scripts.pop(0)(request) if self.scripts else None
        if scripted is not None:
            return scripted
        if body is not None:
            known = [(text, self.versions[text.lower()]) for text in body if text.lower() in self.versions]
            return web.json_response([{"modelVersionId": v["id"], "modelId": v["modelId"], "hash": text} for text, v in known])
        found = self.versions.get(name.lower())
        return web.json_response(found) if found else web.json_response({"error": "Model not found"}, status=404)

    def app(self) -> web.Application:
        """The application to be served."""
        app = web.Application(client_max_size=8 << 20)
        app.router.add_route("*", "/api/v1/model-versions/{tail:.*}", self.answer)
        return app


def status(code: int, **headers: str) -> Script:
    """A bare status."""
    return lambda request: web.json_response({"error": "no"}, status=code, headers=headers)


def page(code: int = 200) -> Script:
    """A web page instead of JSON."""
    return lambda request: web.Response(text=PAGE, content_type="text/html", status=code)


def text(body: str, **headers: str) -> Script:
    """Whatever text, called JSON."""
    return lambda request: web.Response(text=body, content_type="application/json", headers=headers)


def moved(to: str, code: int = 307) -> Script:
    """A redirect."""
    return lambda request: web.Response(status=code, headers={"Location": to})


class Never(web.StreamResponse):
    """An answer that never comes."""

    async def prepare(self, request: web.BaseRequest) -> None:
        """Wait until the asker goes away."""
        await asyncio.Event().wait()


def never(request: web.Request) -> web.StreamResponse:
    """Accept and say nothing."""
    return Never()
