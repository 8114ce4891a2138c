"""A body that tells how much of it has been sent, in place of its bytes.

Decides when it tells: with each piece that is taken from it. Refuses to know where it goes.
"""

import io
from collections.abc import Callable

Sent = Callable[[int, int], None]
"""Called with (bytes sent so far, bytes in all)."""


class ToldBody(io.BytesIO):
    """Bytes that are read from the begin to the end by whatever sends them."""

    def __init__(self, content: bytes, sent: Sent) -> None:
        super().__init__(content)
        self._sent = sent
        self._total_bytes = len(content)

    def read(self, size: int | None = -1, /) -> bytes:
        """Returns the next piece, and tells what was sent with it."""
        piece = super().read(size)
        self._sent(self.tell(), self._total_bytes)
        return piece
