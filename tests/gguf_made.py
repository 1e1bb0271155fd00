"""A vision-language model without weights, as two small GGUF files that llama.cpp really runs: it sees the picture and says one fixed text.

The text half has one layer that adds nothing, so what comes out depends on the last token alone, and its output matrix says which token
follows which: behind the assistant's header come the words of the reply, one by one, and then the end of the turn (or, for a circle, some
word again). The vision half is a real tower of random weights: pictures are decoded, cut into patches, encoded and put into the context.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import gguf
import numpy as np

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
HEAD = 64  # dimensions of an attention head
TEMPLATE = (
    "{%- for message in messages -%}<|im_start|>{{ message.role }}{{ '\\n' }}"
    "{%- if message.content is string -%}{{ message.content }}{%- else -%}"
    "{%- for part in message.content -%}{%- if part.type == 'text' -%}{{ part.text }}{%- endif -%}{%- endfor -%}{%- endif -%}"
    "<|im_end|>{{ '\\n' }}{%- endfor -%}{%- if add_generation_prompt -%}<|im_start|>assistant{{ '\\n' }}{%- endif -%}"
)


def scripted(folder: Path, reply: str, circle: bool = False, context: int = 8192) -> Path:
    """`model.gguf` and `mmproj.gguf` in a folder; the model. `circle`: it never ends, but says its last words for ever."""
    folder.mkdir(parents=True, exist_ok=True)
    width = _speaker(folder / "model.gguf", reply, circle, context)
    _eye(folder / "mmproj.gguf", width)
    return folder / "model.gguf"


def _letters() -> list[str]:
    """GPT-2's printable stand-in for each byte."""
    plain = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    spare = iter(range(256, 512))
    return [chr(b) if b in plain else chr(next(spare)) for b in range(256)]


def _script(reply: str) -> list[str]:
    """The reply in distinct pieces, so that each has one successor; none is a single byte, which the tokenizer makes of the prompt."""
    letters = _letters()
    coded = "".join(letters[b] for b in reply.encode())
    pieces: list[str] = []
    at, size = 0, 3
    while at < len(coded):
        end = at + size
        while coded[at:end] in pieces and end < len(coded):
            end += 1
        if len(coded) - end < size:  # no short rest
            end = len(coded)
        while coded[at:end] in pieces:  # only the rest can still be known: it takes the piece before with it
            at -= len(pieces[-1])
            pieces.pop()
        pieces.append(coded[at:end])
        at = end
    return pieces


def _speaker(path: Path, reply: str, circle: bool, context: int) -> int:
    letters, script = _letters(), _script(reply)
    vocabulary = [*letters, letters[32] + "t", *CONTROL, *script]
    number = {word: n for n, word in enumerate(vocabulary)}
    normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    kinds = [control if word in CONTROL else normal for word in vocabulary]
    width = -(-len(vocabulary) // HEAD) * HEAD
    writer = gguf.GGUFWriter(path, "qwen2vl")
    writer.add_name("scripted")
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_block_count(1)
    writer.add_feed_forward_length(32)
    writer.add_head_count(width // HEAD)
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_sections([8, 12, 12, 0])
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(vocabulary)
    writer.add_token_types(kinds)
    writer.add_token_merges([f"{letters[32]} t"])
    writer.add_bos_token_id(number[CONTROL[0]])
    writer.add_eos_token_id(number[CONTROL[2]])
    writer.add_pad_token_id(number[CONTROL[0]])
    writer.add_add_bos_token(False)
    writer.add_chat_template(TEMPLATE)
    chain = [number[letters[10]], *(number[piece] for piece in script), number[CONTROL[2]]]
    if circle:
        chain[-1] = number[script[max(0, len(script) - 6)]]
    for name, tensor in _words(len(vocabulary), width, chain).items():
        writer.add_tensor(name, tensor)
    _written(writer)
    return width


def _words(tokens: int, width: int, chain: list[int]) -> dict[str, np.ndarray]:
    """Each token is a direction of its own; the output matrix turns each into the next of the chain."""
    embedding, output = np.zeros((tokens, width), np.float32), np.zeros((tokens, width), np.float32)
    embedding[np.arange(tokens), np.arange(tokens)] = 1
    for first, second in itertools.pairwise(chain):
        output[second, first] = 2
    one = np.ones(width, np.float32)

    def nothing(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.float32)

    layer = {
        "attn_norm.weight": one,
        "ffn_norm.weight": one,
        "attn_q.weight": nothing(width, width),
        "attn_q.bias": nothing(width),
        "attn_k.weight": nothing(HEAD, width),
        "attn_k.bias": nothing(HEAD),
        "attn_v.weight": nothing(HEAD, width),
        "attn_v.bias": nothing(HEAD),
        "attn_output.weight": nothing(width, width),
        "ffn_gate.weight": nothing(32, width),
        "ffn_up.weight": nothing(32, width),
        "ffn_down.weight": nothing(width, 32),
    }
    whole = {"token_embd.weight": embedding, "output.weight": output, "output_norm.weight": one}
    return {**whole, **{f"blk.0.{name}": tensor for name, tensor in layer.items()}}


def _eye(path: Path, speaker: int, width: int = 32, heads: int = 2, layers: int = 2, patch: int = 14) -> None:
    random = np.random.default_rng(11)

    def noise(*shape: int) -> np.ndarray:
        return (random.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32)

    one = np.ones(width, np.float32)
    writer = gguf.GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_clip_has_vision_encoder(True)
    writer.add_clip_projector_type("qwen2.5vl_merger")
    writer.add_vision_image_size(560)
    writer.add_vision_patch_size(patch)
    writer.add_vision_embedding_length(width)
    writer.add_vision_feed_forward_length(2 * width)
    writer.add_vision_projection_dim(speaker)
    writer.add_vision_block_count(layers)
    writer.add_vision_head_count(heads)
    writer.add_vision_attention_layernorm_eps(1e-6)
    writer.add_vision_image_mean([0.5, 0.5, 0.5])
    writer.add_vision_image_std([0.5, 0.5, 0.5])
    writer.add_vision_use_silu(True)
    writer.add_vision_n_wa_pattern(2)
    writer.add_tensor("v.patch_embd.weight", noise(width, 3, patch, patch))
    writer.add_tensor("v.patch_embd.weight.1", noise(width, 3, patch, patch))
    writer.add_tensor("v.post_ln.weight", one)
    for layer in range(layers):
        at = f"v.blk.{layer}."
        for name in ("ln1", "ln2"):
            writer.add_tensor(f"{at}{name}.weight", one)
        for name, rows, columns in (
            *((part, width, width) for part in ("attn_q", "attn_k", "attn_v", "attn_out")),
            ("ffn_gate", 2 * width, width), ("ffn_up", 2 * width, width), ("ffn_down", width, 2 * width),
        ):  # fmt: skip
            writer.add_tensor(f"{at}{name}.weight", noise(rows, columns))
            writer.add_tensor(f"{at}{name}.bias", np.zeros(rows, np.float32))
    writer.add_tensor("mm.0.weight", noise(4 * width, 4 * width))
    writer.add_tensor("mm.0.bias", np.zeros(4 * width, np.float32))
    writer.add_tensor("mm.2.weight", noise(speaker, 4 * width))
    writer.add_tensor("mm.2.bias", np.zeros(speaker, np.float32))
    _written(writer)


def _written(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
