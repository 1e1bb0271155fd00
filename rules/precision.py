"""The precision a model is stored in, from its dtypes and the tensors that quantisation adds. Pure."""

from __future__ import annotations

from math import prod

from .header import Header

NAMES = {
    "F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8_e4m3", "F8_E5M2": "fp8_e5m2", "I8": "int8",
    "U8": "int8", "F4": "fp4", "I32": "int4", "I64": "int64",
}  # fmt: skip
# general.file_type of GGUF (llama.cpp, enum llama_ftype)
FILE_TYPES = {
    0: "f32", 1: "f16", 2: "q4_0", 3: "q4_1", 7: "q8_0", 8: "q5_0", 9: "q5_1", 10: "q2_k", 11: "q3_k_s", 12: "q3_k_m",
    13: "q3_k_l", 14: "q4_k_s", 15: "q4_k_m", 16: "q5_k_s", 17: "q5_k_m", 18: "q6_k", 19: "iq2_xxs", 20: "iq2_xs",
    21: "q2_k_s", 22: "iq3_xs", 23: "iq3_xxs", 24: "iq1_s", 25: "iq4_nl", 26: "iq3_s", 27: "iq3_m", 28: "iq2_s", 29: "iq2_m",
    30: "iq4_xs", 31: "iq1_m", 32: "bf16", 36: "tq1_0", 37: "tq2_0", 38: "mxfp4",
}  # fmt: skip


def precision_of(header: Header) -> str | None:
    """fp16, bf16, fp8_e4m3, fp8_e4m3_scaled, nf4, svdquant, q4_k_s …: what most elements are stored as; None without tensors."""
    said = header.metadata.get("general.file_type", "")
    if header.container == "gguf" and said.isdecimal() and int(said) in FILE_TYPES:
        return FILE_TYPES[int(said)]
    elements = dict.fromkeys([dtype for dtype, _ in header.tensors.values()], 0)
    for dtype, shape in header.tensors.values() if len(elements) > 1 else ():
        elements[dtype] += prod(shape)
    if not elements:
        return None
    most = max(elements, key=lambda d: elements[d])
    name = NAMES.get(most, most.lower())
    return name if most not in ("U8", "I8", "I32", "F8_E4M3", "F8_E5M2") else _quantised(header, name)


def _quantised(header: Header, name: str) -> str:
    keys = "\n".join(header.tensors)
    if "quant_state.bitsandbytes__fp4" in keys:
        return "fp4"
    if ".absmax" in keys:
        return "nf4"
    if ".qweight" in keys and ".wscales" in keys:
        return "svdquant"
    scaled = ".scale_weight" in keys or "scaled_fp8" in keys or ".weight_scale" in keys
    return name + "_scaled" if scaled and name.startswith("fp8") else name
