"""HTTP answers that must be complete by a deadline: a server that sends one byte a minute cannot block a thread for
hours.

Decides when an answer is late. A socket's own time-out starts again with each byte. Refuses to know what is requested.
"""

import http.client
import io
import socket
import time
import urllib.request
from collections.abc import Callable
from functools import partial
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


def new_opener(within_s: float, *handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """Returns an opener whose answers must be complete within `within_s` seconds, with these handlers as well."""
    return urllib.request.build_opener(_Plain(within_s), _Secure(within_s), *handlers)


def open_url(request: urllib.request.Request, within_s: float) -> Any:
    """Opens an address as `urllib.request.urlopen` does; its answer must be complete within `within_s` seconds."""
    return new_opener(within_s).open(request, timeout=within_s)


class _Plain(urllib.request.HTTPHandler):
    def __init__(self, within_s: float) -> None:
        super().__init__()
        self._within_s = within_s

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_timely(http.client.HTTPConnection, self._within_s), request)


class _Secure(urllib.request.HTTPSHandler):
    def __init__(self, within_s: float) -> None:
        super().__init__()
        self._within_s = within_s

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_timely(http.client.HTTPSConnection, self._within_s), request)


def _timely(kind: type[http.client.HTTPConnection], within_s: float) -> Callable[..., http.client.HTTPConnection]:
    """Returns what makes connections of a kind whose answers have a deadline."""

    def made(host: str, **named: Any) -> http.client.HTTPConnection:
        connection = kind(host, **named)
        connection.response_class = partial(TimelyResponse, within_s=within_s, silent_s=within_s)  # type: ignore[assignment]  # called like the class
        return connection

    return made
