"""A blob is bytes named by their SHA-256, cut into chunks that are each verified before they touch a disk.

Decides how a blob is cut and how chunks are checked: the list names the digest of the blob up to the end of each chunk,
so that one pass over the bytes verifies every chunk and, with the last, the whole. Refuses to know how chunks travel.
"""

import hashlib
from io import BytesIO
from typing import Annotated, BinaryIO

import msgspec

from contract.errors import BadInput, Code
from contract.protocol import MAX_BLOB_BYTES, MAX_CHUNK_BYTES
from contract.wire import Message

DIGEST_BYTES = 32
Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class Blob(Message, frozen=True):
    """The description of one blob in a signed manifest."""

    sha256: Digest
    length: Annotated[int, msgspec.Meta(ge=1, le=MAX_BLOB_BYTES)]
    chunk_bytes: Annotated[int, msgspec.Meta(ge=1024, le=MAX_CHUNK_BYTES)]
    chunks_sha256: Digest
    """SHA-256 of the chunk list."""

    @property
    def chunk_count(self) -> int:
        """The number of chunks that the blob is cut into."""
        return -(-self.length // self.chunk_bytes)

    @property
    def list_bytes(self) -> int:
        """The length of the chunk list in bytes."""
        return DIGEST_BYTES * self.chunk_count

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
    listed = chunk_list(data, chunk_bytes)
    return Blob(
        sha256=listed[-DIGEST_BYTES:].hex(),
        length=len(data),
        chunk_bytes=chunk_bytes,
        chunks_sha256=sha256_hex(listed),
    )


def split(data: bytes, chunk_bytes: int) -> list[bytes]:
    """The chunks of `data`, in order."""
    return [data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)]


def chunk_list(data: bytes, chunk_bytes: int) -> bytes:
    """The SHA-256 of the data up to the end of each chunk, joined: 32 bytes each, the last is that of the whole."""
    return chunk_list_of(BytesIO(data), chunk_bytes)


def chunk_list_of(file: BinaryIO, chunk_bytes: int) -> bytes:
    """The same as `chunk_list`, for an open file; one chunk is in memory at a time."""
    sha, digests = hashlib.sha256(), []
    while chunk := file.read(chunk_bytes):
        sha.update(chunk)
        digests.append(sha.digest())
    return b"".join(digests)


def parse_chunk_list(raw: bytes, blob: Blob) -> tuple[bytes, ...]:
    """The digests of `blob` up to each chunk's end, from a list off the wire.

    BadInput `chunk_invalid` if it is not the signed list, or if that does not end in the blob's own digest.
    """
    if len(raw) != blob.list_bytes or sha256_hex(raw) != blob.chunks_sha256:
        raise BadInput(Code.CHUNK_INVALID, f"chunk list of {blob.sha256[:12]} is not the signed one")
    if raw[-DIGEST_BYTES:].hex() != blob.sha256:
        raise BadInput(Code.CHUNK_INVALID, f"chunk list of {blob.sha256[:12]} is of other bytes than the blob")
    return tuple(raw[at : at + DIGEST_BYTES] for at in range(0, len(raw), DIGEST_BYTES))


def sole_chunk(blob: Blob) -> tuple[bytes, ...] | None:
    """The digests of a blob of one chunk, which are known without a list; None for larger blobs."""
    return (bytes.fromhex(blob.sha256),) if blob.chunk_count == 1 else None


class Followed:
    """A blob whose chunks are verified one after the other. `digests` are those of the signed list."""

    def __init__(self, blob: Blob, digests: tuple[bytes, ...]) -> None:
        self.blob = blob
        self.count = 0
        """The number of verified chunks, which is the index of the next one."""
        self._digests = digests
        self._sha = hashlib.sha256()

    @property
    def whole(self) -> bool:
        """Whether the last chunk is verified, and with it the blob's own digest."""
        return self.count == self.blob.chunk_count

    def follow(self, chunk: bytes) -> bool:
        """Takes the next chunk and returns True if these are its bytes. Otherwise changes nothing and returns False."""
        if self.whole or len(chunk) != self.blob.span(self.count)[1]:
            return False
        sha = self._sha.copy()
        sha.update(chunk)
        if sha.digest() != self._digests[self.count]:
            return False
        self._sha, self.count = sha, self.count + 1
        return True
