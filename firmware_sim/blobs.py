"""The controller's blobs in a simulated world, in memory.

Decides that damaged ones are found when they are opened. Refuses to know which code reads them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import BinaryIO

from contract.errors import BadInput, Code
from firmware_sim.clock import Clock


class Blobs:
    """Blobs by digest, in memory; some may be damaged, as on a disk that ages."""

    def __init__(self, clock: Clock) -> None:
        self.by_digest: dict[str, bytes] = {}
        self.damaged: set[str] = set()
        self.reads: list[tuple[float, str, bool]] = []
        """(time, digest, whether the bytes were intact)"""
        self._clock = clock

    @contextmanager
    def unverified(self, digest: str) -> Iterator[BinaryIO]:
        """The bytes as an open file; BadInput `store_corrupt` for damaged ones."""
        whole = digest not in self.damaged
        self.reads.append((self._clock.now, digest, whole))
        if not whole:
            raise BadInput(Code.STORE_CORRUPT, f"simulated: blob {digest[:12]} is damaged")
        yield BytesIO(self.by_digest[digest])
