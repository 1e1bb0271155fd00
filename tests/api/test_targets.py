"""Targets over HTTP: what is listed, what is ordered of the daemon, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from dropdock.api.targets import SHOWN, TARGETS, Step, TargetStatus
from dropdock.rules.terms import Facts, Kind, Model, Outcome, Status, Target
from dropdock.store import blobs, links, models
from dropdock.store.blobs import BlobState
from dropdock.store.store import Entry, Store

SHA = "ab" * 32
COMFY = Target("comfyui", "comfyui", Path("/comfy"), map=(("lora", "loras/{base}"),))


@dataclass
class FakeTargets:
    """Deployment as far as the face asks it; wishes are written to the real store."""

    store: Store
    asked: list[object] = field(default_factory=list)
    steps: tuple[Step, ...] = (Step("link", "/comfy/a", "/hub/a"), Step("conflict", "/comfy/b", "/hub/b", "a file stands there"))

    async def list_targets(self) -> tuple[TargetStatus, ...]:
        forge = TargetStatus(replace(COMFY, name="forge", enabled=False, map=()), True, False)
        return TargetStatus(COMFY, True, True, "http://127.0.0.1:8188", 5.0, False, "nobody listens there"), forge

    def _known(self, name: str) -> None:
        if name not in ("comfyui", "forge"):
            raise KeyError(name)

    async def enable(self, name: str, enabled: bool) -> None:
        self._known(name)
        self.asked.append((name, enabled))

    async def plan(self, name: str) -> tuple[Step, ...]:
        self._known(name)
        return self.steps

    async def deploy(self, sha256: str | None, targets: list[str], on: bool) -> list[str]:
        for name in targets:
            self._known(name)
        return await self.store.write(links.deploy, sha256, targets, on, ["comfyui", "forge"])

    def audit(self) -> None:
        self.asked.append("audit")


@pytest.fixture
async def targets(face, full, aiohttp_client):
    """A client over a store with one of everything, and the deployment behind it."""
    fake = FakeTargets(face.store)
    app = face.app()
    app[TARGETS] = fake
    fake.client = await aiohttp_client(app)
    return fake


async def ask(targets, method: str, path: str, status: int = 200):
    answer = await targets.client.request(method, "/api/v1" + path)
    assert answer.status == status, await answer.text()
    return await answer.json(content_type=None)


async def test_targets_are_listed_with_their_links(targets):
    """Folder, switch, map, links by state and the app's last word."""
    comfy, forge = (await ask(targets, "GET", "/targets"))["targets"]
    assert (comfy["enabled"], comfy["configured"], comfy["exists"]) == (True, True, True)
    assert comfy["links"] == {"ok": 1} and comfy["map"] == {"lora": "loras/{base}"}
    assert comfy["told"] == {"at": 5.0, "ok": False, "note": "nobody listens there"}
    assert (forge["enabled"], forge["configured"], forge["told"], forge["links"]) == (False, True, None, {"conflict": 1})


async def test_a_plan_is_told_step_by_step(targets):
    """At most so many steps are written out, and how many there are in all."""
    found = await ask(targets, "GET", "/targets/comfyui/plan")
    assert [(s["do"], s["note"]) for s in found["steps"]] == [("link", ""), ("conflict", "a file stands there")]
    targets.steps = targets.steps * SHOWN
    found = await ask(targets, "GET", "/targets/comfyui/plan")
    assert (len(found["steps"]), found["total"]) == (SHOWN, 2 * SHOWN)


async def test_switches_and_audits_are_passed_on(targets):
    """Each order reaches the daemon once."""
    assert await ask(targets, "POST", "/targets/forge/enable") == {"name": "forge", "enabled": True}
    assert await ask(targets, "POST", "/targets/forge/disable") == {"name": "forge", "enabled": False}
    await ask(targets, "POST", "/links/audit", 202)
    assert targets.asked == [("forge", True), ("forge", False), "audit"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/targets/nobody/enable"),
        ("GET", "/targets/nobody/plan"),
        ("POST", f"/models/{SHA}/deploy?targets=nobody"),
        ("POST", "/deploy?targets=comfyui,nobody"),
        ("POST", "/models/" + "0" * 64 + "/deploy"),
    ],
)
async def test_what_is_not_there_is_refused(targets, method, path):
    """A target or a model of no such name: 404, and nothing was changed."""
    before = await targets.store.read(models.get, SHA)
    assert "not-found" in (await ask(targets, method, path, 404))["type"]
    assert await targets.store.read(models.get, SHA) == before


async def test_deploying_over_http(targets):
    """One model by the start of its digest or by name, some targets or all; then all models."""
    assert (await ask(targets, "POST", f"/models/{SHA[:8]}/undeploy?targets=forge", 202))["wanted"] == "comfyui"
    assert (await ask(targets, "POST", "/models/a.safetensors/deploy?targets=forge", 202))["wanted"] == "comfyui,forge"
    assert (await ask(targets, "POST", f"/models/{SHA}/undeploy", 202))["wanted"] is None
    assert await ask(targets, "POST", "/deploy", 202) == {"changed": 1}
    assert await ask(targets, "POST", "/undeploy?targets=comfyui", 202) == {"changed": 1}
    assert "bad-parameter" in (await ask(targets, "POST", "/deploy?target=comfyui", 400))["type"]


async def test_a_librarys_model_is_not_deployed(targets):
    """Only what the hub keeps has a place that links may count on."""
    at = Path("/comfy/models/x.safetensors")
    tracked = Model("cd" * 32, "ef" * 16, 1, at.name, at, Facts(at, Kind.MODEL, 1), in_hub=False)
    await targets.store.record(Entry("track", Outcome(Status.DONE, models=(tracked,)), quiet=True))
    assert "library" in (await ask(targets, "POST", f"/models/{'cd' * 32}/deploy", 409))["detail"]


async def test_problems_are_filtered(targets):
    """Only what wants a person's attention, with its note."""
    found = await ask(targets, "GET", "/links?problems=true")
    assert [(link["target"], link["state"]) for link in found["links"]] == [("forge", "conflict")]
    assert "bad-parameter" in (await ask(targets, "GET", "/links?problems=maybe", 400))["type"]


async def test_the_status_says_what_is_wrong_in_the_hub(targets):
    """A blob that is gone is a notice until it is back."""
    await targets.store.write(blobs.mark, [SHA], BlobState.GONE)
    assert any("gone: 1" in notice for notice in (await ask(targets, "GET", "/status"))["notices"])
    await targets.store.write(blobs.mark, [SHA], BlobState.OK)
    assert (await ask(targets, "GET", "/status"))["notices"] == []
