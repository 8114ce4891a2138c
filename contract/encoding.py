"""The encoding of artifacts: an xz stream of segments. Each segment is a copy from a base, a difference from it, or
new bytes.

A segment has at most 1 MiB and the stream's dictionary 8 MiB, so decoding needs little memory for any artifact. Bytes
of numbers are reordered (all first bytes, then all second ones) where that compresses better. Decides the format and
its limits. Refuses to know where the base is kept and how segments were found.
"""

import lzma
import struct
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any

import numpy as np

from contract.errors import BadInput, Code

ENCODING = "segments-1"
"""The name by which a device says that it can decode this encoding."""
DICTIONARY_BYTES = 8 << 20
MAX_UNPACK_BYTES = 32 << 20
"""The memory limit of the decoder. A stream that needs a larger dictionary is refused."""
MAX_SEGMENT_BYTES = 1 << 20
HEADER = struct.Struct("<BBQI")
"""(kind, lanes: bytes of one number, 1 if not reordered; offset in the base; length in bytes)"""
LANES = frozenset({1, 2, 4, 8})

Bytes = np.ndarray[Any, np.dtype[np.uint8]]
ReadBase = Callable[[int, int], bytes]
"""(offset, length) -> bytes of the base"""


class Kind(IntEnum):
    """The kind of a segment."""

    COPY = 0
    NEW = 1
    CHANGED = 2
    """The segment holds its XOR with the base."""


def reorder(data: bytes, lanes: int) -> bytes:
    """Puts all first bytes of numbers of `lanes` bytes first, then all second ones. Left-over bytes stay at the end."""
    whole = len(data) // lanes * lanes
    planes = np.frombuffer(data, np.uint8, whole).reshape(-1, lanes).T
    return planes.tobytes() + data[whole:]


def restore(data: bytes, lanes: int) -> bytes:
    """Reverses `reorder`."""
    whole = len(data) // lanes * lanes
    numbers = np.frombuffer(data, np.uint8, whole).reshape(lanes, -1).T
    return numbers.tobytes() + data[whole:]


def changed(data: bytes, base: bytes) -> bytes:
    """Returns the XOR of two byte strings of the same length. It is its own reverse."""
    return bytes((np.frombuffer(data, np.uint8) ^ np.frombuffer(base, np.uint8)).tobytes())


def pack(segments: Iterator[bytes]) -> bytes:
    """Returns the xz stream of these segments."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": DICTIONARY_BYTES}]
    packer = lzma.LZMACompressor(format=lzma.FORMAT_XZ, check=lzma.CHECK_NONE, filters=filters)
    parts = [packer.compress(segment) for segment in segments]
    return b"".join([*parts, packer.flush()])


class Unpacked:
    """Decompresses an xz stream piece by piece.

    BadInput `encoding_invalid` if it is damaged or needs too much memory.
    """

    def __init__(self, read_packed: Callable[[], bytes]) -> None:
        self._read_packed = read_packed
        self._unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MAX_UNPACK_BYTES)

    def read(self, size: int) -> bytes:
        """Returns the next `size` bytes, fewer at the end."""
        parts, missing = [], size
        while missing and not self._unpacker.eof:
            packed = self._read_packed() if self._unpacker.needs_input else b""
            if not packed and self._unpacker.needs_input:
                break
            try:
                part = self._unpacker.decompress(packed, max_length=missing)
            except lzma.LZMAError as error:
                raise _invalid(str(error)) from None
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)


def decode_segments(read: Callable[[int], bytes], read_base: ReadBase, length: int) -> Iterator[bytes]:
    """Yields the artifact of `length` bytes, segment by segment. `read(n)` returns the next n bytes of the unpacked
    stream.

    BadInput `encoding_invalid` for a segment that is too large, or a stream that is too short or too long.
    """
    done = 0
    while done < length:
        kind, lanes, offset, size = _header(_exactly(read, HEADER.size))
        done += size
        if done > length:
            raise _invalid(f"more than {length} bytes")
        before = b"" if kind == Kind.NEW else _base(read_base, offset, size)
        yield before if kind == Kind.COPY else _new(_exactly(read, size), lanes, before)
    if read(1):
        raise _invalid(f"more than {length} bytes")


def _header(raw: bytes) -> tuple[int, int, int, int]:
    kind, lanes, offset, size = HEADER.unpack(raw)
    if kind not in set(Kind) or lanes not in LANES or not 0 < size <= MAX_SEGMENT_BYTES:
        raise _invalid(f"a segment of kind {kind}, {lanes} lanes, {size} bytes")
    return kind, lanes, offset, size


def _new(data: bytes, lanes: int, before: bytes) -> bytes:
    data = restore(data, lanes)
    return changed(data, before) if before else data


def _base(read_base: ReadBase, offset: int, size: int) -> bytes:
    data = read_base(offset, size)
    if len(data) != size:
        raise _invalid(f"the base has no {size} bytes at {offset}")
    return data


def _exactly(read: Callable[[int], bytes], size: int) -> bytes:
    data = read(size)
    if len(data) != size:
        raise _invalid("it ends early")
    return data


def _invalid(words: str) -> BadInput:
    return BadInput(Code.ENCODING_INVALID, f"encoded artifact: {words}")
