"""HTTP answers that must be complete by a deadline: a server that sends one byte a minute cannot block a thread for
hours.

Decides when an answer is late. A socket's own time-out starts again with each byte. Refuses to know what is requested.
"""

import http.client
import io
import socket
import time
from typing import Any


class Timely(io.RawIOBase):
    """Reads a socket until `within_s` seconds are over, and never longer than `silent_s` without a byte."""

    def __init__(self, raw: socket.socket, within_s: float, silent_s: float) -> None:
        self._raw = raw
        self._within_s, self._silent_s = within_s, silent_s
        self._until = time.monotonic() + within_s

    def readable(self) -> bool:
        """Whether it can be read: always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Reads some bytes; TimeoutError once the deadline is over."""
        left_s = self._until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError(f"no whole answer in {self._within_s:g} s")
        self._raw.settimeout(min(left_s, self._silent_s))
        return self._raw.recv_into(buffer)


class TimelyResponse(http.client.HTTPResponse):
    """An answer with a deadline, which is counted from the request."""

    def __init__(self, sock: socket.socket, *arguments: Any, within_s: float, silent_s: float, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self.fp.close()
        self.fp = io.BufferedReader(Timely(sock, within_s, silent_s))
