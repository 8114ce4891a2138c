"""Tensors in memory that an agent and its worker share: one after the other, described by one short message.

Decides the layout, and checks every description that the other side sends: an attacker may control a worker. The region
is a memfd sealed against shrinking, so that no act of the worker makes the agent's reads fail.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from agent.ports import Array
from contract.errors import Code, WorldError

FIRST_BYTES = 1 << 20
MAX_BYTES = 256 << 20
MAX_MESSAGE_BYTES = 256 * 1024
ALIGNMENT = 64
_KINDS = "biufU"


class Placed(msgspec.Struct, array_like=True):
    """The place of one array in the region."""

    name: str
    dtype: str
    shape: list[int]
    offset: int


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
        """Makes the region at least this large. WorldError `worker_failed` beyond MAX_BYTES."""
        if size_bytes > MAX_BYTES:
            raise WorldError(Code.WORKER_FAILED, f"{size_bytes} bytes of tensors, limit {MAX_BYTES}")
        if size_bytes > self.size_bytes:
            os.ftruncate(self.fd, size_bytes)
            self.see(size_bytes)

    def see(self, size_bytes: int) -> None:
        """Maps the region again after the other side has grown it."""
        if size_bytes != self.size_bytes:
            self._map = mmap.mmap(self.fd, size_bytes)
            self.size_bytes = size_bytes

    def put(self, arrays: Mapping[str, Array]) -> list[Placed]:
        """Copies arrays of any shape into the region. They must fit (`needed`).

        Text (object) is stored with a fixed width (U).
        """
        placed, offset = [], 0
        for name, array in arrays.items():
            plain = _plain(array)
            view = np.ndarray(plain.shape, plain.dtype, self._map, offset)
            view[...] = plain
            placed.append(Placed(name, plain.dtype.str, list(plain.shape), offset))
            offset += _aligned(plain.nbytes)
        return placed

    def view(self, placed: Placed) -> Array:
        """Returns the described array with its shape and dtype, not copied.

        WorldError `worker_failed` if it is not valid.
        """
        try:
            dtype = np.dtype(placed.dtype)
            if dtype.kind not in _KINDS or placed.offset < 0 or any(size < 0 for size in placed.shape):
                raise ValueError("a kind, offset or shape that no tensor has")
            return np.ndarray(tuple(placed.shape), dtype, self._map, placed.offset)
        except (TypeError, ValueError) as error:
            raise WorldError(Code.WORKER_FAILED, f"tensor {placed.name[:64]!r}: {error}") from None

    def close(self) -> None:
        """Closes the descriptor. The mapping exists as long as arrays in it."""
        os.close(self.fd)


def needed(arrays: Mapping[str, Array]) -> int:
    """Returns the number of bytes that `put` needs."""
    return sum(_aligned(_plain(array).nbytes) for array in arrays.values())


def write_message(fd: int, said: Said) -> None:
    """Sends a message; OSError if the other side has ended."""
    body = msgspec.json.encode(said)
    data = memoryview(struct.pack("<I", len(body)) + body)
    while data:
        data = data[os.write(fd, data) :]


def read_message(fd: int) -> Said | None:
    """Receives a message; None if the other side has ended or sends something else."""
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


def _plain(array: Array) -> Array:
    """Converts text (object) to a fixed width (U)."""
    return array.astype(np.str_) if array.dtype == object else array


def _aligned(size_bytes: int) -> int:
    return -(-size_bytes // ALIGNMENT) * ALIGNMENT


def as_runtime_input(array: Array) -> Any:
    """Converts text of a fixed width (U) to object, as onnxruntime takes it."""
    return array.astype(object) if array.dtype.kind == "U" else array
