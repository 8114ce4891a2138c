"""A blob as the API describes it. Unlike the contract's Blob, it ignores the keys of a newer controller."""

from contract.blobs import Digest
from edgeward.answers.answer import Answer


class Blob(Answer, frozen=True):
    """Bytes named by their SHA-256, cut into chunks of `chunk_bytes`."""

    sha256: Digest
    length: int
    chunk_bytes: int
    chunks_sha256: Digest
    """SHA-256 of the chunk list."""
