"""Tensors in memory that an agent and its worker share, one behind the other; one short message describes them.

Decides the layout, and checks every description that the other side sends: an attacker may control a worker.
Numbers are stored unchanged. Text is stored as the end of each cell, uint32, and then all cells as UTF-8, so that
one long cell does not widen others. The region is a memfd sealed against shrinking, so that the worker cannot make
the agent's reads fail.
"""

import fcntl
import math
import mmap
import os
import struct
from collections.abc import Mapping

import msgspec
import numpy as np

from agent.ports import Array
from contract.errors import BadInput, Code, WorldError

FIRST_BYTES = 1 << 20
MAX_BYTES = 256 << 20
MAX_MESSAGE_BYTES = 256 * 1024
ALIGNMENT = 64
TEXT = "utf8"
"""The dtype that a description gives for text."""
_KINDS = "biuf"


class Placed(msgspec.Struct, array_like=True):
    """The place of one array in the region."""

    name: str
    dtype: str
    shape: list[int]
    offset: int


class Laid(msgspec.Struct, frozen=True):
    """An array in the form in which it is stored in the region."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    blocks: tuple[Array, ...]
    """The buffers, one behind the other: for numbers the array itself, for text the ends and the bytes."""

    @property
    def size_bytes(self) -> int:
        """The bytes that the array takes in the region."""
        return sum(block.nbytes for block in self.blocks)


class Said(msgspec.Struct):
    """One message between agent and worker."""

    tensors: list[Placed] = []
    size_bytes: int = 0
    """The size of the region in bytes; from a worker: the size that its answer needs."""
    fault: str = ""
    """The runtime's exception as text."""


class Region:
    """The shared memory, mapped into this process."""

    def __init__(self, fd: int | None = None) -> None:
        if fd is None:
            fd = os.memfd_create("edgeward-tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
            os.ftruncate(fd, FIRST_BYTES)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        self.fd = fd
        self.size_bytes = os.fstat(fd).st_size
        self._map = mmap.mmap(fd, self.size_bytes)

    def grow(self, size_bytes: int) -> None:
        """Makes the region at least this large. BadInput `tensors_invalid` if that is more than MAX_BYTES."""
        if size_bytes > MAX_BYTES:
            raise BadInput(Code.TENSORS_INVALID, f"{size_bytes} bytes of tensors, limit {MAX_BYTES}")
        if size_bytes > self.size_bytes:
            os.ftruncate(self.fd, size_bytes)
            self.see(size_bytes)

    def see(self, size_bytes: int) -> None:
        """Maps the region again after the other side has grown it."""
        if size_bytes != self.size_bytes:
            self._map = mmap.mmap(self.fd, size_bytes)
            self.size_bytes = size_bytes

    def put(self, laid: list[Laid]) -> list[Placed]:
        """Copies arrays into the region. They must fit (`needed`)."""
        placed, offset = [], 0
        for each in laid:
            placed.append(Placed(each.name, each.dtype, list(each.shape), offset))
            at = offset
            for block in each.blocks:
                np.ndarray(block.shape, block.dtype, self._map, at)[...] = block
                at += block.nbytes
            offset += _aligned(each.size_bytes)
        return placed

    def view(self, placed: Placed) -> Array:
        """Returns the described array with its shape and dtype: numbers are not copied, text has dtype object.

        WorldError `worker_failed` if it is not valid.
        """
        try:
            if placed.offset < 0 or any(size < 0 for size in placed.shape):
                raise ValueError("an offset or shape that no tensor has")
            if placed.dtype == TEXT:
                return self._text(placed)
            dtype = np.dtype(placed.dtype)
            if dtype.kind not in _KINDS:
                raise ValueError("a kind that no tensor has")
            return np.ndarray(tuple(placed.shape), dtype, self._map, placed.offset)
        except (TypeError, ValueError) as error:
            raise WorldError(Code.WORKER_FAILED, f"tensor {placed.name[:64]!r}: {error}") from None

    def _text(self, placed: Placed) -> Array:
        """Reads text. The ends are copied before the check, because the other side could change them after it."""
        count = math.prod(placed.shape)
        ends = np.ndarray((count,), np.uint32, self._map, placed.offset).copy()
        start, size = placed.offset + ends.nbytes, int(ends[-1]) if count else 0
        if (ends[1:] < ends[:-1]).any() or start + size > self.size_bytes:
            raise ValueError("text that ends before it begins, or beyond the region")
        raw, places = self._map[start : start + size], ends.tolist()
        cells = np.empty(count, object)
        cells[:] = [raw[begin:end].decode() for begin, end in zip([0, *places], places, strict=False)]
        return cells.reshape(placed.shape)

    def close(self) -> None:
        """Closes the descriptor. The mapping remains until its last array is freed."""
        os.close(self.fd)


def lay(arrays: Mapping[str, Array]) -> list[Laid]:
    """Returns arrays of any shape in the form in which they are shared. BadInput `tensors_invalid` for broken text."""
    return [
        _laid_text(name, array)
        if array.dtype.kind in "OU"
        else Laid(name, array.dtype.str, array.shape, (np.ascontiguousarray(array).reshape(array.shape),))
        for name, array in arrays.items()
    ]


def _laid_text(name: str, array: Array) -> Laid:
    try:
        cells = [str(cell).encode() for cell in array.ravel().tolist()]
    except UnicodeEncodeError as error:
        raise BadInput(Code.TENSORS_INVALID, f"tensor {name!r}: {error}"[:200]) from None
    ends = np.cumsum([len(cell) for cell in cells], dtype=np.uint64)
    if len(ends) and ends[-1] > MAX_BYTES:
        raise BadInput(Code.TENSORS_INVALID, f"tensor {name!r}: {ends[-1]} bytes of text, limit {MAX_BYTES}")
    return Laid(name, TEXT, array.shape, (ends.astype(np.uint32), np.frombuffer(b"".join(cells), np.uint8)))


def needed(laid: list[Laid]) -> int:
    """Returns the number of bytes that `put` needs."""
    return sum(_aligned(each.size_bytes) for each in laid)


def write_message(fd: int, said: Said) -> None:
    """Sends a message; OSError if the other process has ended."""
    body = msgspec.json.encode(said)
    data = memoryview(struct.pack("<I", len(body)) + body)
    while data:
        data = data[os.write(fd, data) :]


def read_message(fd: int) -> Said | None:
    """Receives a message; None if the other process has ended or sends something else."""
    head = _exactly(fd, 4)
    if head is None:
        return None
    (length,) = struct.unpack("<I", head)
    body = _exactly(fd, length) if length <= MAX_MESSAGE_BYTES else None
    try:
        return None if body is None else msgspec.json.decode(body, type=Said)
    except msgspec.MsgspecError:
        return None


def _exactly(fd: int, size_bytes: int) -> bytes | None:
    found = b""
    while len(found) < size_bytes:
        part = os.read(fd, size_bytes - len(found))
        if not part:
            return None
        found += part
    return found


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT
