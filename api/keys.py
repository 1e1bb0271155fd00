"""The app's own things under typed keys, so that every route finds them without a global."""

from __future__ import annotations

import asyncio

from aiohttp import web

from ..store.store import Store
from .ports import Control, FaceSettings, Feed

STORE = web.AppKey("store", Store)
CONTROL: web.AppKey[Control] = web.AppKey("control")
FEED: web.AppKey[Feed] = web.AppKey("feed")
SETTINGS = web.AppKey("settings", FaceSettings)
STOPPING = web.AppKey("stopping", asyncio.Event)  # set when the daemon stops: open streams end at once
