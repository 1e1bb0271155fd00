"""What reading headers costs: bytes of a huge file, CPU against safetensors' and gguf's own readers, memory of a hostile header."""

from __future__ import annotations

import json
import os
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import model_files
from _bench import Figure
from dropdock.rules import classify
from dropdock.rules.identify import identify
from dropdock.rules.readers import gguf
from dropdock.rules.recent import Recent

ROUNDS = 7
VOCABULARY, MERGES = 152_000, 151_000
HUGE = 24 << 30  # bytes of the sparse file
HOSTILE = 1_000_000  # tensors of the hostile header
MB = 1 << 20
# the peak is the process's own where the system tells it so: ru_maxrss counts that of the process that started it as well
PEAK = """
import json, re, resource, sys
from pathlib import Path
from dropdock.rules.identify import identify
reason = identify(Path(sys.argv[1])).reason
status = Path("/proc/self/status")
own = re.search(r"VmHWM:\\s+(\\d+)", status.read_text()) if status.exists() else None
most = int(own[1]) if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)
print(json.dumps([most * 1024, reason]))
"""


def cpu(work: Callable[[], object]) -> float:
    """Seconds of this process's CPU."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def in_turns(works: Sequence[Callable[[], object]], rounds: int = ROUNDS) -> list[float]:
    """The median CPU seconds of each, taken in turns."""
    times = [[cpu(work) for work in works] for _ in range(rounds)]
    return [statistics.median(column) for column in zip(*times, strict=True)]


def peer_reads(path: Path) -> None:
    """Every key, dtype and shape, as safetensors' own reader gives them."""
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        for key in file.keys():  # noqa: SIM118  # it is no mapping
            tensor = file.get_slice(key)
            tensor.get_dtype()
            tensor.get_shape()


def safetensors_cpu(paths: Sequence[Path]) -> list[Figure]:
    """Header, full validation and classification of each file, against safe_open reading all keys, dtypes and shapes."""

    def ours() -> None:
        for path in paths:
            identify(path)

    def anew() -> None:
        classify._RECENT = Recent()
        ours()

    ours()
    again, peer, new = in_turns([ours, lambda: [peer_reads(path) for path in paths], anew])
    each = f"{again / len(paths) * 1000:.2f} ms against {peer / len(paths) * 1000:.2f} ms"
    why = "" if peer >= new * 1.2 else "judging a layout for the first time costs as much as reading it; a library has few"
    return [
        Figure("safetensors: read, validate and classify, against safe_open reading all keys, dtypes and shapes (CPU)", "1.2x faster",
               f"{peer / again:.2f}x ({each})", peer >= again * 1.2),
        Figure("the same where no two files have the same tensors", "1.2x faster", f"{peer / new:.2f}x", peer >= new * 1.2, why),
    ]  # fmt: skip


def gguf_cpu(folder: Path) -> Figure:
    """A language model's GGUF against gguf.GGUFReader."""
    from gguf import GGUFReader

    tensors = {"token_embd.weight": ("F16", (VOCABULARY, 64))}
    parts = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down", "ffn_gate", "attn_norm", "ffn_norm")
    tensors |= {f"blk.{n}.{part}.weight": ("F16", (64, 64)) for n in range(36) for part in parts}
    metadata: dict[str, object] = {
        "general.architecture": "qwen3",
        "tokenizer.ggml.tokens": [f"token{n}" for n in range(VOCABULARY)],
        "tokenizer.ggml.token_type": [1] * VOCABULARY,
        "tokenizer.ggml.merges": [f"left{n} right{n}" for n in range(MERGES)],
    }
    path = model_files.write_gguf(folder / "llm.gguf", tensors, metadata)
    ours, peer = in_turns([lambda: gguf.read_header(path), lambda: GGUFReader(path)], rounds=3)
    measured = f"{peer / ours:.0f}x ({ours * 1000:.0f} ms against {peer * 1000:.0f} ms)"
    return Figure(f"GGUF with {VOCABULARY:,} tokens, against gguf.GGUFReader (CPU)", "20x faster", measured, peer >= ours * 20)


def bytes_read(folder: Path) -> Figure | None:
    """Bytes that identifying a 24 GB file reads. None where the system does not count them."""
    counter = Path("/proc/self/io")
    if not counter.exists():
        return None
    blocks, width = 60, 5120
    size = HUGE // 2 // blocks // width
    tensors = {f"transformer_blocks.{n}.ff.weight": ("BF16", (size, width)) for n in range(blocks)}
    path = model_files.write_safetensors(folder / "huge.safetensors", tensors)

    def so_far() -> int:
        return int(counter.read_text().split("rchar:")[1].split()[0])

    identify(path)
    begin = so_far()
    own = so_far() - begin  # what asking reads
    begin = so_far()
    identify(path)
    read = so_far() - begin - own
    name = f"bytes read of a safetensors file of {path.stat().st_size / 2**30:.0f} GiB"
    return Figure(name, "under 1 MB", f"{read:,}", read < 1_000_000)


def hostile_memory(folder: Path) -> Figure:
    """The most memory that a process takes which identifies a header of 69 MB with a million tensors; it must be refused."""
    entry = '"t%d":{"dtype":"U8","shape":[1],"data_offsets":[%d,%d]}'
    text = "{" + ",".join(entry % (n, n, n + 1) for n in range(HOSTILE)) + "}"
    path = folder / "hostile.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text.encode())
    os.truncate(path, path.stat().st_size + HOSTILE)
    done = subprocess.run([sys.executable, "-c", PEAK, path], stdout=subprocess.PIPE, encoding="utf-8", check=True)
    peak, reason = json.loads(done.stdout)
    measured = f"{peak / MB:.0f} MiB, {reason}"
    met = peak < 300 * MB and reason == "header-too-large"
    return Figure(f"peak memory on a hostile header of {len(text) / 1e6:.0f} MB", "under 300 MB, refused", measured, met)
