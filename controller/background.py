"""Work that goes on beside the service until it ends or the service stops. Refuses to know what the work is."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background:
    """Tasks of one owner. The event loop holds tasks weakly: the owner must hold them too."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        """Tasks that have not ended."""

    def begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts the coroutine in the background and returns its task."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def stop(self) -> None:
        """Cancels what is under way and waits until it has ended."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
