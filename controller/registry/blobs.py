"""Content-addressed blobs in a directory. A file is named by its SHA-256, so its content can be verified.

Decides that a large blob is never in memory as a whole: files come in by a hard link, and are verified piece by piece.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path

from contract.blobs import sha256_hex
from contract.errors import BadInput, Code
from contract.names import is_digest
from controller.registry.atomic_file import link_file, replace_file, sync_directory


class BlobStore:
    """Blobs by digest."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, data: bytes) -> str:
        """Stores `data` durably. Returns its SHA-256 as a hexadecimal text. WorldError `disk_full`."""
        digest = sha256_hex(data)
        path = self.path(digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(path, data)
        return digest

    def take(self, file: Path, digest: str) -> None:
        """Stores a file durably under the digest of its bytes, which the caller has computed. WorldError `disk_full`.

        The file stays in its place and must not change after this, because it may be the blob itself.
        """
        path = self.path(digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            link_file(file, path)

    def mend(self, file: Path, digest: str) -> bool:
        """Stores a file as `take` does, also in place of a blob that is damaged. WorldError `disk_full`.

        Returns whether the blob was missing or damaged.
        """
        try:
            with self.opened(digest):
                return False
        except BadInput:
            self.path(digest).unlink(missing_ok=True)
        self.take(file, digest)
        return True

    def get(self, digest: str) -> bytes:
        """Returns the verified bytes. BadInput `store_corrupt` if they are missing, unreadable or changed."""
        with _readable(digest):
            data = self.path(digest).read_bytes()
        if sha256_hex(data) != digest:
            raise _damaged(digest)
        return data

    @contextmanager
    def unverified(self, digest: str) -> Iterator[BufferedReader]:
        """Opens the file for a reader that verifies what it reads. BadInput `store_corrupt` if it is missing."""
        with _readable(digest):
            file = self.path(digest).open("rb")
        with file:
            yield file

    @contextmanager
    def opened(self, digest: str) -> Iterator[BufferedReader]:
        """Opens the verified file, at its beginning. BadInput `store_corrupt` as of `get`."""
        with self.unverified(digest) as file:
            with _readable(digest):
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != digest:
                raise _damaged(digest)
            file.seek(0)
            yield file

    def remove(self, digest: str) -> int:
        """Deletes a blob; returns its bytes, 0 if it was not there. The caller must know that nothing needs it."""
        path = self.path(digest)
        try:
            size_bytes = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            return 0
        sync_directory(path.parent)
        return size_bytes

    def path(self, digest: str) -> Path:
        """Returns the path of a blob's file, whose reader must verify the bytes.

        ValueError if `digest` is not a digest.
        """
        if not is_digest(digest):
            raise ValueError(f"not a digest: {digest[:80]!r}")
        return self._directory / digest[:2] / digest


@contextmanager
def _readable(digest: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise BadInput(Code.STORE_CORRUPT, f"blob {digest[:12]} is missing") from None
    except OSError as error:
        raise BadInput(Code.STORE_CORRUPT, f"blob {digest[:12]} cannot be read: {error.strerror}") from None


def _damaged(digest: str) -> BadInput:
    return BadInput(Code.STORE_CORRUPT, f"blob {digest[:12]} is damaged; restore it from a backup")
