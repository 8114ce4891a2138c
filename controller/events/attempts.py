"""How often sending a message is tried, and the counts of each receiver.

Decides the number and the delay of attempts, and that a final answer ends them. Refuses to know how messages are sent.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

ATTEMPTS = 5
FIRST_WAIT_S = 1.0
"""Seconds before the second attempt, doubled before each later one: 15 s in all."""
MAX_ERROR_CHARS = 300
"""Characters of a fault that are shown: a server may send a whole page."""
LATER = frozenset({408, 425, 429})
"""HTTP statuses below 500 that ask to try again later: a time-out, too early, too many requests."""


class Refused(Exception):
    """The receiver has finally refused: the same message would be refused again."""


class NotTaken(Exception):
    """The message was not accepted; the same one may be accepted later."""


@dataclass
class Fare:
    """The counts of one receiver since the start."""

    name: str
    kind: str
    sent: int = 0
    """Messages that were accepted."""
    refused: int = 0
    """Messages that were finally refused; they are not tried again."""
    given_up: int = 0
    """Messages that were tried ATTEMPTS times."""
    dropped: int = 0
    """Messages for which there was no room in the queue."""
    retries: int = 0
    sent_at: float | None = None
    """When a message was last accepted, in seconds since 1970."""
    error: str = ""
    """Why the newest message was not accepted; empty once one is."""


async def deliver(
    send: Callable[[], Awaitable[None]], fare: Fare, clock: Callable[[], float]
) -> Literal["sent", "refused", "given_up"]:
    """Sends one message, and again after a pause if that may help; counts the result in `fare`."""
    for attempt in range(ATTEMPTS):
        try:
            await send()
        except Refused as error:
            fare.refused += 1
            fare.error = str(error)[:MAX_ERROR_CHARS]
            return "refused"
        except Exception as error:  # any fault is noted and tried again: the task of a receiver must not end
            fare.error = (str(error) or type(error).__name__)[:MAX_ERROR_CHARS]
        else:
            fare.sent, fare.sent_at, fare.error = fare.sent + 1, clock(), ""
            return "sent"
        if attempt + 1 < ATTEMPTS:
            fare.retries += 1
            await asyncio.sleep(FIRST_WAIT_S * 2.0**attempt)
    fare.given_up += 1
    return "given_up"
