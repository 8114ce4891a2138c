"""Turns for work that is dear: a few at once, a few more wait, whoever comes beyond is told to come again.

Decides who waits and for how long. Refuses to know what the work is.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contract.errors import Code, WorldError

AT_ONCE = 1
"""Conversions at once: one fills a core and may take `convert.memory_mb`."""
MAX_WAITING = 8
"""Each holds a model and a sample on disk meanwhile."""
WAIT_S = 120.0
"""A client of ours waits longer than this for its answer; a proxy before it often does not."""


class Turns:
    """Turns of one controller. Used within one event loop."""

    def __init__(self, *, at_once: int = AT_ONCE, waiting: int = MAX_WAITING, wait_s: float = WAIT_S) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._room = at_once + waiting
        self._wait_s = wait_s

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One turn; WorldError `busy` if too many wait already or it does not come in time."""
        if not self._room:
            raise WorldError(Code.BUSY, "many others wait already: push again later")
        self._room -= 1
        try:
            await self._wait()
            try:
                yield
            finally:
                self._free.release()
        finally:
            self._room += 1

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise WorldError(Code.BUSY, f"no turn came in {self._wait_s:g} s: push again later") from None
