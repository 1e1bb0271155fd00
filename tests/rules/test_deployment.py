"""What targets should have, and the plan from what they have."""

from pathlib import Path, PurePosixPath

import pytest
from dropdock.rules.deployment import (
    COMPANION,
    Conflict,
    Create,
    Deployable,
    Found,
    Made,
    Method,
    Remove,
    Seen,
    Unmapped,
    Wanted,
    load_layouts,
    plan,
    recorded_names,
    wanted,
)
from dropdock.rules.globs import fold
from dropdock.rules.terms import Link, LinkState, Target
from hypothesis import given
from hypothesis import strategies as st

LAYOUTS = load_layouts()
COMFY = Target("comfy", "comfyui", Path("/apps/comfy"))
FORGE = Target("forge", "forge", Path("/apps/forge"), relative=True)
KIT = Target("kit", "ai-toolkit", Path("/apps/kit"))


def model(n: int, name: str, type: str = "lora", **more: object) -> Deployable:
    sha = f"{n:064x}"[::-1]
    return Deployable(sha, name, type, "sdxl", Path("/hub", sha[:2], sha, name), **more)  # type: ignore[arg-type]


def places(aims: Wanted) -> list[str]:
    return [str(link.at) for link in aims.links]


# ---------------------------------------------------------------- layouts


def test_the_three_apps_take_the_common_types() -> None:
    """ComfyUI, Forge and AI Toolkit have a folder for checkpoints, LoRAs, VAEs and text encoders."""
    assert set(LAYOUTS) >= {"comfyui", "forge", "ai-toolkit"}
    for layout in LAYOUTS.values():
        for kind in ("checkpoint", "diffusion_model", "lora", "vae", "text_encoder"):
            assert layout.place(kind, "x.safetensors")[0] is not None
    assert LAYOUTS["comfyui"].place("embedding", "x.PT")[0] == PurePosixPath("models/embeddings")
    assert LAYOUTS["forge"].place("embedding", "x.pt")[0] == PurePosixPath("embeddings")


def test_gguf_goes_only_where_it_is_loaded() -> None:
    """A GGUF diffusion model is linked into ComfyUI and Forge, not into AI Toolkit; a GGUF LoRA nowhere."""
    assert LAYOUTS["comfyui"].place("diffusion_model", "x.gguf")[0] == PurePosixPath("models/diffusion_models")
    assert LAYOUTS["forge"].place("diffusion_model", "x.gguf")[0] == PurePosixPath("models/Stable-diffusion")
    assert LAYOUTS["ai-toolkit"].place("diffusion_model", "x.gguf") == (None, "ai-toolkit loads no .gguf as diffusion_model")
    assert LAYOUTS["comfyui"].place("lora", "x.gguf")[0] is None
    assert LAYOUTS["comfyui"].place("checkpoint", "x.gguf")[0] is None


@pytest.mark.parametrize(
    "bad",
    [
        "[1]",
        "a: {folders: {}}",
        "a: {suffixes: [pt], folders: {}}",
        "a: {suffixes: 3, folders: {}}",
        "a: {suffixes: [], folders: {lora: ../x}}",
        "a: {suffixes: [], folders: {lora: /x}}",
        "a: {suffixes: [], folders: {lora: [x]}}",
        "a: {suffixes: [], folders: {lora: {folder: x, suffx: []}}}",
        "a: [",
    ],
)
def test_a_bad_table_is_refused(bad: str) -> None:
    """A mistake in a layout, above all a folder outside of the app, is a ValueError."""
    with pytest.raises(ValueError, match=r"expected|syntax"):
        load_layouts(bad)


# ---------------------------------------------------------------- wanted


def test_every_target_gets_each_model_in_its_folder() -> None:
    """Types are mapped per app; what an app has no folder for is listed, and disabled targets get nothing."""
    models = [model(1, "style.safetensors"), model(2, "up.pth", "upscaler"), model(3, "only.safetensors", "vae")]
    models[2] = Deployable(models[2].sha256, "only.safetensors", "vae", "x", models[2].blob, frozenset({"forge"}))
    aims = wanted(models, [COMFY, FORGE, Target("off", "forge", Path("/off"), enabled=False), KIT], LAYOUTS)
    assert places(aims) == [
        "/apps/comfy/models/loras/style.safetensors",
        "/apps/comfy/models/upscale_models/up.pth",
        "/apps/forge/models/ESRGAN/up.pth",
        "/apps/forge/models/Lora/style.safetensors",
        "/apps/forge/models/VAE/only.safetensors",
        "/apps/kit/models/loras/style.safetensors",
    ]
    assert aims.unmapped == (Unmapped("kit", models[1].sha256, "upscaler", "up.pth", "ai-toolkit has no folder for upscaler"),)


def test_names_that_an_app_would_confuse_are_told_apart() -> None:
    """Case, composition and suffix do not make a name: the second model of a name gets part of its digest."""
    aims = wanted([model(1, "Cafe\u0301.safetensors"), model(2, "café.pt"), model(3, "CAFÉ.safetensors")], [FORGE], LAYOUTS)
    assert [p.rsplit("/", 1)[1] for p in places(aims)] == [
        "Cafe\u0301.safetensors",
        "café-20000000.pt",
        "CAFÉ-30000000.safetensors",
    ]


def test_checkpoints_and_diffusion_models_share_forges_folder() -> None:
    """Uniqueness counts per folder, not per type."""
    aims = wanted([model(1, "m.safetensors", "checkpoint"), model(2, "m.safetensors", "diffusion_model")], [FORGE], LAYOUTS)
    assert len(set(places(aims))) == 2


def test_a_recorded_name_is_kept() -> None:
    """The model that got the suffixed name keeps it when the other one goes, and keeps the plain one when another comes."""
    first, second = model(1, "x.safetensors"), model(2, "x.safetensors")
    both = wanted([first, second], [COMFY], LAYOUTS)
    names = recorded_names(both.links)
    alone = wanted([second], [COMFY], LAYOUTS, names)
    assert places(alone) == [str(both.links[1].at)]
    late = wanted([second], [COMFY], LAYOUTS)
    again = wanted([first, second], [COMFY], LAYOUTS, recorded_names(late.links))
    assert {link.sha256: link.at for link in again.links}[second.sha256] == late.links[0].at


def test_a_changed_type_moves_the_link() -> None:
    """A recorded name counts only in the folder it stands in."""
    before = wanted([model(1, "x.safetensors", "lora")], [COMFY], LAYOUTS)
    after = wanted([model(1, "x.safetensors", "vae")], [COMFY], LAYOUTS, recorded_names(before.links))
    assert places(after) == ["/apps/comfy/models/vae/x.safetensors"]


def test_companions_follow_the_name() -> None:
    """A config and a preview are linked beside their model under its name there; metadata that apps write into is not."""
    hub = Path("/hub/b")
    more = tuple(hub / n for n in ("m.yaml", "m.preview.png", "m.civitai.info", "m.json", "other.png"))
    aims = wanted([model(1, "m.ckpt", "checkpoint"), model(2, "m.ckpt", "checkpoint", companions=more)], [COMFY], LAYOUTS)
    assert [(link.at.name, link.type, link.to.name) for link in aims.links[1:]] == [
        ("m-20000000.ckpt", "checkpoint", "m.ckpt"),
        ("m-20000000.preview.png", COMPANION, "m.preview.png"),
        ("m-20000000.yaml", COMPANION, "m.yaml"),
    ]
    assert set(recorded_names(aims.links).values()) == {aims.links[0].at, aims.links[1].at}


def test_a_folder_model_is_linked_file_by_file() -> None:
    """A real folder with a link per file; a path that would leave it is dropped; the folder's name is kept when recorded."""
    pipe = model(1, "sd-xl", "diffusers_pipeline", files=("model_index.json", "vae/config.json", "../evil", "/abs"))
    aims = wanted([pipe], [COMFY], LAYOUTS)
    assert places(aims) == [
        "/apps/comfy/models/diffusers/sd-xl/model_index.json",
        "/apps/comfy/models/diffusers/sd-xl/vae/config.json",
    ]
    assert aims.links[1].to == pipe.blob / "vae" / "config.json"
    assert wanted([pipe], [COMFY], LAYOUTS, recorded_names(aims.links)) == aims


NAMES = st.sampled_from(["a.safetensors", "A.safetensors", "a.pt", "a-10000000.pt", "b.safetensors", "ﬁ.pt", "FI.pt"])
MODELS = st.lists(st.tuples(st.integers(1, 40), NAMES), max_size=8, unique_by=lambda t: t[0])


@given(MODELS, MODELS, st.randoms())
def test_names_are_unique_and_stable(before: list[tuple[int, str]], after: list[tuple[int, str]], random: object) -> None:
    """Whatever models come and go: no two share a base name, every model has its link, and nobody who stays is renamed."""
    first = wanted([model(*m) for m in before], [COMFY], LAYOUTS)
    names = recorded_names(first.links)
    shuffled = list(after)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    second = wanted([model(*m) for m in shuffled], [COMFY], LAYOUTS, names)
    assert second == wanted([model(*m) for m in after], [COMFY], LAYOUTS, names)
    assert len({fold(link.at.stem) for link in second.links}) == len(after) == len(second.links)
    kept = {m[0]: m[1] for m in before}
    for n, name in after:
        key = ("comfy", model(n, name).sha256)
        if n in kept and Path(kept[n]).suffix == Path(name).suffix:
            assert recorded_names(second.links)[key] == names[key]


# ---------------------------------------------------------------- plan

TO = Path("/hub/aa/x")
AT = Path("/apps/comfy/models/loras/x")
LINK = Link("comfy", "lora", AT, TO, "aa")
AIMS = Wanted((LINK,), (), {"comfy": COMFY})
NOTHING = Wanted(())
RIGHT = Found(Seen.LINK, str(TO), TO)
OLD = Made(Link("comfy", "lora", AT, Path("/hub/bb/x"), "bb"))


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (Found(Seen.LINK, "/else", Path("/else")), LinkState.FOREIGN),
        (Found(Seen.FILE, same=True), LinkState.ADOPTABLE),
        (Found(Seen.FILE, same=False), LinkState.CONFLICT),
        (Found(Seen.FILE), LinkState.CONFLICT),
        (Found(Seen.OTHER), LinkState.CONFLICT),
        (Found(Seen.BLOCKED, note="no such folder"), LinkState.CONFLICT),
        (Found(Seen.ABSENT, alive=False), LinkState.BROKEN),
        (Found(Seen.LINK, str(TO), TO, alive=False), LinkState.BROKEN),
    ],
)
def test_what_is_not_ours_is_only_reported(found: Found, state: LinkState) -> None:
    """A person's link, file or folder is a conflict to show and nothing is done about it."""
    made = plan(AIMS, {AT: found}, [])
    assert [c.state for c in made.conflicts] == [state]
    assert made.idle and not made.ok


def test_missing_right_and_outdated_links() -> None:
    """A missing link is made, a right one is left, our link to another file is replaced."""
    assert plan(AIMS, {AT: Found(Seen.ABSENT)}, []).create == (Create(LINK, False, COMFY.path),)
    assert plan(AIMS, {AT: RIGHT}, []).ok == (Made(LINK),)
    old = Found(Seen.LINK, "/hub/bb/x", Path("/hub/bb/x"))
    assert plan(AIMS, {AT: old}, [OLD]).create == (Create(LINK, False, COMFY.path, Remove(OLD, old)),)
    assert plan(AIMS, {AT: old}, []).conflicts == (
        Conflict(LINK, LinkState.FOREIGN, "somebody's link to /hub/bb/x stands there"),
    )


def test_a_link_to_a_gone_file_is_removed() -> None:
    """Our link whose hub file is gone goes too, since some apps fail on dangling links."""
    dead = Found(Seen.LINK, str(TO), TO, alive=False)
    made = plan(AIMS, {AT: dead}, [Made(LINK)])
    assert made.remove == (Remove(Made(LINK), dead),)
    assert made.conflicts[0].state is LinkState.BROKEN


def test_a_target_that_became_relative_gets_new_links() -> None:
    """The form of the text is part of what is wanted, for links that we made."""
    aims = Wanted((LINK,), (), {"comfy": Target("comfy", "comfyui", COMFY.path, relative=True)})
    assert [c.relative for c in plan(aims, {AT: RIGHT}, [Made(LINK)]).create] == [True]
    assert plan(aims, {AT: Found(Seen.LINK, "../x", TO)}, [Made(LINK)]).idle


def test_only_our_unchanged_links_are_removed() -> None:
    """No longer wanted: ours goes; what a person put there stays and the record is forgotten; an unplugged disk waits."""
    assert plan(NOTHING, {AT: RIGHT}, [Made(LINK)]).remove == (Remove(Made(LINK), RIGHT),)
    for other in (Found(Seen.ABSENT), Found(Seen.FILE, same=True), Found(Seen.LINK, "/y", Path("/y")), Found(Seen.OTHER)):
        made = plan(NOTHING, {AT: other}, [Made(LINK)])
        assert (made.remove, made.forget) == ((), (AT,))
    assert plan(NOTHING, {AT: Found(Seen.BLOCKED)}, [Made(LINK)]).ok == (Made(LINK),)


@pytest.mark.parametrize("method", [Method.HARDLINK, Method.COPY])
def test_fallbacks_are_ours_while_their_content_is(method: Method) -> None:
    """A hardlink or copy of ours is right while it has the hub file's content; once an app changed it, it is the person's."""
    mine = Made(LINK, method)
    assert plan(AIMS, {AT: Found(Seen.FILE, same=True)}, [mine]).ok == (mine,)
    assert plan(NOTHING, {AT: Found(Seen.FILE, same=True)}, [mine]).remove
    for same in (False, None):
        assert plan(AIMS, {AT: Found(Seen.FILE, same=same)}, [mine]).conflicts[0].state is LinkState.CONFLICT
        assert plan(NOTHING, {AT: Found(Seen.FILE, same=same)}, [mine]).forget == (AT,)
