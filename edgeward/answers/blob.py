"""A blob as the API describes it; unlike the contract's, a key of a newer controller is ignored."""

from contract.blobs import Digest
from edgeward.answers.answer import Answer


class Blob(Answer, frozen=True):
    """Bytes named by their SHA-256, cut into chunks of `chunk_bytes`."""

    sha256: Digest
    length: int
    chunk_bytes: int
    chunks_sha256: Digest
    """SHA-256 of the chunk list."""
