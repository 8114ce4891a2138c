"""The state that all connections of one HTTP server share, and the choice of a client that is closed for a new one.

Decides that only the oldest client that has asked for nothing is closed. Refuses to know how requests are parsed.
"""

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.config import ServingConfig
from agent.serving.oip import Endpoint

if TYPE_CHECKING:
    from agent.adapters.http.connection import Connection

RECEIVE_BYTES = 512 * 1024
"""Bytes of one read, and of the buffer for it. A body that comes in one read need not be joined: a request of 1,000
rows took a tenth of its time for that, and for memory that was returned to the kernel and taken again."""


@dataclass
class Listening:
    """The state that all connections of one server share. Where limits change, `config` is replaced and never
    modified.
    """

    endpoint: Endpoint
    config: ServingConfig
    pool: ThreadPoolExecutor
    loop: asyncio.AbstractEventLoop
    connections: "dict[Connection, None]" = field(default_factory=dict)
    """The oldest first."""
    hosts: set[bytes] = field(default_factory=set)
    """Values of `Host` that are accepted."""
    held: "Counter[Connection]" = field(default_factory=Counter)
    """Bytes of large bodies that are being received, by connection."""
    received: memoryview = field(default_factory=lambda: memoryview(bytearray(RECEIVE_BYTES)))
    """The buffer of a read, parsed before the next read: one serves all connections of a loop."""

    def has_room(self) -> bool:
        """Whether one more client may be served. Without room, closes the oldest client that has sent no
        complete head.
        """
        if len(self.connections) < self.config.max_connections:
            return True
        oldest = next((each for each in self.connections if each.owes_head), None)
        if oldest is not None:
            del self.connections[oldest]
            oldest.abort()
        return oldest is not None
