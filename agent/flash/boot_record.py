"""The count of this boot: it is made durable before anything else is saved, and tried again if the disk refused it.

Decides what is written at a boot, and when it is tried again. Refuses to know which versions serve in the meantime
and how a fault is reported.
"""

from collections.abc import Callable

import msgspec

from agent.flash.store import DeviceRecord, Store

RETRY_S = 30.0
"""Seconds between attempts to make this boot's count durable after the disk refused it."""


class BootRecord:
    """The record of the device, with one boot more than before."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.loaded = DeviceRecord(boots=0)
        self.newest: Callable[[], DeviceRecord] = lambda: self.loaded
        """The record as it is now; the code that accepts documents adds to it."""
        self.retry_at = float("inf")
        """When the next attempt is due, on the clock of `now`."""
        self._durable = False

    def load(self) -> bool:
        """Reads the record of the boot before and counts this one. Returns whether the record was damaged."""
        before, damaged = self._store.load_device()
        before = before or DeviceRecord(boots=0)
        self.loaded = msgspec.structs.replace(before, boots=before.boots + 1)
        return damaged

    def save(self) -> bool:
        """Makes the count durable; False if it was durable already. WorldError `disk_full`, `disk_failed`."""
        if self._durable:
            return False
        self._store.save_device(self.newest())
        self._durable, self.retry_at = True, float("inf")
        return True

    def failed(self, now: float) -> None:
        """Notes that the disk refused it."""
        self.retry_at = now + RETRY_S
