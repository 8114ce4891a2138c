"""One blob in transfer: which chunks to request, how many at a time, when to give up.

Decides from arrivals and the time that is handed in. Pure. Refuses to know how chunks travel or where they are
kept. Chunks are verified in their order: a chunk that arrives early is held until those before it have arrived. The
number of chunks in flight adapts, so that they hold about one second of data. With more, commands would be late on
a slow link. With fewer, the link would be idle between requests.
"""

import math
from collections.abc import Iterable, Iterator

from contract.blobs import Followed
from contract.errors import BadInput, Code

FIRST_IN_FLIGHT = 2
MIN_IN_FLIGHT = 2
"""One chunk is in transfer while the next is requested."""
MAX_IN_FLIGHT = 16
"""The limit of the sum of chunks in flight and chunks held: all of them may be in memory."""
IN_FLIGHT_S = 1.0
LAP_S = 0.05
"""Seconds. A rate that was measured over less than this, and over fewer chunks than are in flight, is not used, because
packets come in bursts."""
STALL_S = 8.0
"""Seconds without a chunk until chunks are requested again. Doubled each time; at least the time of four chunks."""
STALL_FIRST_S = 32.0
"""The same before the first chunk has shown the link's rate: at 16 kbit/s one chunk takes this long."""
MAX_STALLS = 4
"""The number of stalls in a row after which the transfer ends as `transfer_stalled`."""
FLOOR_BYTES_S = 256.0
FLOOR_AFTER_S = 900.0
"""Seconds below FLOOR_BYTES_S after which the transfer ends. Otherwise rare chunks could delay a device forever.
"""


class Transfer:
    """The state of one blob's transfer. `followed` are its chunks on disk.

    `max_bytes_s` is the device's own limit in bytes a second; 0: no limit.
    """

    def __init__(self, followed: Followed, now: float, max_bytes_s: float = 0.0) -> None:
        self.blob = followed.blob
        self.followed = followed
        self._missing = list(reversed(range(followed.count, self.blob.chunk_count)))
        self._asked: dict[int, None] = {}
        self._held: dict[int, bytes] = {}
        """Chunks that arrived before those that precede them."""
        self._in_flight = FIRST_IN_FLIGHT
        self._began = self._lap_began = self._heard_at = now
        self._lap_bytes = self._received = self._claimed = 0
        self._rate = 0.0
        self._stalls = 0
        self._max_bytes_s = max_bytes_s

    @property
    def done(self) -> bool:
        """Tells whether every chunk is on disk."""
        return self.followed.whole

    @property
    def have_bytes(self) -> int:
        """Returns the number of bytes of the blob that are on disk."""
        return min(self.blob.length, self.followed.count * self.blob.chunk_bytes)

    def ask(self, now: float) -> tuple[int, ...]:
        """Returns the chunks to request now, within the device's own limit.

        Requests at least half of `_in_flight` at a time.
        """
        room = min(self._in_flight, MAX_IN_FLIGHT - len(self._held)) - len(self._asked)
        if not self._missing or (self._asked and room < max(1, self._in_flight // 2)) or now < self._free_at():
            return ()
        if not self._asked:
            self._heard_at = now
        wanted = tuple(self._missing.pop() for _ in range(min(room, len(self._missing), self._allowed(now))))
        self._asked.update(dict.fromkeys(wanted))
        self._claimed += sum(self.blob.span(index)[1] for index in wanted)
        return wanted

    def awaits(self, index: int) -> bool:
        """Tells whether the chunk was requested and has not arrived."""
        return index in self._asked

    def arrived(self, index: int, data: bytes, now: float) -> bool:
        """Holds the bytes of a chunk until they can be verified. False for late, duplicate and foreign chunks."""
        if index not in self._asked or len(data) != self.blob.span(index)[1]:
            return False
        del self._asked[index]
        self._held[index] = data
        self._heard_at = now
        self._lap_bytes += len(data)
        self._received += len(data)
        laps = self._lap_bytes / (self._in_flight * self.blob.chunk_bytes)
        if laps >= 1 or (laps >= 1 / 2 and now - self._lap_began >= LAP_S):
            self._adapt(now)
        return True

    def verified(self) -> Iterator[tuple[int, bytes]]:
        """Yields verified chunks in order. Each must be written to disk before the next is taken.

        BadInput `chunk_invalid` for a chunk that differs from the list; the chunk still counts as in flight.
        """
        while (chunk := self._held.pop(index := self.followed.count, None)) is not None:
            if not self.followed.follow(chunk):
                self._asked[index] = None
                raise BadInput(Code.CHUNK_INVALID, f"chunk {index} of {self.blob.sha256[:12]}")
            self._stalls = 0
            yield index, chunk

    def stalled(self, now: float) -> bool:
        """Tells whether the chunks in flight must be requested again; the caller then calls `retract`."""
        return bool(self._asked) and now - self._heard_at >= self._patience_s

    def rest(self, now: float) -> None:
        """Restarts the measurement of rates at `now`."""
        self._began, self._received = now, 0
        self._claimed = sum(self.blob.span(index)[1] for index in self._asked)

    def too_slow(self, now: float) -> bool:
        """Tells whether chunks arrive so slowly that the transfer counts as stalled."""
        waited_s = now - self._began
        return waited_s >= FLOOR_AFTER_S and self._received < FLOOR_BYTES_S * waited_s and not self._max_bytes_s

    def retract(self) -> tuple[int, ...]:
        """Marks the chunks in flight as missing, so that they are requested again. Returns their indices."""
        asked = tuple(sorted(self._asked))
        self._claimed -= sum(self.blob.span(index)[1] for index in asked)
        self._asked = {}
        self._lack(asked)
        return asked

    def distrust(self) -> None:
        """Drops the chunks that are held, so that they are requested again.

        They are not verified, and their source failed.
        """
        self._lack(self._held)
        self._held = {}

    def count_stall(self) -> bool:
        """Counts a stall; True when the limit is reached."""
        self._stalls += 1
        self._in_flight = FIRST_IN_FLIGHT
        return self._stalls >= MAX_STALLS

    def wake_at(self) -> float | None:
        """Returns the time at which `stalled` may become true, or more may be requested; None: never."""
        if self._asked:
            return self._heard_at + self._patience_s
        return self._free_at() if self._missing else None

    @property
    def _patience_s(self) -> float:
        if not self._rate:
            return STALL_FIRST_S
        return max(STALL_S, 4 * self.blob.chunk_bytes / self._rate) * float(2**self._stalls)

    def _lack(self, indices: Iterable[int]) -> None:
        self._missing = sorted({*self._missing, *indices}, reverse=True)

    def _free_at(self) -> float:
        """Returns the time from which the device's own limit allows the next request."""
        if not self._max_bytes_s:
            return -math.inf
        return self._began + self._claimed / self._max_bytes_s

    def _allowed(self, now: float) -> int:
        """Returns the number of chunks that the limit allows in the next second; at least one."""
        if not self._max_bytes_s:
            return self._in_flight
        return max(1, int((now + IN_FLIGHT_S - self._free_at()) * self._max_bytes_s / self.blob.chunk_bytes))

    def _adapt(self, now: float) -> None:
        self._rate = self._lap_bytes / max(now - self._lap_began, 1e-3)
        self._lap_began, self._lap_bytes = now, 0
        fitting = int(self._rate * IN_FLIGHT_S / self.blob.chunk_bytes)
        self._in_flight = max(MIN_IN_FLIGHT, min(MAX_IN_FLIGHT, 2 * self._in_flight, fitting))
