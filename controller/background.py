"""Tasks that run beside the service until they end or the service stops. Refuses to know what they do."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background:
    """The tasks of one owner. The event loop holds only weak references to tasks, so the owner must hold them too."""

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
        """Cancels the tasks that run and waits until they have ended."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
