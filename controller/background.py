"""Work that goes on beside the service until it ends or the service stops. Refuses to know what the work is."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background:
    """Tasks of one owner. The event loop holds tasks weakly: whoever begins one must keep it."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        """Those that have not ended."""

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Let it go on; the task, for who wants to wait."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def stop(self) -> None:
        """Give up what is under way."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
