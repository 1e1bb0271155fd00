"""What trainers and programs write into a file about its family is understood, however they spell it."""

import pytest
from dropdock.rules.names import architecture, by_name

WRITTEN = {
    "flux1": ("Flux.1-dev/kontext", "Flux.1-dev/lora-depth", "flex.2", "flux-1-schnell"),
    "flux2": ("flux2_klein_9b", "Flux.2-dev/lora"),
    "wan": ("wan-2_1-text2video-14b/lora", "wan_2.2_5b", "wan2.1/lora"),
    "qwen-image": ("Qwen-Image-Edit-2511/lora", "qwen_image_edit_plus"),
    "z-image": ("zimage:turbo", "zimage_diffsynth"),
    "ltx-video": ("lightricks-ltx-video", "ltxv"),
    "ltx2": ("lightricks-ltx-video-2", "ltx2.3", "ltx-2.3"),
    "hunyuan-video-1.5": ("hunyuan-video-1_5", "HunyuanVideo-1.5"),
    "cosmos-predict2": ("nvidia-cosmos-predict2-t2i-2b",),
    "cosmos": ("nvidia-cosmos-1-7b-text2world",),
    "sana": ("nvidia-sana-1600",),
    "svd": ("stable-video-diffusion-img2vid-v1",),
    "sd3": ("stable-diffusion-v3.5-large/lora", "5-medium", "sd35_large"),
    "stable-cascade": ("stable-cascade-v1-stage-c", "wuerstchen-v2"),
    "omnigen2": ("omnigen-2", "omnigen2"),
}


@pytest.mark.parametrize(("base", "said"), [(base, said) for base, many in WRITTEN.items() for said in many])
def test_architectures_as_they_are_written(base: str, said: str) -> None:
    """Each spelling means its family, and with a word before it that nobody writes it means none."""
    assert architecture(said) == base
    assert architecture("not-" + said) is None


@pytest.mark.parametrize(
    ("stem", "base"),
    [
        ("hunyuanvideo1.5_720p_i2v", "hunyuan-video-1.5"),
        ("my_cogvideox_style", "cogvideox"),
        ("framepack_dance", "hunyuan-video"),
    ],
)
def test_names_of_video_families(stem: str, base: str) -> None:
    """The longest word of a name says the family; inside another word it says nothing."""
    assert [e.says for e in by_name(stem)] == [f"base={base}"]
    assert by_name(stem.replace("_", "")) == []


def test_a_relatives_name_is_not_the_familys() -> None:
    """The word of a family inside a relative's name says nothing for the family; alone it does."""
    assert [e.says for e in by_name("sana_style")] == ["base=sana"]
    assert [e.says for e in by_name("sana-video_style")] == ["base=unknown"]
    assert [e.says for e in by_name("SkyReels-V2-dance")] == ["base=wan"]
