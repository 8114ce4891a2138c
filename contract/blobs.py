"""A blob is bytes named by their SHA-256, cut into chunks that are each verified on arrival.

Decides how a blob is cut and how its chunk list is checked. Refuses to know how chunks travel.
"""

import hashlib
from io import BytesIO
from typing import Annotated, BinaryIO

import msgspec

from contract.errors import BadInput, Code
from contract.protocol import MAX_BLOB_BYTES, MAX_CHUNK_BYTES
from contract.wire import Message

Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Blob(Message, frozen=True):
    """What a signed manifest says about one blob."""

    sha256: Digest
    length: Annotated[int, msgspec.Meta(ge=1, le=MAX_BLOB_BYTES)]
    chunk_bytes: Annotated[int, msgspec.Meta(ge=1024, le=MAX_CHUNK_BYTES)]
    chunks_sha256: Digest
    """SHA-256 of the chunk list, so that each chunk can be checked before it touches the disk."""

    @property
    def chunk_count(self) -> int:
        """How many chunks the blob is cut into."""
        return -(-self.length // self.chunk_bytes)

    def span(self, index: int) -> tuple[int, int]:
        """(offset, size in bytes) of chunk `index`."""
        offset = index * self.chunk_bytes
        return offset, min(self.chunk_bytes, self.length - offset)


def sha256_hex(data: bytes) -> str:
    """Lower-case hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()


def describe(data: bytes, chunk_bytes: int) -> Blob:
    """The Blob of `data` when cut into `chunk_bytes`; ValueError for no data."""
    if not data:
        raise ValueError("a blob has at least one byte")
    return Blob(
        sha256=sha256_hex(data),
        length=len(data),
        chunk_bytes=chunk_bytes,
        chunks_sha256=sha256_hex(chunk_list(data, chunk_bytes)),
    )


def split(data: bytes, chunk_bytes: int) -> list[bytes]:
    """The chunks of `data`, in order."""
    return [data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)]


def chunk_list(data: bytes, chunk_bytes: int) -> bytes:
    """The 32-byte SHA-256 of every chunk, joined."""
    return chunk_list_of(BytesIO(data), chunk_bytes)


def chunk_list_of(file: BinaryIO, chunk_bytes: int) -> bytes:
    """The same of an open file, a chunk in memory at a time."""
    return b"".join(hashlib.sha256(chunk).digest() for chunk in iter(lambda: file.read(chunk_bytes), b""))


def parse_chunk_list(raw: bytes, blob: Blob) -> tuple[bytes, ...]:
    """The chunk digests of `blob` from a list off the wire; BadInput `chunk_invalid` if it is not the signed list."""
    if len(raw) != 32 * blob.chunk_count or sha256_hex(raw) != blob.chunks_sha256:
        raise BadInput(Code.CHUNK_INVALID, f"chunk list of {blob.sha256[:12]} is not the signed one")
    return tuple(raw[at : at + 32] for at in range(0, len(raw), 32))


def sole_chunk(blob: Blob) -> tuple[bytes, ...] | None:
    """The chunk digests of a blob of one chunk, which are known without a list; None for larger blobs."""
    return (bytes.fromhex(blob.sha256),) if blob.chunk_count == 1 else None
