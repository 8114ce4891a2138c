"""Turns for long computations: one after the other; a caller that waits too long must call again.

Decides how long a caller waits. Refuses to know the computation, and how many may wait: `api.body` decides that
before it reads a request's body.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from contract.errors import Code, WorldError

AT_ONCE = 1
"""Conversions at a time: one uses a core and may take `convert.memory_mb`."""
WAIT_S = 120.0
"""Seconds. Edgeward's client waits longer than this for its answer; a proxy often does not."""


class Turns:
    """Turns of one controller. Used within one event loop."""

    def __init__(self, *, at_once: int = AT_ONCE, wait_s: float = WAIT_S) -> None:
        self._free = asyncio.Semaphore(at_once)
        self._wait_s = wait_s

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Waits for one turn; WorldError `busy` if it does not come in time."""
        await self._wait()
        try:
            yield
        finally:
            self._free.release()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                await self._free.acquire()
        except TimeoutError:
            raise WorldError(Code.BUSY, f"no turn came in {self._wait_s:g} s: try again later") from None
