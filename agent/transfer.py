"""One blob on its way to the device: which chunks to ask for, how many at a time, when to give up.

Decides from arrivals and the clock it is handed. Refuses to know how chunks travel or where they are kept.
The window adapts so that about one second of data is in flight: a wider one would delay commands on a slow link.
"""

import hashlib
from collections.abc import Iterable

from contract.blobs import Blob

WINDOW_FIRST = 2
WINDOW_MAX = 16
IN_FLIGHT_S = 1.0
STALL_S = 8.0
"""Connected and no chunk for so long: ask again."""
MAX_STALLS = 4
"""Stalls in a row before the transfer ends as `transfer_stalled`."""


class Transfer:
    """Bookkeeping of one blob. `digests` are the signed chunk digests, `have` the chunks already on disk."""

    def __init__(self, blob: Blob, digests: tuple[bytes, ...], have: Iterable[int], now: float) -> None:
        self.blob = blob
        self._digests = digests
        held = set(have)
        self._missing = [index for index in range(blob.chunk_count) if index not in held]
        self._missing.reverse()
        self._asked: set[int] = set()
        self._window = WINDOW_FIRST
        self._window_began = now
        self._window_bytes = 0
        self._heard_at = now
        self._stalls = 0

    @property
    def done(self) -> bool:
        """Every chunk is on disk."""
        return not self._missing and not self._asked

    @property
    def have_bytes(self) -> int:
        """Bytes of the blob that are on disk, to within the last chunk's length."""
        waiting = (len(self._missing) + len(self._asked)) * self.blob.chunk_bytes
        return max(0, self.blob.length - waiting)

    def ask(self, now: float) -> tuple[int, ...]:
        """The next window of chunks to subscribe to; empty while one is in flight or none is missing."""
        if self._asked or not self._missing:
            return ()
        count = min(self._window, len(self._missing))
        wanted = tuple(self._missing.pop() for _ in range(count))
        self._asked = set(wanted)
        self._window_began, self._window_bytes, self._heard_at = now, 0, now
        return wanted

    def accepts(self, index: int, data: bytes) -> bool:
        """Whether `data` is a chunk that was asked for, intact; late, duplicate and foreign ones are not."""
        return index in self._asked and hashlib.sha256(data).digest() == self._digests[index]

    def arrived(self, index: int, now: float) -> None:
        """The chunk is on disk."""
        self._asked.discard(index)
        self._stalls = 0
        self._heard_at = now
        size_bytes = self.blob.span(index)[1]
        self._window_bytes += size_bytes
        if not self._asked:
            self._adapt(now)

    def stalled(self, now: float) -> bool:
        """Whether the window must be asked for again; call `retract` then."""
        return bool(self._asked) and now - self._heard_at >= STALL_S

    def retract(self) -> tuple[int, ...]:
        """Take the window back, to be asked for again; the chunks to unsubscribe from."""
        asked = tuple(sorted(self._asked))
        self._missing.extend(reversed(asked))
        self._asked = set()
        return asked

    def count_stall(self) -> bool:
        """Count a stall; True when the limit is reached."""
        self._stalls += 1
        self._window = WINDOW_FIRST
        return self._stalls >= MAX_STALLS

    def wake_at(self) -> float | None:
        """When `stalled` may become true."""
        return self._heard_at + STALL_S if self._asked else None

    def _adapt(self, now: float) -> None:
        rate = self._window_bytes / max(now - self._window_began, 1e-3)
        fitting = int(rate * IN_FLIGHT_S / self.blob.chunk_bytes)
        self._window = max(1, min(WINDOW_MAX, 2 * self._window, fitting))
