"""Makers for tests of deployment: a home with three apps, models in its hub as storing leaves them, and what stands in the apps."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dropdock.rules.terms import Facts, Kind, Model, ModelFacts, Outcome, Status
from dropdock.store import models
from dropdock.store.store import Entry
from house_made import Home, Opened

MORE = "  forge: {{layout: forge, path: {root}/forge}}\n  kit: {{layout: ai-toolkit, path: {root}/kit, enabled: false}}\n"


def home_of(root: Path, more: str = "") -> Home:
    for name in ("forge", "kit"):
        (root / name).mkdir()
    return Home(root, MORE.format(root=root) + more)


async def keep(
    o: Opened, name: str, type: str = "lora", base: str = "sdxl", beside: tuple[str, ...] = (), wanted: str | None = "*"
) -> Model:
    """A model in the hub, with files beside it, as storing leaves it."""
    sha = hashlib.sha256(name.encode()).hexdigest()
    blob = o.home.hub / sha[:2] / sha / name
    blob.parent.mkdir(parents=True)
    blob.write_bytes(name.encode())
    for companion in beside:
        (blob.parent / companion).write_bytes(companion.encode())
    roles = ("llm", "text_encoder") if type == "llm" else (type,)
    facts = ModelFacts("safetensors", type, base, roles=roles, confidences={"type": 1.0, "base": 1.0})
    size = blob.stat().st_size
    model = Model(sha, sha[:32], size, name, blob, Facts(blob, Kind.MODEL, size, model=facts))
    await o.store.record(Entry("store", Outcome(Status.DONE, models=(model,)), quiet=True))
    if wanted is not None:
        await o.store.write(models.want, sha, wanted)
    return model


def tree(root: Path) -> dict[str, str]:
    """Every link and file below the app folders, with what it is."""
    found = {}
    for app in ("ComfyUI", "forge", "kit"):
        for path in sorted((root / app).rglob("*")):
            if path.is_symlink() or path.is_file():
                found[str(path.relative_to(root))] = "link" if path.is_symlink() else "file"
    return found
