"""Hands retained messages to the client in small parts: a model of a gigabyte is never in memory as a whole.

Decides how much waits in the client. Messages are made only when they are sent, in the order of the requests.
Refuses to know connections, and what messages mean.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from contract.errors import EdgewardError
from controller.broker.messages import Retained

MAX_WAITING_BYTES = 8 * 1024**2
"""The bytes of payloads that the client holds until the broker has confirmed them: 128 chunks, more than a
connection with a delay of 10 ms has in flight, and 10 ms of writes to a disk.
"""

_log = logging.getLogger("edgeward.link")


class Sent(Protocol):
    """A message in the client."""

    def is_published(self) -> bool:
        """Whether the broker has confirmed it; RuntimeError, ValueError if the client never accepted it."""
        ...


class Feed:
    """A queue of iterators. `publish` hands one message to the client; one thread makes all calls."""

    def __init__(self, publish: Callable[[Retained], Sent], is_connected: Callable[[], bool]) -> None:
        self._publish = publish
        self._is_connected = is_connected
        self._asked: deque[Iterator[Retained]] = deque()
        self._sent: deque[tuple[Sent, int]] = deque()
        self._waiting_bytes = 0

    @property
    def is_empty(self) -> bool:
        """Whether the queue is empty."""
        return not self._asked

    def add(self, messages: Iterable[Retained]) -> None:
        """Appends messages, and hands over as many as the client has room for."""
        self._asked.append(iter(messages))
        self.go_on()

    def go_on(self) -> None:
        """Hands over as many as the client has room for: called again when messages were confirmed, and after each
        connection.
        """
        self._forget_confirmed()
        while self._asked and self._waiting_bytes < MAX_WAITING_BYTES and self._is_connected():
            message = self._next()
            if message is not None:
                self._sent.append((self._publish(message), len(message.payload)))
                self._waiting_bytes += len(message.payload)

    def _next(self) -> Retained | None:
        """The next message; None if an iterator has ended. If a message cannot be made, only its iterator ends."""
        try:
            return next(self._asked[0])
        except StopIteration:
            self._asked.popleft()
        except EdgewardError as error:
            _log.error("the rest of a blob could not be published: %s", error)
            self._asked.popleft()
        return None

    def _forget_confirmed(self) -> None:
        while self._sent and _is_over(self._sent[0][0]):
            self._waiting_bytes -= self._sent.popleft()[1]


def _is_over(sent: Sent) -> bool:
    try:
        return sent.is_published()
    except (RuntimeError, ValueError):
        return True  # the connection was lost: the retained messages are checked after the next one
