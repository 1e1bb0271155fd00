"""What belongs together, by names alone."""

import pytest
from dropdock.rules.companions import Beside, bare_name, beside, lone_halves, mmproj_names, other_half
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("m.yaml", Beside.LINKED),
        ("m.preview.PNG", Beside.COPIED),
        ("m.thumb.jpg", Beside.COPIED),
        ("m.mp4", Beside.COPIED),
        ("m.civitai.info", Beside.COPIED),
        ("m.swarm.json", Beside.COPIED),
        ("m.metadata.json", Beside.NOT),
        ("m.sha256", Beside.NOT),
        ("m.txt", Beside.NOT),
    ],
)
def test_how_a_file_comes_beside_its_model(name: str, how: Beside) -> None:
    """Apps write previews and metadata, so those are copies; a config is a link; what names absolute paths or bytes stays."""
    assert beside(name) is how


@pytest.mark.parametrize("quant", ["Q8_0", "q4_k_m", "UD-Q4_K_XL", "IQ4_XS", "BF16", "f16", "F32"])
def test_the_bare_name_is_without_quantisation(quant: str) -> None:
    """What ComfyUI-GGUF matches: lower case, no suffix, no quantisation."""
    assert bare_name(f"Qwen2.5-VL-7B-Instruct-{quant}.gguf") == "qwen2.5-vl-7b-instruct"


QWEN, GEMMA = "Qwen2.5-VL-7B-Instruct-Q8_0.gguf", "gemma-3-12b-it-Q4_K_M.gguf"


@pytest.mark.parametrize(
    ("encoders", "half", "name"),
    [
        ([QWEN], "mmproj-F16.gguf", "Qwen2.5-VL-7B-Instruct-mmproj-F16.gguf"),
        ([QWEN], "mmproj-model-bf16.gguf", "Qwen2.5-VL-7B-Instruct-mmproj-bf16.gguf"),
        ([QWEN, GEMMA], "mmproj-gemma-3-12b-f16.gguf", "gemma-3-12b-it-mmproj-f16.gguf"),
        ([QWEN, GEMMA], "mmproj-F16.gguf", None),
        ([QWEN], "mmproj-Qwen2.5-VL-7B-Instruct-f16.gguf", None),
        ([QWEN, QWEN.replace("Q8_0", "Q4_K_M")], "mmproj-F16.gguf", "Qwen2.5-VL-7B-Instruct-mmproj-F16.gguf"),
        ([QWEN], "mmproj-gemma-3-12b-it-f16.gguf", None),
        ([], "mmproj-F16.gguf", None),
    ],
)
def test_a_vision_half_gets_a_name_its_encoder_finds(encoders: list[str], half: str, name: str | None) -> None:
    """Renamed only when it would not be found and it is plain whose it is."""
    assert mmproj_names(encoders, [half]).get(half) == name


@given(
    st.text(alphabet="aQ4_-.kM", min_size=1, max_size=12), st.sampled_from(["mmproj-F16.gguf", "x-mmproj.gguf", "mmproj.gguf"])
)
def test_a_new_name_is_always_found(encoder: str, half: str) -> None:
    """Whatever an encoder is called: if its half is renamed, the new name holds "mmproj" and the encoder's bare name."""
    new = mmproj_names([f"{encoder}.gguf"], [half]).get(half)
    assert new is None or ("mmproj" in new and bare_name(f"{encoder}.gguf") in new.casefold())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("wan2.2_t2v_high_noise_14B.safetensors", "wan2.2_t2v_low_noise_14B.safetensors"),
        ("Wan-HighNoise-Q8.gguf", "Wan-LowNoise-Q8.gguf"),
        ("HIGH NOISE.pt", "LOW NOISE.pt"),
        ("plain_high.safetensors", None),
    ],
)
def test_the_other_half_of_a_pair(one: str, other: str | None) -> None:
    """High and low noise are swapped in the same letters, and back again."""
    assert other_half(one) == other
    assert other is None or other_half(other) == one


def test_a_lone_half_is_told() -> None:
    """One whose other half is there is no news, in whatever case."""
    names = {"1": "a_high_noise.gguf", "2": "b_high_noise.gguf", "3": "c.gguf"}
    assert lone_halves(names, ["A_LOW_noise.gguf"]) == {"2": "half of a pair: b_low_noise.gguf is not here"}
