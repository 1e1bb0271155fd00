"""Every reading route and every verb, over a real store with one of everything."""

import dataclasses
from pathlib import Path

import pytest
from dropdock.rules.terms import Facts, Kind, Model, ModelFacts
from dropdock.store import blobs, datasets, history, jobs, models

SHA = "ab" * 32


async def get(client, path, status=200):
    """The JSON of an address, which must answer with `status`."""
    answer = await client.get("/api/v1" + path)
    assert answer.status == status, await answer.text()
    return await answer.json(content_type=None)


async def post(client, path, status=200, **body):
    answer = await client.post("/api/v1" + path, **body)
    assert answer.status == status, await answer.text()
    return await answer.json(content_type=None)


async def test_health_says_nothing_but_ready_or_not(face, client):
    """A probe sees 503 until the daemon is ready and 200 from then on, and learns nothing else."""
    assert await get(client, "/health") == {"status": "ok"}
    face.control.state = dataclasses.replace(face.control.state, ready=False)
    assert await get(client, "/health", 503) == {"status": "starting"}


async def test_status_counts_everything(client, full):
    """One answer says how the daemon is and how much of everything there is."""
    found = await get(client, "/status")
    assert (found["version"], found["pid"], found["uptime"], found["waiting"]) == ("1.2.3", 4711, 60.0, 2)
    assert found["files"] == {"done": 5, "held": 1}  # with three pictures and a caption
    assert found["models"] == {"count": 1, "bytes": 10}
    lanes = {lane["lane"]: lane for lane in found["lanes"]}
    assert lanes["hash"] == {"lane": "hash", "workers": 1, "paused": False, "jobs": {"queued": 2}}
    assert set(lanes) == {"hash", "cpu", "net", "caption"}
    assert found["last"] == (await get(client, "/history"))["history"][0]["id"]


async def test_watches_are_listed_paused_and_resumed(client, full):
    """A watch that is told to pause says so when it is listed, until it is resumed."""
    assert [w["name"] for w in (await get(client, "/watches"))["watches"]] == ["comfy", "inbox"]
    assert await post(client, "/watches/inbox/pause") == {"watch": "inbox", "paused": True}
    assert [w["paused"] for w in (await get(client, "/watches"))["watches"]] == [False, True]
    await post(client, "/watches/inbox/resume")
    assert [w["paused"] for w in (await get(client, "/watches"))["watches"]] == [False, False]
    await post(client, "/watches/nobody/pause", 404)


async def test_rescan_names_what_is_compared(client, full):
    """One watch or all are compared; an unknown one is not found."""
    assert (await post(client, "/rescan", 202))["watches"] == ["comfy", "inbox"]
    assert (await post(client, "/watches/inbox/rescan", 202))["watches"] == ["inbox"]
    await post(client, "/watches/nobody/rescan", 404)


async def test_files_are_filtered_and_paged(face, client, full, make_arrive):
    """Every filter narrows the list, companions are not in it, and following `next` visits every file once."""
    for n in range(5):
        await make_arrive(face.store, Path(f"/in/more{n}.bin"), "left", job=False)
    assert [f["name"] for f in (await get(client, "/files"))["files"]][:2] == ["a.safetensors", "what.bin"]
    assert [f["name"] for f in (await get(client, "/files?state=held"))["files"]] == ["what.bin"]
    assert len((await get(client, "/files?name=MORE&kind=model&watch=inbox"))["files"]) == 5
    assert (await get(client, "/files?kind=archive"))["files"] == []
    seen, after = [], 0
    while after is not None:
        page = await get(client, f"/files?limit=3&after={after}")
        seen += [f["id"] for f in page["files"]]
        after = page["next"]
    assert len(seen) == len(set(seen)) == 11


async def test_a_file_tells_its_story(client, full):
    """One file shows what it is and on what evidence, the rule, where it ended, its companions and its history."""
    found = await get(client, f"/files/{full['file']}")
    assert (found["rule"], found["why"], found["end"], found["end_at"]) == ("models", "surely", "hub", "/hub/ab/a.safetensors")
    assert found["facts"]["evidence"][0]["text"] == "It has lora_A keys."
    assert [c["name"] for c in found["companions"]] == ["a.preview.png"]
    assert [h["event"] for h in found["history"]] == ["performed", "arrived"]
    companion = await get(client, f"/files/{found['companions'][0]['id']}")
    assert (companion["name"], companion["companions"][0]["name"]) == ("a.preview.png", "a.safetensors")


async def test_models_are_found_by_digest_prefix_and_name(face, client, full):
    """The whole digest, its first six digits and the exact name all mean the model; fewer digits or another name mean none."""
    assert [m["sha256"] for m in (await get(client, "/models?type=lora"))["models"]] == [SHA]
    assert (await get(client, "/models?base=flux1"))["models"] == []
    for text in (SHA, SHA[:6], "a.safetensors"):
        found = await get(client, f"/models/{text}")
        assert (found["sha256"], found["names"], len(found["links"])) == (SHA, ["a.safetensors"], 2)
    await get(client, "/models/abab", 404)


async def test_a_text_that_fits_several_models_is_refused_with_their_names(face, client, full):
    """Each candidate is named with its first digits, ten at most; of the rest it is said how many there are."""
    for n in range(12):
        at = Path(f"/hub/{n}/a.safetensors")
        model = Model(f"{n:064x}", "cd" * 16, 10, at.name, at, Facts(at, Kind.MODEL, 10, model=ModelFacts("safetensors")))
        await face.store.write(models.keep, model, at, 1.0)
    for refused in (
        await get(client, "/models/a.safetensors", 409),
        await post(client, "/models/a.safetensors/type", 409, json={"type": "vae"}),
        await post(client, "/models/lookup", 409, json={"models": ["a.safetensors"]}),
    ):
        assert refused["detail"].startswith(
            "'a.safetensors' means more than one model, give the digits of one: a.safetensors abababababab, "
        )
        assert refused["detail"].endswith("a.safetensors 000000000000, and 3 more.")
        assert refused["detail"].count("a.safetensors") == 11
        assert len(refused["models"]) == 13


async def test_a_model_says_how_its_file_stands(face, client, full):
    """`state` and `blob` are in the list and on the page of one."""
    found = (await get(client, "/models"))["models"][0]
    assert (found["state"], found["blob"]) == ("ok", "/hub/ab/a.safetensors")
    await face.store.write(blobs.mark, [SHA], blobs.BlobState.GONE)
    assert (await get(client, f"/models/{SHA}"))["state"] == "gone"


async def test_links_are_listed_with_a_summary(client, full):
    """The summary counts states by target; filters and pages narrow the list only."""
    found = await get(client, "/links?limit=1")
    assert found["summary"] == {"comfyui": {"ok": 1}, "forge": {"conflict": 1}}
    assert (len(found["links"]), found["next"]) == (1, 1)
    found = await get(client, "/links?state=conflict")
    assert [link["at"] for link in found["links"]] == ["/forge/a.safetensors"]
    assert (await get(client, "/links?target=comfyui"))["summary"] == {"comfyui": {"ok": 1}}


async def test_datasets_and_their_pictures(client, full):
    """A dataset has its counts, and its pictures come a page at a time with their captions."""
    (row,) = (await get(client, "/datasets"))["datasets"]
    assert (row["slug"], row["pictures"], row["captioned"]) == ("cats", 3, 1)
    assert (await get(client, "/datasets/cats"))["active_set"] == datasets.DEFAULT_SET
    page = await get(client, "/datasets/cats/items?limit=2")
    assert [(i["rel"], i["caption"]) for i in page["items"]] == [("0.png", "a cat"), ("1.png", None)]
    rest = await get(client, f"/datasets/cats/items?limit=2&after={page['next']}")
    assert ([i["rel"] for i in rest["items"]], rest["next"]) == (["2.png"], None)
    await get(client, "/datasets/dogs", 404)
    await get(client, "/datasets/dogs/items", 404)


async def test_history_is_newest_first_and_says_where_things_ended(client, full):
    """Lines come newest first, page by page backwards, and a file's lines say where it ended."""
    found = (await get(client, "/history"))["history"]
    assert [h["id"] for h in found] == sorted((h["id"] for h in found), reverse=True)
    page = await get(client, "/history?limit=2")
    older = await get(client, f"/history?before={page['next']}")
    assert [h["id"] for h in page["history"] + older["history"]] == [h["id"] for h in found]
    about = (await get(client, "/history?path=/in/a.safetensors"))["history"]
    assert {(h["end"], h["end_at"]) for h in about} == {("hub", "/hub/ab/a.safetensors")}
    assert "undo" not in about[0]


async def test_aside_lists_what_is_kept_and_why(client, full):
    """Quarantine and trash are listed with reason and date; the place narrows."""
    (row,) = (await get(client, "/aside?place=quarantine"))["aside"]
    assert (row["original"], row["reason"]) == ("/in/x.pkl", "would run code")
    assert (await get(client, "/aside?place=trash"))["aside"] == []


async def test_jobs_are_listed_and_told_what_to_do(face, client, full):
    """A job is paused, resumed, cancelled and retried, each answer shows it as it is then, and no payload is shown."""
    job_id = full["jobs"][1]
    (listed,) = (await get(client, "/jobs?lane=caption&state=open"))["jobs"]
    assert (listed["id"], listed["file"], "payload" in listed) == (job_id, full["held"], False)
    assert (await post(client, f"/jobs/{job_id}/pause"))["state"] == "paused"
    assert (await post(client, f"/jobs/{job_id}/resume"))["state"] == "queued"
    assert (await post(client, f"/jobs/{job_id}/cancel"))["state"] == "cancelled"
    refused = await post(client, f"/jobs/{job_id}/pause", 409)
    assert (refused["type"], refused["state"]) == ("docs/api.md#not-now", "cancelled")
    assert (await post(client, f"/jobs/{job_id}/retry"))["state"] == "queued"
    assert (await face.store.read(jobs.get, job_id)).attempts == 0
    await get(client, "/jobs/9999", 404)
    await post(client, "/jobs/9999/cancel", 404)
    assert "hidden" not in await (await client.get("/api/v1/jobs")).text()


async def test_a_lane_is_paused_and_resumed(face, client, full):
    """A paused lane says so in the status; a lane that does not exist is not found."""
    await post(client, "/lanes/caption/pause")
    assert await face.store.read(jobs.paused_lanes) == ["caption"]
    assert [lane["lane"] for lane in (await get(client, "/status"))["lanes"] if lane["paused"]] == ["caption"]
    await post(client, "/lanes/caption/resume")
    assert await face.store.read(jobs.paused_lanes) == []
    await post(client, "/lanes/gpu/pause", 404)


async def test_explain_passes_on_what_the_daemon_says(face, client):
    """The daemon's own words come back unchanged; a path that it does not serve is not found."""
    face.control.explained[Path("/in/a.png")] = '{"path": "/in/a.png", "kind": "image"}'
    assert (await post(client, "/explain", json={"path": "/in/a.png"}))["kind"] == "image"
    found = await post(client, "/explain", 404, json={"path": "/etc/passwd"})
    assert found["type"] == "docs/api.md#not-found"
    assert face.control.asked == [Path("/in/a.png"), Path("/etc/passwd")]


@pytest.mark.parametrize("body", [{}, {"path": 3}, {"path": "rel/x"}, {"path": "/a\0b"}, {"path": "/" + "x" * 5000}])
async def test_explain_refuses_what_is_no_path(face, client, body):
    """No relative, endless or NUL path reaches the daemon."""
    assert (await post(client, "/explain", 400, json=body))["parameter"] == "path"
    assert face.control.asked == []


async def test_a_name_that_is_no_utf8_is_shown_with_escapes(face, client, make_arrive):
    """Whatever a file system can name is listed, as valid JSON."""
    await make_arrive(face.store, Path("/in/bad\udcff.safetensors"))
    (found,) = (await get(client, "/files"))["files"]
    assert found["name"] == "bad\\udcff.safetensors"
    assert (await get(client, f"/files/{found['id']}"))["facts"]["path"] == "/in/bad\\udcff.safetensors"
    assert (await get(client, "/history"))["history"][0]["path"] == "/in/bad\\udcff.safetensors"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/files?limit=0", "limit"),
        ("/files?limit=1001", "limit"),
        ("/files?limit=ten", "limit"),
        ("/files?limit=²", "limit"),
        ("/files?after=-1", "after"),
        ("/files?after=99999999999999999999", "after"),
        ("/files?state=nope", "state"),
        ("/files?mode=held", "mode"),
        ("/files?kind=image&kind=model", "kind"),
        ("/jobs?lane=gpu", "lane"),
        ("/jobs?state=x", "state"),
        ("/history?before=x", "before"),
        ("/links?state=maybe", "state"),
        ("/aside?place=hub", "place"),
        ("/events?since=x", "since"),
    ],
)
async def test_a_bad_parameter_is_named(client, path, name):
    """A value that cannot be used is refused with the name of its parameter, and so is a name that is not known."""
    found = await get(client, path, 400)
    assert (found["parameter"], found["type"], found["status"]) == (name, "docs/api.md#bad-parameter", 400)


@pytest.mark.parametrize("path", ["/files/x", "/files/99999999999999999999", "/jobs/1e3", "/files/7", "/nothing", "/models/zz"])
async def test_what_is_not_there_is_a_problem_document(client, path):
    """A missing row, an id that no row can have and an unknown address all answer 404 as RFC 9457 wants it."""
    answer = await client.get("/api/v1" + path)
    assert (answer.status, answer.content_type) == (404, "application/problem+json")
    assert set(await answer.json(content_type=None)) >= {"type", "title", "status", "detail"}


async def test_a_wrong_method_is_a_problem_that_names_the_right_one(client):
    """405 keeps its Allow header."""
    answer = await client.delete("/api/v1/files")
    assert (answer.status, answer.content_type) == (405, "application/problem+json")
    assert "GET" in answer.headers["Allow"]


async def test_a_surprise_tells_nothing(face, client):
    """What the daemon stumbles over inside goes to the log: the answer is a bare 500 problem."""
    await face.store.write(history.put_watch, "broken", Path("/b"), "inbox")
    answer = await client.post("/api/v1/watches/broken/rescan")
    assert (answer.status, answer.content_type) == (500, "application/problem+json")
    assert "secret" not in await answer.text()


@pytest.mark.parametrize(
    ("body", "type_", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"path": "/a"}', "text/plain", 415),
        (b"{" + b" " * 70_000 + b"}", "application/json", 413),
        (b"\xff", "application/json", 400),
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(client, body, type_, status):
    """JSON is asked for by type, form and size."""
    found = await post(client, "/explain", status, data=body, headers={"Content-Type": type_})
    assert found["status"] == status


async def test_a_persons_word_on_a_model_is_kept_and_checked(face, client, full):
    """Type and base are set by digest; a type that is none, a base that is no word, or nothing at all is refused by name."""
    sha256 = (await face.store.read(models.listing))[0].sha256
    answer = await client.post(f"/api/v1/models/{sha256}/type", json={"type": "vae", "base": "sdxl"})
    assert answer.status == 200 and (await answer.json())["type"] == "vae"
    for body in ({"type": "picture"}, {"base": "../x"}, {"base": 3}, {}, {"base": "sdxl", "force": 1}):
        refused = await client.post(f"/api/v1/models/{sha256}/type", json=body)
        assert refused.status == 400 and (await refused.json())["type"].endswith("bad-body")
    assert (await client.post("/api/v1/models/ffffff/type", json={"type": "vae"})).status == 404


async def test_a_base_that_nobody_knows_is_taken_only_by_force(face, client, full):
    """A slip is refused with the words it may mean; a new family is taken by force, and is known as long as a model has it."""
    path = f"/models/{SHA}/type"
    refused = await post(client, path, 400, json={"base": "sdlx"})
    assert refused["nearest"][0] == "sdxl" and "`sdlx` is no base that is known: did you mean sdxl, " in refused["detail"]
    assert (await get(client, f"/models/{SHA}"))["base"] == "sdxl"
    assert (await post(client, path, 400, json={"base": "xyzzy"}))["nearest"] == []
    assert (await post(client, path, json={"base": "xyzzy", "force": True}))["base"] == "xyzzy"
    assert (await post(client, path, json={"base": "xyzzy"}))["base"] == "xyzzy"
    assert (await post(client, path, json={"base": "flux1"}))["base"] == "flux1"
    assert (await post(client, path, json={"type": "llm", "base": "its-own"}))["base"] == "its-own"
