"""A digest of any Python value by its content: equal values have equal digests in every process.

Decides how arrays, frames, containers and objects are read. Bytes of a pickle would not work: they contain the padding
between fields of trees, which is arbitrary memory, and they differ for texts that are equal but not the same object.
Refuses to know what a value is for.
"""

import copyreg
import functools
import hashlib
import math
import struct
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

MAX_DEPTH = 200
"""The depth of objects within objects: a pipeline of stacked forests reaches 30."""


def value_digest(value: Any) -> str:
    """SHA-256 of a value. TypeError names the part that has no content: a lock, an open file, a generator."""
    walk = _Walk()
    walk.add(value, 0)
    return walk.hash.hexdigest()


class _Walk:
    """One walk through a value; an object that contains itself is named by its depth."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self._within: list[int] = []

    def add(self, value: Any, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise TypeError(f"{type(value).__name__} lies deeper than {MAX_DEPTH} objects")
        if self._add_plain(value):
            return
        if id(value) in self._within:
            self._word("again", str(self._within.index(id(value))))
            return
        self._within.append(id(value))
        self._add_parts(value, depth)
        self._within.pop()

    def _add_parts(self, value: Any, depth: int) -> None:
        if isinstance(value, np.ndarray):
            self._add_array(value, depth)
        elif isinstance(value, dict | list | tuple | set | frozenset):
            self._add_container(value, depth)
        elif hasattr(value, "columns") and hasattr(value, "to_numpy"):
            self._add_frame(value, depth)
        else:
            self._add_object(value, depth)

    def _add_plain(self, value: Any) -> bool:
        match value:
            case None | bool() | int():
                self._word(type(value).__name__, str(value))
            case float():
                self._word("float", "nan" if math.isnan(value) else struct.pack("<d", value).hex())
            case str():
                self._word("str", value)
            case bytes() | bytearray():
                self._word("bytes", hashlib.sha256(value).hexdigest())
            case np.generic() if value.dtype.kind in "biufcSUmM":
                self._word(value.dtype.str, value.tobytes().hex())
            case type() | types.FunctionType() | types.BuiltinFunctionType():
                self._word("named", f"{value.__module__}.{value.__qualname__}")
            case types.ModuleType():
                self._word("module", value.__name__)
            case _:
                return False
        return True

    def _add_array(self, array: np.ndarray[Any, Any], depth: int) -> None:
        self._word("array", f"{array.dtype.descr if array.dtype.names else array.dtype.str}{array.shape}")
        if array.dtype.names:  # field by field: there is padding between them
            for name in array.dtype.names:
                self.add(np.ascontiguousarray(array[name]), depth + 1)
        elif array.dtype.kind in "OT":
            self.add(array.tolist(), depth + 1)
        else:
            self.hash.update(np.ascontiguousarray(array).view(np.uint8).tobytes() if array.size else b"")

    def _add_container(self, value: Any, depth: int) -> None:
        self._word(type(value).__qualname__, str(len(value)))
        if isinstance(value, set | frozenset):
            for digest in sorted(map(value_digest, value)):
                self._word("member", digest)
        elif isinstance(value, Mapping):
            for key, item in value.items():
                self.add(key, depth + 1)
                self.add(item, depth + 1)
        else:
            for item in value:
                self.add(item, depth + 1)

    def _add_frame(self, frame: Any, depth: int) -> None:
        self._word("frame", f"{len(frame)}")
        for name in frame.columns:
            self.add(str(name), depth + 1)
            self._word("dtype", str(frame[name].dtype))
            self.add(np.asarray(frame[name].to_numpy()), depth + 1)

    def _add_object(self, value: Any, depth: int) -> None:
        parts = _reduced(value)
        if isinstance(parts, str):
            self._word("global", parts)
            return
        make, arguments, *rest = parts
        self._word("object", type(value).__module__ + "." + type(value).__qualname__)
        self.add(make if isinstance(make, type | types.FunctionType | types.BuiltinFunctionType) else str(make), depth)
        self.add(arguments, depth + 1)
        for part in rest:
            listed = part if part is None or isinstance(part, dict | list | tuple | bytes) else _listed(part)
            self.add(listed, depth + 1)

    def _word(self, kind: str, text: str) -> None:
        raw = text.encode("utf-8", "surrogatepass")
        self.hash.update(f"{kind}:{len(raw)}:".encode() + raw)


def _listed(part: Any) -> Any:
    return list(part) if hasattr(part, "__next__") else part


def _reduced(value: Any) -> Any:
    """Returns what pickle would store of an object; for NumPy's and pandas' own that is plain arrays and texts."""
    if isinstance(value, functools.partial):
        return (type(value), (value.func, value.args, value.keywords))
    reduce: Callable[[Any], Any] | None = copyreg.dispatch_table.get(type(value))
    return reduce(value) if reduce is not None else value.__reduce_ex__(4)
