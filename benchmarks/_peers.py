"""The same headers asked of diffusers' infer_diffusers_model_type, in a virtual environment of its own that is made when it is wanted.

Only what both can be asked: single safetensors files that hold a diffusion model. It tells families alone, so only the base counts; it
has no way to say that it does not know ("v1" is its answer then), so every wrong answer is a sure one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from pathlib import Path

PACKAGES = ("diffusers", "torch")  # torch as PyPI has it: 5 GB on disk; pip's own PIP_EXTRA_INDEX_URL may name a smaller build
ASK = """
import json, sys
from diffusers.loaders.single_file_utils import infer_diffusers_model_type
class T:
    def __init__(self, shape): self.shape, self.ndim = tuple(shape), len(shape)
for line in sys.stdin:
    try:
        print(infer_diffusers_model_type({k: T(s) for k, s in json.loads(line).items()}), flush=True)
    except Exception as error:
        print("error", type(error).__name__, flush=True)
"""
# the beginning of its answer -> base, the longest first
BASES = {
    "inpainting_v2": "sd2", "inpainting": "sd15", "v1": "sd15", "v2": "sd2", "xl_refiner": "sdxl-refiner", "xl": "sdxl",
    "playground": "sdxl", "upscale": "sd2", "stable_cascade": "stable-cascade", "sd3": "sd3", "sd35": "sd3", "flux-2": "flux2",
    "flux": "flux1", "chroma": "chroma", "auraflow": "auraflow", "ltx-video": "ltx-video", "ltx2": "ltx2", "hunyuan": "hunyuan-video",
    "mochi": "mochi", "lumina": "lumina2", "sana": "sana", "wan": "wan", "hidream": "hidream", "cosmos-1": "cosmos",
    "cosmos-2": "cosmos-predict2", "z-image": "z-image", "qwen": "qwen-image", "pixart": "pixart",
}  # fmt: skip


def asked(case: Mapping[str, object]) -> bool:
    """Is this a case that the peer can be asked about?"""
    expect = case["expect"]
    assert isinstance(expect, Mapping)
    return case["format"] == "safetensors" and not case.get("corrupt") and expect["type"] in ("checkpoint", "diffusion_model")


def answers(cases: Sequence[Mapping[str, object]], folder: Path) -> list[str]:
    """The bases that diffusers names, in order. It is installed into the folder unless it is there.

    Raises subprocess.CalledProcessError when it cannot be installed.
    """
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not python.exists() or subprocess.run([python, "-c", "import diffusers, torch"], check=False).returncode:
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    lines = (json.dumps({k: v[1] for k, v in case["tensors"].items()}) for case in cases)  # type: ignore[attr-defined]
    done = subprocess.run([python, "-c", ASK], input="\n".join(lines), stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return [base_of(line) for line in done.stdout.splitlines()]


def base_of(answer: str) -> str:
    """The base that its word means, `unknown` for one that means none here."""
    return next((BASES[word] for word in sorted(BASES, key=len, reverse=True) if answer.startswith(word)), "unknown")
