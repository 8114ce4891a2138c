"""Work in steps on the event loop: other requests are answered between two steps. Refuses to know what is done."""

import asyncio
from typing import TypeVar

from controller.fleet.steps import Steps

T = TypeVar("T")


async def in_steps(work: Steps[T]) -> T:
    """Returns the result of all steps."""
    while True:
        try:
            next(work)
        except StopIteration as ended:
            result: T = ended.value
            return result
        await asyncio.sleep(0)
