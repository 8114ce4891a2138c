"""The count of this boot: made durable before anything else is saved, and tried again on a disk that refused it.

Decides what is written at a boot, and when it is tried again. Refuses to know who serves meanwhile and how a fault is
told.
"""

from collections.abc import Callable

import msgspec

from agent.flash.store import DeviceRecord, Store

RETRY_S = 30.0
"""Between attempts to make this boot's count durable on a disk that refused it."""


class BootRecord:
    """What is kept of the device itself, with one boot more than before."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.loaded = DeviceRecord(boots=0)
        self.newest: Callable[[], DeviceRecord] = lambda: self.loaded
        """The record as it is now; the code that accepts documents adds to it."""
        self.retry_at = float("inf")
        """When the next attempt is due, in the seconds of `now`."""
        self._durable = False

    def load(self) -> bool:
        """Reads the record of the boot before and counts this one. Returns whether the record was damaged."""
        before, damaged = self._store.load_device()
        before = before or DeviceRecord(boots=0)
        self.loaded = msgspec.structs.replace(before, boots=before.boots + 1)
        return damaged

    def save(self) -> bool:
        """Makes the count durable; False if it was already. WorldError `disk_full`, `disk_failed`."""
        if self._durable:
            return False
        self._store.save_device(self.newest())
        self._durable, self.retry_at = True, float("inf")
        return True

    def failed(self, now: float) -> None:
        """Takes note that the disk refused it."""
        self.retry_at = now + RETRY_S
