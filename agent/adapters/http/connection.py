"""One client of the HTTP server: bytes to requests, responses to bytes, in order, within limits.

Decides what is refused before it is complete, and whether an inference runs in the loop or a thread. Parsing is
httptools' (llhttp). Refuses to know what a path means.
"""

import asyncio
import socket
import time
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import httptools

from agent.adapters.http.callers import is_host_served, may_post
from agent.config import ServingConfig
from agent.serving.oip import JSON_TYPE, Endpoint, Request, Response, refusal

MAX_HEADER_BYTES = 16 * 1024
HEADER_BYTES = 4
"""Bytes of colon, space and line end of each header."""
RECEIVE_BYTES = 256 * 1024
MAX_PIPELINED = 16
BODIES_AT_ONCE = 4
"""Bodies of the largest size that are held at a time, in all; smaller ones than one read are not counted."""
MAX_HOSTS_KNOWN = 16
"""Values of `Host` that were found good and are not looked at again."""
REQUEST_S = 30.0
"""Seconds in which a request must be complete."""
IDLE_S = 120.0
"""Seconds after which an idle connection is closed."""
LINGER_S = 1.0
"""Seconds for which the rest of a refused request is read before the connection is closed."""
INLINE_S = 0.002
INLINE_JSON_BYTES = 64 * 1024
"""Beyond either, an inference runs in a thread, so that others need not wait. Raw tensors take no time to parse."""
_REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    413: "Content Too Large",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}
_JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@dataclass(frozen=True)
class Listening:
    """What all connections of one server share."""

    endpoint: Endpoint
    config: ServingConfig
    pool: ThreadPoolExecutor
    loop: asyncio.AbstractEventLoop
    connections: "set[Connection]" = field(default_factory=set)
    hosts: set[bytes] = field(default_factory=set)
    """Values of `Host` that are good."""
    held: "Counter[Connection]" = field(default_factory=Counter)
    """Bytes of large bodies that are on their way, by connection."""
    received: memoryview = field(default_factory=lambda: memoryview(bytearray(RECEIVE_BYTES)))
    """The buffer of a read, parsed before the next read: one serves all connections of a loop."""


class Connection(asyncio.BufferedProtocol):
    """One client. Requests are answered in order, one at a time."""

    def __init__(self, serving: Listening) -> None:
        self._serving = serving
        self._endpoint = serving.endpoint
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._waiting: deque[tuple[Request, bool]] = deque()
        self._answering = False
        self._writable = True
        self._refused: Response | None = None
        self._deaf = False
        self._path = b""
        self._parts: list[bytes] = []
        self._body_bytes = self._header_bytes = 0
        self._json_length: int | None = None
        self._host = self._origin = b""
        self._asked_whom = True
        """Whether `Host` is looked at: not on a Unix socket, where no name leads. `Origin` is looked at on both."""
        self._continue = False
        self.close_at = time.monotonic() + IDLE_S

    def abort(self) -> None:
        """Closes at once."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepts a client; refuses one above the limit."""
        self._transport = cast("asyncio.Transport", transport)
        if len(self._serving.connections) >= self._serving.config.max_connections:
            self._deaf = True
            self._write(refusal(503, f"{self._serving.config.max_connections} connections are open already"), False)
            return
        self._asked_whom = self._transport.get_extra_info("socket").family != socket.AF_UNIX
        self._serving.connections.add(self)

    def connection_lost(self, _: Exception | None) -> None:
        """Forgets a client that has disconnected."""
        self._serving.held.pop(self, None)
        self._serving.connections.discard(self)
        self._waiting.clear()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Returns the buffer for the next bytes."""
        return self._serving.received

    def buffer_updated(self, nbytes: int) -> None:
        """Parses bytes. After a refusal they are read and ignored, or the client would never see the response."""
        if self._deaf:
            return
        try:
            self._parser.feed_data(self._serving.received[:nbytes])
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._deaf = True
            self._transport.write(_response(self._refused or refusal(400, f"not HTTP/1.1: {error}"), False))
            self._serving.loop.call_later(LINGER_S, self._transport.close)

    def pause_writing(self) -> None:
        """Stops computing for a client that does not read."""
        self._writable = False
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Goes on for a client that reads again."""
        self._writable = True
        self._next()

    def on_message_begin(self) -> None:
        """Begins a request (called by the parser)."""
        self._begin_request()
        self.close_at = time.monotonic() + REQUEST_S

    def on_url(self, url: bytes) -> None:
        """Adds a part of the path (called by the parser)."""
        self._path += url
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Reads one header (called by the parser). Lengths are compared first: most headers are not used."""
        length = len(name)
        self._count_header(length + len(value) + HEADER_BYTES)
        if length == 14 and name.lower() == b"content-length":
            self._expect_body(int(value))
        elif length == 31 and name.lower() == b"inference-header-content-length":
            self._json_length = int(value) if value.isdigit() and len(value) < 12 else -1
        elif length == 16 and name.lower() == b"content-encoding" and value.lower() != b"identity":
            self._refuse(501, f"content-encoding {value[:20].decode('latin-1')}: send the body as it is")
        elif length == 4 and name.lower() == b"host":
            self._host = value
        elif length == 6 and name.lower() == b"origin":
            self._origin = value
        elif length == 6 and name.lower() == b"expect":
            self._continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """Asks for the body if the client waits for that (called by the parser)."""
        if self._origin or (self._asked_whom and self._host and self._host not in self._serving.hosts):
            self._refuse_tricked()
        if self._continue and not self._answering:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        """Adds a part of the body (called by the parser)."""
        self._body_bytes += len(part)
        if self._body_bytes > self._serving.config.max_body_bytes:
            self._expect_body(self._body_bytes)
        if self._body_bytes > RECEIVE_BYTES:
            self._hold(self._body_bytes)
        self._parts.append(part)

    def on_message_complete(self) -> None:
        """Answers a complete request, or queues it (called by the parser)."""
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        method, path = self._parser.get_method().decode("ascii"), self._path.decode("latin-1")
        request, keep_alive = Request(method, path, body, self._json_length), self._parser.should_keep_alive()
        self._parts = []
        if self._serving.held:
            self._serving.held.pop(self, None)
        if not self._waiting and not self._answering and self._writable:
            self._answer(request, keep_alive)
            return
        self._waiting.append((request, keep_alive))
        if len(self._waiting) >= MAX_PIPELINED:
            self._transport.pause_reading()

    def _begin_request(self) -> None:
        self._path = b""
        self._parts = []
        self._body_bytes = self._header_bytes = 0
        self._json_length = None
        self._host = self._origin = b""
        self._continue = False

    def _refuse_tricked(self) -> None:
        """Refuses what a page on the web has sent under a name of its own, or across sites."""
        host, origin = self._host.decode("latin-1"), self._origin.decode("latin-1")
        config = self._serving.config
        if self._asked_whom and not is_host_served(host, config.names):
            self._refuse(421, f"host {host[:80]!r} is not served here: name it in serving.names")
        if origin and not may_post(origin, host if self._asked_whom else "", config.origins):
            self._refuse(403, f"pages of {origin[:80]!r} may not call: name it in serving.origins")
        if self._asked_whom and len(self._serving.hosts) < MAX_HOSTS_KNOWN:
            self._serving.hosts.add(self._host)

    def _hold(self, size_bytes: int) -> None:
        held = self._serving.held
        held[self] = size_bytes
        limit = BODIES_AT_ONCE * self._serving.config.max_body_bytes
        if held.total() > limit:
            self._refuse(503, f"{limit} bytes of bodies are on their way: try again")

    def _count_header(self, size_bytes: int) -> None:
        self._header_bytes += size_bytes
        if self._header_bytes > MAX_HEADER_BYTES:
            self._refuse(431, f"headers exceed {MAX_HEADER_BYTES} bytes")

    def _expect_body(self, size_bytes: int) -> None:
        limit = self._serving.config.max_body_bytes
        if size_bytes > limit:
            self._refuse(413, f"body of {size_bytes} bytes, limit {limit} (serving.max_body_bytes)")

    def _refuse(self, status: int, words: str) -> None:
        """Responds and closes: the rest of the request is not used."""
        self._refused = refusal(status, words)
        raise _Refusing

    def _next(self) -> None:
        while self._waiting and not self._answering and self._writable:
            self._answer(*self._waiting.popleft())
        if not self._answering and not self._transport.is_closing() and len(self._waiting) < MAX_PIPELINED:
            self._transport.resume_reading()

    def _answer(self, request: Request, keep_alive: bool) -> None:
        json_bytes = len(request.body) if request.json_length is None else request.json_length
        if json_bytes > INLINE_JSON_BYTES or self._endpoint.typical_s(request.path) > INLINE_S:
            self._answer_beside(request, keep_alive)
        else:
            self._write(self._endpoint.answer(request), keep_alive)

    def _answer_beside(self, request: Request, keep_alive: bool) -> None:
        self._answering = True
        self._transport.pause_reading()
        self.close_at = float("inf")

        def done(future: "Future[Response]") -> None:
            with suppress(RuntimeError):  # the loop has ended
                self._serving.loop.call_soon_threadsafe(self._answered, future, keep_alive)

        self._serving.pool.submit(self._endpoint.answer, request).add_done_callback(done)

    def _answered(self, future: "Future[Response]", keep_alive: bool) -> None:
        self._answering = False
        if not self._transport.is_closing():
            self._write(future.result(), keep_alive)
            self._next()

    def _write(self, response: Response, keep_alive: bool) -> None:
        self._transport.write(_response(response, keep_alive))
        if keep_alive:
            self.close_at = time.monotonic() + IDLE_S
        else:
            self._transport.close()


class _Refusing(Exception):
    """Ends the parsing of a refused request."""


def _response(response: Response, keep_alive: bool) -> bytes:
    if keep_alive and response.status == 200 and response.content_type is JSON_TYPE:
        return _JSON_HEAD % len(response.body) + response.body
    lines = [
        f"HTTP/1.1 {response.status} {_REASONS.get(response.status, 'Unknown')}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
    ]
    if response.json_length is not None:
        lines.append(f"Inference-Header-Content-Length: {response.json_length}")
    if not keep_alive:
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + response.body
