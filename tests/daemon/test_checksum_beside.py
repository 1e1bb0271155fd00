"""A checksum file that comes with a model is held against it: what does not match goes nowhere, and says why."""

import pytest
from house_made import Home, opened, sha
from model_files import write_safetensors

LORA = {f"lora_unet_double_blocks_{n}_img_attn_proj.lora_{d}.weight": ("BF16", (4, 8)) for n in range(19) for d in ("down", "up")}
STORE = """
pipelines:
  inbox:
    - {name: models, when: {kind: model}, do: [store, deploy]}
"""


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path, STORE)


async def test_what_does_not_match_is_held(home):
    """Wrong digest beside it: held where it lies with the reason, in an inbox and in a library; nothing reaches the hub."""
    new = write_safetensors(home.inbox / "new.safetensors", LORA)
    old = write_safetensors(home.library / "old.safetensors", LORA, {"a": "b"})
    sums = [path.with_name(path.name + ".sha256") for path in (new, old)]
    for beside in sums:
        beside.write_text("00" * 32 + "\n")
    async with opened(home) as house:
        await house.arrive(new, sums[0])
        await house.arrive(old, sums[1])
        await house.work()
        for path in (new, old):
            row = await house.file(path)
            assert (row.state, row.present) == ("held", True)
            assert f"{path.name}.sha256 says 000000000000" in row.note and sha(path)[:12] in row.note
        assert new.is_file() and sums[0].is_file() and not list(home.hub.glob("*/*"))
        assert set((await house.jobs()).values()) == {"done"}


async def test_what_matches_goes_its_way(home):
    """The right digest beside it, in any case of letters: stored with its checksum file. One about another file is no matter."""
    good = write_safetensors(home.inbox / "good.safetensors", LORA)
    other = write_safetensors(home.inbox / "other.safetensors", LORA, {"a": "b"})
    sums = [good.with_suffix(".sha256"), other.with_suffix(".sha256")]
    sums[0].write_text(f"{sha(good).upper()} *good.safetensors\n")
    sums[1].write_text("00" * 32 + "  third.safetensors\n")
    digest = sha(good)
    async with opened(home) as house:
        await house.arrive(good, sums[0])
        await house.arrive(other, sums[1])
        await house.work()
        assert [(await house.file(p)).end for p in (good, other)] == ["hub", "hub"]
        assert (home.hub / digest[:2] / digest / "good.sha256").is_file()
