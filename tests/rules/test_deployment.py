"""What targets should have, and the plan from what they have."""

from pathlib import Path

from dropdock.rules.deployment import (
    COMPANION,
    NOWHERE,
    Claim,
    Deployable,
    Unmapped,
    Wanted,
    candidates,
    load_layouts,
    recorded_names,
    wanted,
)
from dropdock.rules.globs import fold
from dropdock.rules.terms import Target
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
    """Config, previews and metadata come beside their model under its name there; another model's, and absolute paths, do not."""
    hub = Path("/hub/b")
    more = tuple(hub / n for n in ("m.yaml", "m.preview.png", "m.civitai.info", "m.metadata.json", "m.sha256", "other.png"))
    aims = wanted([model(1, "m.ckpt", "checkpoint"), model(2, "m.ckpt", "checkpoint", companions=more)], [COMFY], LAYOUTS)
    assert [(link.at.name, link.type, link.to.name) for link in aims.links[1:]] == [
        ("m-20000000.ckpt", "checkpoint", "m.ckpt"),
        ("m-20000000.civitai.info", COMPANION, "m.civitai.info"),
        ("m-20000000.preview.png", COMPANION, "m.preview.png"),
        ("m-20000000.yaml", COMPANION, "m.yaml"),
    ]
    assert set(recorded_names(aims.links).values()) == {aims.links[0].at, aims.links[1].at}


def test_a_model_goes_where_one_of_its_roles_is_loaded() -> None:
    """A GGUF language model that can serve as a text encoder is linked as one where the app has no folder for language models."""
    gguf = model(1, "qwen.gguf", "llm", roles=("llm", "text_encoder"))
    aims = wanted([gguf], [COMFY, KIT], LAYOUTS)
    assert places(aims) == ["/apps/comfy/models/text_encoders/qwen.gguf"]
    assert aims.links[0].type == "text_encoder"
    assert [u.reason for u in aims.unmapped] == ["ai-toolkit has no folder for llm"]


def test_an_mmproj_stands_beside_its_encoder_under_a_name_that_is_found() -> None:
    """A nameless vision half takes the only encoder's name, also when it was linked under its own name before."""
    encoder = model(1, "Qwen2.5-VL-7B-Q4_K_M.gguf", "llm", roles=("llm", "text_encoder"))
    half = model(2, "mmproj-F16.gguf", "mmproj")
    alone = wanted([half], [COMFY], LAYOUTS)
    assert places(alone) == ["/apps/comfy/models/text_encoders/mmproj-F16.gguf"]
    both = wanted([encoder, half], [COMFY], LAYOUTS, recorded_names(alone.links))
    assert [Path(p).name for p in places(both)] == ["Qwen2.5-VL-7B-Q4_K_M.gguf", "Qwen2.5-VL-7B-mmproj-F16.gguf"]
    assert wanted([encoder, half], [COMFY], LAYOUTS, recorded_names(both.links)) == both


def test_names_differ_across_the_folders_of_one_scope() -> None:
    """Sorted by base, two models of one name still get two names: the app tells them apart by it alone."""
    sorted_by_base = Target("comfy", "comfyui", COMFY.path, map=(("lora", "loras/{base}"),))
    one, two = model(1, "x.safetensors"), model(2, "x.safetensors")
    two = Deployable(two.sha256, two.name, two.type, "flux1", two.blob)
    assert places(wanted([one, two], [sorted_by_base], LAYOUTS)) == [
        "/apps/comfy/loras/sdxl/x.safetensors",
        "/apps/comfy/loras/flux1/x-20000000.safetensors",
    ]


def test_an_adopted_place_is_wanted_whatever_the_targets_say() -> None:
    """A link at the very place, in its target once and not a second time; outside of every target too."""
    own = Path("/apps/comfy/models/loras/mine/x.safetensors")
    aims = wanted([model(1, "x.safetensors", adopted=(own, Path("/lib/x.safetensors")))], [COMFY, KIT], LAYOUTS)
    assert [(link.target, str(link.at)) for link in aims.links] == [
        ("comfy", str(own)),
        (NOWHERE, "/lib/x.safetensors"),
        ("kit", "/apps/kit/models/loras/x.safetensors"),
    ]
    nobody = wanted([model(1, "x.safetensors", adopted=(own,), targets=frozenset())], [COMFY, KIT], LAYOUTS)
    assert places(nobody) == [str(own)]


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


@given(MODELS, st.lists(st.integers(0, 7), max_size=8))
def test_one_at_a_time_is_as_good_as_all_at_once(models: list[tuple[int, str]], order: list[int]) -> None:
    """Models that come one by one, each told only which of its names are taken, share no name, and all at once changes nothing."""
    links: dict[str, Path] = {}
    claims: dict[Claim, str] = {}
    everyone = [model(*m) for m in models]
    for n in [*(i for i in order if i < len(everyone)), *range(len(everyone))]:
        one = [everyone[n]]
        names = {("comfy", sha): at for sha, at in links.items() if sha == everyone[n].sha256}
        asked = candidates(one, [COMFY], LAYOUTS, names)
        aims = wanted(one, [COMFY], LAYOUTS, names, {c for c in asked if claims.get(c, one[0].sha256) != one[0].sha256})
        links[one[0].sha256] = aims.links[0].at
        claims[aims.claims[aims.links[0].at]] = one[0].sha256
    assert len(set(links.values())) == len(everyone) == len({c.identity for c in claims})
    again = wanted(everyone, [COMFY], LAYOUTS, {("comfy", sha): at for sha, at in links.items()})
    assert {link.sha256: link.at for link in again.links} == links
