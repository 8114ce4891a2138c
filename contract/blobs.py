"""Blobs: bytes that are named by their SHA-256 and cut into chunks. Each chunk is verified before it is written to
disk.

Decides how a blob is cut and how chunks are checked. The list names the digest of the blob up to the end of each chunk:
one pass over the bytes verifies every chunk and, with the last, the whole. Refuses to know how chunks travel.
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
        """The number of chunks of the blob."""
        return -(-self.length // self.chunk_bytes)

    @property
    def list_bytes(self) -> int:
        """The length of the chunk list in bytes."""
        return DIGEST_BYTES * self.chunk_count

    def span(self, index: int) -> tuple[int, int]:
        """Returns (offset, size in bytes) of chunk `index`."""
        offset = index * self.chunk_bytes
        return offset, min(self.chunk_bytes, self.length - offset)


def sha256_hex(data: bytes) -> str:
    """Returns the SHA-256 in lower-case hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def describe(data: bytes, chunk_bytes: int) -> Blob:
    """Returns the Blob of `data` when it is cut into chunks of `chunk_bytes`. ValueError for empty data."""
    return describe_file(BytesIO(data), chunk_bytes)


def describe_file(file: BinaryIO, chunk_bytes: int) -> Blob:
    """Returns the same as `describe` for an open file. Only one chunk is in memory at a time."""
    listed = chunk_list_of(file, chunk_bytes)
    if not listed:
        raise ValueError("a blob has at least one byte")
    return Blob(
        sha256=listed[-DIGEST_BYTES:].hex(),
        length=file.tell(),
        chunk_bytes=chunk_bytes,
        chunks_sha256=sha256_hex(listed),
    )


def split(data: bytes, chunk_bytes: int) -> list[bytes]:
    """Returns the chunks of `data`, in order."""
    return [data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)]


def chunk_list(data: bytes, chunk_bytes: int) -> bytes:
    """Returns the chunk list: for each chunk the 32 bytes of the SHA-256 of the data up to its end.

    The last is the blob's own.
    """
    return chunk_list_of(BytesIO(data), chunk_bytes)


def chunk_list_of(file: BinaryIO, chunk_bytes: int) -> bytes:
    """Returns the same as `chunk_list` for an open file. Only one chunk is in memory at a time."""
    sha, digests = hashlib.sha256(), []
    while chunk := file.read(chunk_bytes):
        sha.update(chunk)
        digests.append(sha.digest())
    return b"".join(digests)


def parse_chunk_list(raw: bytes, blob: Blob) -> tuple[bytes, ...]:
    """Returns the digests of `blob` up to each chunk's end, from a list that was received.

    BadInput `chunk_invalid` if it is not the signed list, or if the list does not end with the blob's own digest.
    """
    if len(raw) != blob.list_bytes or sha256_hex(raw) != blob.chunks_sha256:
        raise BadInput(Code.CHUNK_INVALID, f"chunk list of {blob.sha256[:12]} is not the signed one")
    if raw[-DIGEST_BYTES:].hex() != blob.sha256:
        raise BadInput(Code.CHUNK_INVALID, f"chunk list of {blob.sha256[:12]} is of other bytes than the blob")
    return tuple(raw[at : at + DIGEST_BYTES] for at in range(0, len(raw), DIGEST_BYTES))


def sole_chunk(blob: Blob) -> tuple[bytes, ...] | None:
    """Returns the digests of a blob with one chunk, which are known without a list; None for larger blobs."""
    return (bytes.fromhex(blob.sha256),) if blob.chunk_count == 1 else None


class Followed:
    """A blob whose chunks are verified one after the other. `digests` are those of the signed list."""

    def __init__(self, blob: Blob, digests: tuple[bytes, ...]) -> None:
        self.blob = blob
        self.count = 0
        """The number of verified chunks, which is also the index of the next one."""
        self._digests = digests
        self._sha = hashlib.sha256()

    @property
    def whole(self) -> bool:
        """Tells whether the last chunk is verified, and with it the blob's own digest."""
        return self.count == self.blob.chunk_count

    def follow(self, chunk: bytes) -> bool:
        """Verifies the next chunk. Returns True and counts it if its bytes are right; otherwise changes nothing,
        returns False.
        """
        if self.whole or len(chunk) != self.blob.span(self.count)[1]:
            return False
        sha = self._sha.copy()
        sha.update(chunk)
        if sha.digest() != self._digests[self.count]:
            return False
        self._sha, self.count = sha, self.count + 1
        return True
