"""Orders to delete captured rows: which are done on this device, and which must be repeated.

Decides that an order is done once its rows are deleted from flash. Refuses to know how rows are kept (`captures`).
"""

import logging
from collections.abc import Sequence

from agent.uplink.captures import Captures
from contract.erasure import Erasure
from contract.errors import WorldError

_log = logging.getLogger("edgeward.agent")


class Erasing:
    """The orders of the newest desired document."""

    def __init__(self, captures: Captures | None) -> None:
        self._captures = captures
        self._open: tuple[Erasure, ...] = ()
        self.done: dict[str, int] = {}
        """Rows deleted, by the id of the order. The heartbeat repeats it until a document no longer names the order."""

    def take(self, orders: Sequence[Erasure]) -> bool:
        """Performs the new orders of a document; returns whether one was done."""
        self.done = {each.id: self.done[each.id] for each in orders if each.id in self.done}
        self._open = tuple(each for each in orders if each.id not in self.done)
        return self.try_again()

    def try_again(self) -> bool:
        """Performs the open orders; returns whether one was done. If the disk refuses, the orders stay open."""
        if not self._open:
            return False
        try:
            erased = self._captures.erase(self._open) if self._captures is not None else {}
        except WorldError as error:
            _log.warning("captured rows are not deleted yet: %s", error)
            return False
        self.done |= {each.id: erased.get(each.id, 0) for each in self._open}
        _log.info("deleted %d captured rows by order of the controller", sum(erased.values()))
        self._open = ()
        return True
