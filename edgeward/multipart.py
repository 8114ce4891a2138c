"""A multipart body that is read piece by piece, so that a model of a gigabyte is in memory once, and not three times.

Decides the form of the body (RFC 7578). Refuses to know what is in the parts.
"""

import secrets
from collections.abc import Mapping

Part = tuple[str, bytes, str]
"""(file name, content, type)."""


class Multipart:
    """A body with a part for each of `parts`, as a file that is read once. `size_bytes` is that of the whole body."""

    def __init__(self, parts: Mapping[str, Part]) -> None:
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._pieces: list[memoryview] = []
        for name, (file_name, content, kind) in parts.items():
            head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="{file_name}"\r\n'
            for piece in (f"{head}Content-Type: {kind}\r\n\r\n".encode(), content, b"\r\n"):
                self._pieces.append(memoryview(piece))
        self._pieces.append(memoryview(f"--{boundary}--\r\n".encode()))
        self.size_bytes = sum(map(len, self._pieces))
        self._piece = self._at = 0

    def read(self, size_bytes: int) -> bytes:
        """Returns the next bytes, at most `size_bytes`; none at the end."""
        while self._piece < len(self._pieces):
            found = bytes(self._pieces[self._piece][self._at : self._at + size_bytes])
            if found:
                self._at += len(found)
                return found
            self._piece, self._at = self._piece + 1, 0
        return b""

    def tell(self) -> int:
        """Returns how many bytes were read, so that a call whose connection failed begins again."""
        return sum(map(len, self._pieces[: self._piece])) + self._at

    def seek(self, at: int) -> int:
        """Returns to the beginning. `at` is 0."""
        assert at == 0
        self._piece = self._at = 0
        return at
