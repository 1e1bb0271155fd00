"""Which names a pickle may mention: an allow-list, because lists of what is forbidden always leak.

What must hold: the first list builds tensors and containers and can run nothing; the second is usual in whole-module pickles
(a YOLO) and needs the user's trust; all else is unsafe. A name with a dot in it would walk from an allowed class to something
else, so no list holds one. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..terms import Condition

_PLAIN = re.compile(
    r"collections (OrderedDict|defaultdict|Counter)|"
    r"torch\._utils _rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state|qtensor|sparse_tensor)|"
    r"torch\._tensor _rebuild_from_type_v2|torch\.nn\.parameter (Parameter|Buffer)|torch\.serialization _get_layout|"
    r"torch(\.cuda)? (\w+Storage|(Float|Half|BFloat16|Double|Long|Int|Short|Char|Byte|Bool)Tensor|Tensor)|"
    r"torch\.storage (UntypedStorage|TypedStorage)|torch (Size|device|dtype|finfo|layout|strided)|"
    r"torch (float|double|half|bfloat|int|uint|short|long|bool|complex|float8_e4m3fn|float8_e5m2|qint|quint)\d*|"
    r"numpy(\._?core|\._core)?\.multiarray (_reconstruct|scalar)|numpy (ndarray|dtype|float\d+|int\d+|uint\d+|bool_)|"
    r"numpy\.dtypes \w+DType|_codecs encode|argparse Namespace|"
    r"(builtins|__builtin__) (set|frozenset|list|dict|tuple|int|float|complex|bool|str|bytes|bytearray|slice|range|object)|"
    r"(lightning(\.pytorch|_lite|_fabric)?|pytorch_lightning)\.(callbacks|utilities)\.[\w.]+ [A-Z]\w*"
)
_TRUSTED_ONLY = re.compile(
    r"torch\.nn\.(modules|parallel)\.[\w.]+ [A-Z]\w*|torch\.optim\.[\w.]+ [A-Z]\w*|"
    r"ultralytics\.[\w.]+ (v8\w+|[A-Z]\w*)|(models\.(yolo|common|experimental)|yolov5[\w.]*) [A-Z]\w*|"
    r"pathlib (Pure)?(Posix|Windows)?Path|"
    r"torch\._dynamo\.[\w.]+ [A-Z]\w*|omegaconf\.[\w.]+ [A-Z]\w*|(yacs\.config|easydict) [A-Z]\w*|"
    r"(transformers|diffusers|timm|torchvision|basicsr|sgm|ldm|segment_anything)\.[\w.]+ [A-Z]\w*|"
    r"datetime (datetime|date|timedelta)|uuid UUID|__torch__[\w.]* \w+|__main__ [A-Z]\w*"
)


@dataclass(frozen=True, slots=True)
class Global:
    """A name that the pickle mentions."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def judge(named: Global) -> Condition:
    """How far a global can be trusted: OK, NEEDS_TRUST or UNSAFE. Pure."""
    label = f"{named.module} {named.name}"
    if _PLAIN.fullmatch(label):
        return Condition.OK
    return Condition.NEEDS_TRUST if _TRUSTED_ONLY.fullmatch(label) else Condition.UNSAFE
