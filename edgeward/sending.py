"""A body that reports how much of it has been sent.

Decides when it reports: with each piece that is read from it. Refuses to know where it is sent.
"""

from collections.abc import Callable

from edgeward.multipart import Multipart

Sent = Callable[[int, int], None]
"""Called with (bytes sent so far, bytes in all)."""


class ToldBody:
    """A multipart body that reports each piece to `sent` when it is read."""

    def __init__(self, body: Multipart, sent: Sent) -> None:
        self._body, self._sent = body, sent

    def read(self, size_bytes: int) -> bytes:
        """Returns the next piece, and reports the bytes sent with it."""
        piece = self._body.read(size_bytes)
        self._sent(self._body.tell(), self._body.size_bytes)
        return piece

    def tell(self) -> int:
        """Returns how many bytes were read, as `Multipart` does."""
        return self._body.tell()

    def seek(self, at: int) -> int:
        """Begins again, as `Multipart` does."""
        return self._body.seek(at)
