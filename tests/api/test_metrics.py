"""Metrics: what a Prometheus parser reads of a full store and a daemon that counted."""

import pytest
from dropdock.api.metrics import render
from dropdock.api.ports import Family, Sample
from dropdock.daemon.meters import BUCKETS, HELP, Meters
from hypothesis import given
from hypothesis import strategies as st

parser = pytest.importorskip("prometheus_client.parser", reason="prometheus_client is not installed")


def parsed(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Name of each sample -> its label values -> value."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


async def test_everything_that_is_counted_is_there(face, client, full):
    """Files by state, jobs by lane and state, links by target and state, models, and what the daemon measured."""
    meters = Meters()
    meters.observe("job_seconds", 0.5, lane="hash")
    meters.observe("job_seconds", 100.0, lane="hash")
    meters.count("reloads_total", result="taken")
    face.control.families = meters.families()
    await face.store.write(lambda c: c.execute("INSERT INTO paused_lanes VALUES ('net')"))
    async with client.get("/metrics") as answer:
        assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        found = parsed(await answer.text())
    assert found["dropdock_info"] == {("1.2.3",): 1} and found["dropdock_ready"] == {(): 1}
    assert found["dropdock_files"] == {(state,): n for state, n in (await face.store.read(counts)).items()}
    assert found["dropdock_jobs"]["caption", "queued"] == 1
    assert found["dropdock_links"] == {("comfyui", "ok"): 1, ("forge", "conflict"): 1}
    assert found["dropdock_models"] == {(): 1} and found["dropdock_models_bytes"] == {(): 10}
    assert found["dropdock_lane_paused"] == {("net",): 1}
    assert found["dropdock_oldest_due_job_seconds"]["caption",] >= 0
    assert found["dropdock_job_seconds_bucket"]["hash", "1"] == 1 and found["dropdock_job_seconds_bucket"]["hash", "+Inf"] == 2
    assert found["dropdock_job_seconds_sum"] == {("hash",): 100.5}
    assert found["dropdock_reloads_total"] == {("taken",): 1}


def counts(c):
    return dict(c.execute("SELECT state, count(*) FROM files WHERE lead IS NULL GROUP BY state").fetchall())


async def test_metrics_want_the_key(face, aiohttp_client):
    """Once a key is set, counts are nobody else's business."""
    client = await aiohttp_client(face.app(api_key="k" * 32))
    async with client.get("/metrics") as answer:
        assert answer.status == 401
    async with client.get("/metrics", headers={"Authorization": f"Bearer {'k' * 32}"}) as answer:
        assert answer.status == 200


@given(
    st.dictionaries(
        st.sampled_from(["watch", "a b"]), st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r"))
    )
)
def test_any_label_survives_the_text(labels):
    """Quotes, backslashes and line ends in a watch's name come back from the parser as they were."""
    (family,) = parser.text_string_to_metric_families(
        render([Family("x", "gauge", 'a "help"\nof \\ two lines', (Sample(2.5, labels),))])
    )
    (sample,) = family.samples
    assert sample.value == 2.5 and sorted(sample.labels.values()) == sorted(labels.values())


def test_a_family_stands_once():
    """The same name from two meters is one family with all samples, as the format demands."""
    text = render(
        [Family("x_total", "counter", "h", (Sample(1, {"a": "1"}),)), Family("x_total", "counter", "h", (Sample(2, {"a": "2"}),))]
    )
    assert text.count("# TYPE") == 1 and parsed(text)["dropdock_x_total"] == {("1",): 1, ("2",): 2}


@given(st.lists(st.floats(0, 1e4), max_size=30))
def test_buckets_hold_every_value_once(values):
    """Buckets are cumulative, bounds belong to their own bucket, the last one counts everything."""
    meters = Meters()
    for value in values:
        meters.observe("job_seconds", value, lane="cpu")
    for family in meters.families():
        found = {s.labels.get("le", s.suffix): s.value for s in family.samples}
        assert all(found[f"{bound:g}"] == sum(v <= bound for v in values) for bound in BUCKETS)
        assert found["+Inf"] == found["_count"] == len(values) and family.help == HELP["job_seconds"]
