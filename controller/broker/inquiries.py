"""Questions to devices that wait for their answers: at most one for each device, each for a bounded time.

Decides which answer belongs to which question. Refuses to know who may ask, and the waiting times.
"""

import asyncio

from contract.errors import BadInput, Code
from contract.inquiries import Answered

MAX_OPEN = 200
"""The most open questions of all people together: an answer may have 200 kB."""


class Inquiries:
    """Open questions by device; all calls from the event loop."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, asyncio.Future[Answered]]] = {}

    def open(self, device: str, identifier: str) -> asyncio.Future[Answered]:
        """Returns a future for the answer. BadInput `busy` while another person asks this device, or too many ask."""
        if device in self._open:
            raise BadInput(Code.BUSY, f"somebody is asking {device} now: ask again in some seconds")
        if len(self._open) >= MAX_OPEN:
            raise BadInput(Code.BUSY, f"{MAX_OPEN} devices are being asked: ask again in some seconds")
        waiting: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._open[device] = identifier, waiting
        return waiting

    def close(self, device: str) -> None:
        """Removes the question to a device, answered or not."""
        self._open.pop(device, None)

    def answered(self, device: str, answer: Answered) -> bool:
        """Passes an answer to the caller that waits for it; returns whether one does."""
        identifier, waiting = self._open.get(device, ("", None))
        if waiting is None or answer.id != identifier or waiting.done():
            return False
        waiting.set_result(answer)
        return True
