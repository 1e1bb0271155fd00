"""Pickles, read without running them: a walk over the opcodes with a table of what is plain data.

What must hold: nothing that a pickle names is ever imported or called; what it names is judged by globals.py. The extension
registry and a name that is computed are unsafe too. The walk is bounded in opcodes, stack and nesting.
Opcodes: Lib/pickletools.py; torch's builders: torch/_utils.py.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from ..header import MAX_TENSORS, Damaged, Tensor
from ..terms import Condition
from .canonical import MAX_DIMENSIONS, MAX_SIZE
from .globals import Global, judge

MAX_OPCODES = 8_000_000
MAX_STACK = 2_000_000
MAX_DEPTH = 64
TOO_LARGE = "pickle-too-large"  # reason: the walk was broken off, so what follows is not known
STORAGES = {
    "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Double": "F64", "Long": "I64", "Int": "I32", "Short": "I16",
    "Char": "I8", "Byte": "U8", "Bool": "BOOL", "ComplexFloat": "C64", "Untyped": "U8", "QInt8": "I8", "QUInt8": "U8",
    "Float8_e4m3fn": "F8_E4M3", "Float8_e5m2": "F8_E5M2",
}  # fmt: skip
_DTYPES = {
    "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "int64": "I64", "int32": "I32", "int16": "I16",
    "int8": "I8", "uint8": "U8", "bool": "BOOL", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip
_WRAPPERS = {
    "state_dict",
    "params_ema",
    "params-ema",
    "params",
    "model",
    "ema",
    "model_ema",
    "module",
    "generator",
    "net",
    "g_ema",
}


class Readable(Protocol):
    """What pickletools reads from."""

    def read(self, size: int, /) -> bytes: ...
    def readline(self) -> bytes: ...
    def tell(self) -> int: ...


@dataclass(frozen=True, slots=True)
class _Storage:
    dtype: str


@dataclass(slots=True)
class _Made:
    """Something that would be built by a global: its arguments are forgotten, its state is kept for whole modules."""

    maker: Global
    state: object = None


class _Mark:
    """The stack's mark."""


class _Opaque:
    """A value that nobody asks about."""


_OPAQUE = _Opaque()
_MARK = _Mark()


@dataclass(frozen=True, slots=True)
class TensorStub:
    """A tensor as the pickle describes it."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Pickled:
    """What a pickle holds: its tensors by dotted name, the globals it names, the keys of its outermost mapping.

    storages maps a storage's key to (dtype, element count): what a legacy file must have room for.
    """

    tensors: dict[str, Tensor]
    trust: Condition
    reason: str | None
    why: str
    classes: tuple[str, ...]
    top: tuple[str, ...]
    storages: dict[str, tuple[str, int]]
    value: object = None


@dataclass(slots=True)
class _Machine:
    """A pickle machine that builds stubs. `oddities` collects what is unsafe besides globals."""

    stack: list[object] = field(default_factory=list)
    memo: dict[int, object] = field(default_factory=dict)
    globals: dict[Global, None] = field(default_factory=dict)
    oddities: list[str] = field(default_factory=list)
    storages: dict[str, tuple[str, int]] = field(default_factory=dict)

    def pop(self) -> object:
        return self.stack.pop() if self.stack else _OPAQUE

    def top(self) -> object:
        return self.stack[-1] if self.stack else _OPAQUE

    def to_mark(self) -> list[object]:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                items = self.stack[i + 1 :]
                del self.stack[i:]
                return items
        items, self.stack = self.stack, []
        return items

    def name(self, module: object, name: object) -> object:
        if not isinstance(module, str) or not isinstance(name, str):
            self.oddities.append("computes the name of what it calls")
            return _OPAQUE
        found = Global(module, name)
        self.globals[found] = None
        return found

    def step(self, op: str, arg: object) -> None:
        if op in _PUSH:
            self.stack.append(arg)
        elif op in _CONSTANTS:
            self.stack.append(_CONSTANTS[op])
        elif op in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[int(str(arg))] = self.top()
        elif op == "MEMOIZE":
            self.memo[len(self.memo)] = self.top()
        elif op in ("BINGET", "LONG_BINGET", "GET"):
            self.stack.append(self.memo.get(int(str(arg)), _OPAQUE))
        elif op == "DUP":
            self.stack.append(self.top())
        elif op == "POP":
            self.pop()
        elif op == "POP_MARK":
            self.to_mark()
        else:
            self._build(op, arg)

    def _build(self, op: str, arg: object) -> None:
        if op == "EMPTY_DICT":
            self.stack.append({})
        elif op in ("EMPTY_LIST", "EMPTY_SET"):
            self.stack.append([])
        elif op in ("TUPLE", "FROZENSET"):
            self.stack.append(tuple(self.to_mark()))
        elif op == "LIST":
            self.stack.append(self.to_mark())
        elif op in ("TUPLE1", "TUPLE2", "TUPLE3"):
            items = [self.pop() for _ in range(int(op[-1]))]
            self.stack.append(tuple(reversed(items)))
        elif op == "DICT":
            self.stack.append(_pairs({}, self.to_mark()))
        elif op in ("SETITEM", "SETITEMS"):
            items = self.to_mark() if op == "SETITEMS" else [self.pop(), self.pop()][::-1]
            _pairs(self.top(), items)
        elif op in ("APPEND", "APPENDS", "ADDITEMS"):
            items = [self.pop()] if op == "APPEND" else self.to_mark()
            target = self.top()
            if isinstance(target, list):
                target.extend(items)
        else:
            self._call(op, arg)

    def _call(self, op: str, arg: object) -> None:
        if op == "GLOBAL":
            module, _, name = str(arg).partition(" ")
            self.stack.append(self.name(module, name))
        elif op == "STACK_GLOBAL":
            name_, module_ = self.pop(), self.pop()
            self.stack.append(self.name(module_, name_))
        elif op == "INST":
            module, _, name = str(arg).partition(" ")
            self.to_mark()
            self.stack.append(_made(self.name(module, name), ()))
        elif op == "OBJ":
            items = self.to_mark()
            self.stack.append(_made(items[0] if items else _OPAQUE, tuple(items[1:])))
        elif op in ("REDUCE", "NEWOBJ"):
            args, maker = self.pop(), self.pop()
            self.stack.append(_made(maker, args if isinstance(args, tuple) else ()))
        elif op == "NEWOBJ_EX":
            _, args, maker = self.pop(), self.pop(), self.pop()
            self.stack.append(_made(maker, args if isinstance(args, tuple) else ()))
        elif op == "BUILD":
            state, target = self.pop(), self.top()
            if isinstance(target, _Made):
                target.state = state
        elif op in ("BINPERSID", "PERSID"):
            self.stack.append(self._storage(self.pop() if op == "BINPERSID" else arg))
        elif op.startswith("EXT"):
            self.oddities.append("uses the extension registry")
            self.stack.append(_OPAQUE)

    def _storage(self, key: object) -> object:
        """('storage', torch.FloatStorage, key, device, count …) as torch.save writes it."""
        if not (isinstance(key, tuple) and len(key) >= 5 and key[0] == "storage" and isinstance(key[1], Global)):
            return _OPAQUE
        dtype = STORAGES.get(key[1].name.removesuffix("Storage"), key[1].name)
        if isinstance(key[4], int):
            self.storages[str(key[2])] = (dtype, key[4])
        return _Storage(dtype)


_PUSH = frozenset(
    [
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "BYTEARRAY8",
    ]
)
_CONSTANTS: dict[str, object] = {
    "NONE": None,
    "NEWTRUE": True,
    "NEWFALSE": False,
    "EMPTY_TUPLE": (),
    "MARK": _MARK,
    "NEXT_BUFFER": _OPAQUE,
}


def _pairs(target: object, items: list[object]) -> object:
    if isinstance(target, dict):
        for key, value in zip(items[::2], items[1::2], strict=False):
            if isinstance(key, str | int):
                target[key] = value
    return target


def _made(maker: object, args: tuple[object, ...]) -> object:
    """What calling an allowed builder would give, as a stub."""
    if not isinstance(maker, Global):
        return _OPAQUE
    if maker.name in ("OrderedDict", "defaultdict", "Counter"):
        return _from_pairs(args[0]) if args else {}
    if maker.name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3") and len(args) > 2:
        return _tensor(args)
    if maker.name in ("_rebuild_parameter", "_rebuild_parameter_with_state", "Parameter") and args:
        return args[0]
    if maker.name == "_rebuild_from_type_v2" and len(args) > 2 and isinstance(args[2], tuple):
        return _made(args[0], args[2])
    return _Made(maker)


def _from_pairs(items: object) -> dict[object, object]:
    if not isinstance(items, list):
        return {}
    return {p[0]: p[1] for p in items if isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str)}


def _tensor(args: tuple[object, ...]) -> object:
    storage, shape = args[0], args[2]
    if isinstance(shape, _Made | _Opaque) or not isinstance(shape, tuple) or not isinstance(storage, _Storage):
        return _OPAQUE
    if len(shape) > MAX_DIMENSIONS or not all(isinstance(s, int) and 0 <= s < MAX_SIZE for s in shape):
        return _OPAQUE
    dtype = storage.dtype
    if len(args) > 6 and isinstance(args[6], Global):  # _rebuild_tensor_v3 names the dtype beside an untyped storage
        dtype = _DTYPES.get(args[6].name, dtype)
    return TensorStub(dtype, shape)


def walk(file: Readable) -> Pickled | Damaged:
    """Walk one pickle from where `file` stands to its STOP. Pure but for reading; never raises on bad content."""
    machine = _Machine()
    value: object = None
    try:
        for count, (opcode, arg, _) in enumerate(pickletools.genops(file)):  # type: ignore[arg-type]
            if opcode.name == "STOP":
                value = machine.pop()
                break
            if count > MAX_OPCODES or len(machine.stack) > MAX_STACK:
                return _broken_off(machine, TOO_LARGE, f"the pickle has more than {MAX_OPCODES} instructions")
            machine.step(opcode.name, arg)
    except MemoryError:
        return Damaged(TOO_LARGE, "the pickle wants more memory than it may have")
    except (ValueError, OverflowError) as error:
        return _broken_off(machine, "bad-pickle", f"the pickle is damaged: {str(error)[:80]}")
    return _conclude(machine, value)


def _broken_off(machine: _Machine, reason: str, why: str) -> Pickled | Damaged:
    """A walk that did not come to STOP: what stands before that would already have run, so a verdict on it stands."""
    if any(judge(g) is Condition.UNSAFE for g in machine.globals):
        return _conclude(machine, None)
    return Damaged(reason, why)


def _conclude(machine: _Machine, value: object) -> Pickled:
    judged = {g: judge(g) for g in machine.globals}
    unsafe = [str(g) for g, c in judged.items() if c is Condition.UNSAFE]
    trusted = [str(g) for g, c in judged.items() if c is Condition.NEEDS_TRUST]
    tensors, top = collect(value)
    trust, reason, why = Condition.OK, None, ""
    if unsafe or machine.oddities:
        what = f"names {', '.join(unsafe[:3])}" if unsafe else machine.oddities[0]
        trust, reason, why = Condition.UNSAFE, "runs-code", f"the pickle {what}: loading it would run code"
    elif trusted:
        trust, reason = Condition.NEEDS_TRUST, "pickled-classes"
        why = f"the pickle holds objects of {', '.join(trusted[:3])}: loading it needs that package and your trust"
    return Pickled(tensors, trust, reason, why, tuple(unsafe + trusted), top, machine.storages, value)


def collect(value: object) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Tensors by dotted name, below the usual wrappers ({"state_dict": …}), and the keys of the outermost mapping. Pure."""
    if isinstance(value, _Made):
        value = _state(value)
    top = tuple(k for k in value if isinstance(k, str))[:1000] if isinstance(value, dict) else ()
    for _ in range(4):  # unwrap while one known wrapper holds the tensors
        if not isinstance(value, dict):
            break
        inner = next((value[k] for k in value if k in _WRAPPERS and isinstance(value[k], dict | _Made)), None)
        if inner is None or any(isinstance(v, TensorStub) for v in value.values()):
            break
        value = _state(inner) if isinstance(inner, _Made) else inner
    tensors: dict[str, Tensor] = {}
    for name, stub in _leaves(value):
        tensors[name] = (stub.dtype, stub.shape)
        if len(tensors) >= MAX_TENSORS:
            break
    return tensors, top


def _state(made: _Made) -> dict[object, object]:
    """A whole module's parameters, buffers and sub-modules as one mapping, as `state_dict()` would give them."""
    state = made.state
    if not isinstance(state, dict):
        return {}
    parts = [state.get(k) for k in ("_parameters", "_buffers", "_modules")]
    merged: dict[object, object] = {}
    for part in parts:
        if isinstance(part, dict):
            merged.update(part)
    return merged or {k: v for k, v in state.items() if isinstance(v, dict | TensorStub | _Made)}


def _leaves(value: object) -> Iterator[tuple[str, TensorStub]]:
    """Depth first, in order, each container once: a pickle may share one container exponentially often."""
    seen: set[int] = set()
    todo: list[tuple[str, object, int]] = [("", value, 0)]
    while todo:
        name, item, depth = todo.pop()
        if isinstance(item, TensorStub):
            yield name, item
            continue
        inner = _state(item) if isinstance(item, _Made) else item
        if not isinstance(inner, dict | list) or id(item) in seen or depth > MAX_DEPTH:
            continue
        seen.add(id(item))
        pairs = list(inner.items()) if isinstance(inner, dict) else list(enumerate(inner))
        todo.extend((f"{name}.{k}" if name else str(k), v, depth + 1) for k, v in reversed(pairs))
