"""Files as people drop them, made from nothing: pictures that decode, models with true headers over empty data, a hostile pickle.

What must hold: the same call makes the same bytes; a model's key names, shapes and sizes are those of the real family, so that it is
identified for the reasons a real one would be; its data is a hole in the file (sparse), so that gigabytes cost nothing to make; the
pickle is written opcode by opcode and is never loaded. Key names: CompVis' ldm for Stable Diffusion, black-forest-labs' flux as
kohya's sd-scripts names its layers for LoRAs; the safetensors format is that of huggingface/safetensors.
"""

from __future__ import annotations

import io
import json
import random
import zipfile
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path

Shapes = Mapping[str, tuple[int, ...]]
_BYTES = {"F8_E4M3": 1, "F16": 2, "BF16": 2, "F32": 4}
_PALETTES = (
    ((214, 96, 38), (250, 214, 150)),
    ((32, 88, 160), (190, 224, 244)),
    ((40, 110, 60), (220, 232, 160)),
    ((70, 40, 110), (230, 170, 210)),
)
CAPTION = "a red fox asleep on moss, morning light"


# ---------------------------------------------------------------- pictures


def picture(seed: int, size: tuple[int, int] = (640, 480), form: str = "JPEG", quality: int = 90, orientation: int = 0) -> bytes:
    """A picture of soft patches: another seed looks different. `form` is Pillow's name, `orientation` an EXIF value (0: none)."""
    from PIL import Image

    rng = random.Random(seed)  # looks, not secrets
    dark, light = _PALETTES[seed % len(_PALETTES)]
    patches = bytearray()
    for _ in range(9 * 8):
        share = rng.random()
        patches += bytes(int(low + (high - low) * share) for low, high in zip(dark, light, strict=True))
    image = Image.frombytes("RGB", (9, 8), bytes(patches)).resize(size, Image.Resampling.BICUBIC)
    out = io.BytesIO()
    if orientation:
        exif = Image.Exif()
        exif[0x0112] = orientation
        image.save(out, form, quality=quality, exif=exif)
    else:
        image.save(out, form, quality=quality)
    return out.getvalue()


def again(data: bytes, quality: int = 60) -> bytes:
    """The same picture as a JPEG of another quality: other bytes, nearly the same look."""
    from PIL import Image

    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def photo_members() -> dict[str, bytes]:
    """What a ZIP of pictures holds when it comes from a person: several formats, copies, junk, a broken one, one with its caption."""
    forest, sea = picture(2), picture(5, (480, 640), "PNG")
    whole = picture(10)
    return {
        "red fox/forest.jpg": forest,
        "red fox/sea.png": sea,
        "red fox/dunes.webp": picture(4, (600, 600), "WEBP"),
        "red fox/turned.jpg": picture(9, (640, 426), orientation=6),
        "red fox/forest2.jpg": forest,
        "red fox/sea2.jpg": again(sea),
        "red fox/broken.jpg": whole[: len(whole) // 2],
        "red fox/asleep.jpg": picture(8),
        "red fox/asleep.txt": CAPTION.encode(),
        "red fox/more/from 2019/hill.jpg": picture(6, (768, 512)),
        "red fox/more/dusk.png": picture(7, (512, 512), "PNG"),
        "red fox/Thumbs.db": bytes(512),
        "__MACOSX/red fox/._forest.jpg": b"\x00\x05\x16\x07" + bytes(78),
    }


def zipped(path: Path, members: Mapping[str, bytes]) -> Path:
    """A ZIP of these members, in their order, with a fixed date."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2024, 5, 17, 12, 0, 0)), data)
    return path


# ---------------------------------------------------------------- models


def safetensors(path: Path, shapes: Shapes, dtype: str = "F16", metadata: Mapping[str, str] | None = None) -> Path:
    """A safetensors file of these tensors; its data is a hole. `dtype` is one of _BYTES."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    at = 0
    for name, shape in shapes.items():
        end = at + prod(shape) * _BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)
    return path


def flux_lora(path: Path, rank: int = 4) -> Path:
    """A FLUX.1 LoRA as kohya's sd-scripts writes it: every block of the transformer, with alpha; about 38 MB at rank 4."""
    shapes: dict[str, tuple[int, ...]] = {}
    for layer, out, into in _flux_layers():
        shapes[f"lora_unet_{layer}.alpha"] = ()
        shapes[f"lora_unet_{layer}.lora_down.weight"] = (rank, into)
        shapes[f"lora_unet_{layer}.lora_up.weight"] = (out, rank)
    said = {
        "ss_network_module": "networks.lora_flux",
        "ss_base_model_version": "flux1",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(rank),
        "modelspec.architecture": "flux-1-dev/lora",
    }
    return safetensors(path, shapes, "BF16", said)


def _flux_layers() -> Iterator[tuple[str, int, int]]:
    """(name, out, in) of the layers of FLUX.1's 19 double and 38 single blocks."""
    width, wide = 3072, 12288
    for n in range(19):
        for stream in ("img", "txt"):
            block = f"double_blocks_{n}_{stream}"
            yield f"{block}_attn_proj", width, width
            yield f"{block}_attn_qkv", 3 * width, width
            yield f"{block}_mlp_0", wide, width
            yield f"{block}_mlp_2", width, wide
            yield f"{block}_mod_lin", 6 * width, width
    for n in range(38):
        yield f"single_blocks_{n}_linear1", 3 * width + wide, width
        yield f"single_blocks_{n}_linear2", width, width + wide
        yield f"single_blocks_{n}_modulation_lin", 3 * width, width


def sd15_checkpoint(path: Path) -> Path:
    """A whole Stable Diffusion 1.5 checkpoint in 8 bits: UNet, VAE and text encoder, 1.1 GB that take no room."""
    shapes = {f"model.diffusion_model.{k}": v for k, v in _unet().items()}
    shapes |= {f"first_stage_model.{k}": v for k, v in _vae().items()}
    shapes |= {f"cond_stage_model.transformer.text_model.{k}": v for k, v in _clip_l().items()}
    return safetensors(path, shapes, "F8_E4M3")


def sdxl_vae(path: Path) -> Path:
    """SDXL's VAE in half precision, 167 MB that take no room. Its tensors are those of every SD VAE: only its name says SDXL."""
    return safetensors(path, _vae())


def _weight(name: str, *shape: int, bias: int = 0) -> dict[str, tuple[int, ...]]:
    """A layer's weight and bias, the bias as long as its output (`bias` -1: none)."""
    found: dict[str, tuple[int, ...]] = {f"{name}.weight": shape}
    if bias >= 0:
        found[f"{name}.bias"] = (shape[0],)
    return found


def _unet() -> dict[str, tuple[int, ...]]:
    """SD 1.x: 320 channels times 1, 2, 4, 4; attention on the first three levels; a context of 768."""
    widths, found = (320, 640, 1280, 1280), _weight("time_embed.0", 1280, 320) | _weight("time_embed.2", 1280, 1280)
    found |= _weight("input_blocks.0.0", 320, 4, 3, 3)
    skips, channels, block = [320], 320, 1
    for level, width in enumerate(widths):
        for _ in range(2):
            found |= _residual(f"input_blocks.{block}.0", channels, width)
            if level < 3:
                found |= _attention(f"input_blocks.{block}.1", width)
            channels, block = width, block + 1
            skips.append(width)
        if level < 3:
            found |= _weight(f"input_blocks.{block}.0.op", width, width, 3, 3)
            skips.append(width)
            block += 1
    found |= (
        _residual("middle_block.0", 1280, 1280) | _attention("middle_block.1", 1280) | _residual("middle_block.2", 1280, 1280)
    )
    for n in range(12):
        level = 3 - n // 3
        width = widths[level]
        found |= _residual(f"output_blocks.{n}.0", channels + skips.pop(), width)
        if level < 3:
            found |= _attention(f"output_blocks.{n}.1", width)
        if level and n % 3 == 2:
            found |= _weight(f"output_blocks.{n}.{2 if level < 3 else 1}.conv", width, width, 3, 3)
        channels = width
    return found | _weight("out.0", 320) | _weight("out.2", 4, 320, 3, 3)


def _residual(name: str, into: int, out: int) -> dict[str, tuple[int, ...]]:
    found = _weight(f"{name}.in_layers.0", into) | _weight(f"{name}.in_layers.2", out, into, 3, 3)
    found |= _weight(f"{name}.emb_layers.1", out, 1280)
    found |= _weight(f"{name}.out_layers.0", out) | _weight(f"{name}.out_layers.3", out, out, 3, 3)
    return found if into == out else found | _weight(f"{name}.skip_connection", out, into, 1, 1)


def _attention(name: str, width: int) -> dict[str, tuple[int, ...]]:
    found = _weight(f"{name}.norm", width) | _weight(f"{name}.proj_in", width, width, 1, 1)
    block = f"{name}.transformer_blocks.0"
    for part, context in (("attn1", width), ("attn2", 768)):
        found |= _weight(f"{block}.{part}.to_q", width, width, bias=-1)
        found |= _weight(f"{block}.{part}.to_k", width, context, bias=-1) | _weight(
            f"{block}.{part}.to_v", width, context, bias=-1
        )
        found |= _weight(f"{block}.{part}.to_out.0", width, width)
    found |= _weight(f"{block}.ff.net.0.proj", 8 * width, width) | _weight(f"{block}.ff.net.2", width, 4 * width)
    for n in (1, 2, 3):
        found |= _weight(f"{block}.norm{n}", width)
    return found | _weight(f"{name}.proj_out", width, width, 1, 1)


def _vae() -> dict[str, tuple[int, ...]]:
    """The KL-F8 autoencoder of SD 1.x, 2.x and XL: 128 channels times 1, 2, 4, 4."""
    widths = (128, 256, 512, 512)
    found = _weight("encoder.conv_in", 128, 3, 3, 3)
    channels = 128
    for level, width in enumerate(widths):
        for n in range(2):
            found |= _vae_block(f"encoder.down.{level}.block.{n}", channels, width)
            channels = width
        if level < 3:
            found |= _weight(f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
    found |= _vae_middle("encoder") | _weight("encoder.norm_out", 512) | _weight("encoder.conv_out", 8, 512, 3, 3)
    found |= _weight("decoder.conv_in", 512, 4, 3, 3) | _vae_middle("decoder")
    for level, width in reversed(list(enumerate(widths))):
        for n in range(3):
            found |= _vae_block(f"decoder.up.{level}.block.{n}", channels, width)
            channels = width
        if level:
            found |= _weight(f"decoder.up.{level}.upsample.conv", width, width, 3, 3)
    found |= _weight("decoder.norm_out", 128) | _weight("decoder.conv_out", 3, 128, 3, 3)
    return found | _weight("quant_conv", 8, 8, 1, 1) | _weight("post_quant_conv", 4, 4, 1, 1)


def _vae_block(name: str, into: int, out: int) -> dict[str, tuple[int, ...]]:
    found = _weight(f"{name}.norm1", into) | _weight(f"{name}.conv1", out, into, 3, 3)
    found |= _weight(f"{name}.norm2", out) | _weight(f"{name}.conv2", out, out, 3, 3)
    return found if into == out else found | _weight(f"{name}.nin_shortcut", out, into, 1, 1)


def _vae_middle(half: str) -> dict[str, tuple[int, ...]]:
    found = _vae_block(f"{half}.mid.block_1", 512, 512) | _vae_block(f"{half}.mid.block_2", 512, 512)
    found |= _weight(f"{half}.mid.attn_1.norm", 512)
    for part in ("q", "k", "v", "proj_out"):
        found |= _weight(f"{half}.mid.attn_1.{part}", 512, 512, 1, 1)
    return found


def _clip_l() -> dict[str, tuple[int, ...]]:
    """CLIP ViT-L/14's text half: 12 layers of 768."""
    found = _weight("embeddings.token_embedding", 49408, 768, bias=-1) | _weight(
        "embeddings.position_embedding", 77, 768, bias=-1
    )
    for n in range(12):
        layer = f"encoder.layers.{n}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            found |= _weight(f"{layer}.self_attn.{part}", 768, 768)
        found |= _weight(f"{layer}.layer_norm1", 768) | _weight(f"{layer}.layer_norm2", 768)
        found |= _weight(f"{layer}.mlp.fc1", 3072, 768) | _weight(f"{layer}.mlp.fc2", 768, 3072)
    return found | _weight("final_layer_norm", 768)


# ---------------------------------------------------------------- what nobody wants


def hostile_pickle(path: Path, command: str) -> Path:
    """A "model" that would run a shell command if anybody unpickled it: PROTO 2, GLOBAL posix system, the command, REDUCE, STOP.

    Give a harmless command, such as `true` or one that leaves a mark in a scratch folder.
    """
    said = command.encode()
    # BINUNICODE carries its length in four bytes; TUPLE1 wraps it into the call's arguments
    path.write_bytes(b"\x80\x02cposix\nsystem\nX" + len(said).to_bytes(4, "little") + said + b"\x85R.")
    return path
