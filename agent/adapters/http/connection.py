"""One client of the HTTP server: bytes to requests, responses to bytes, in order, within limits.

Decides what is refused before it is complete, and whether an inference runs in the loop or a thread. Parsing is
httptools' (llhttp). Refuses to know what a path means.
"""

import asyncio
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import cast

import httptools

from agent.adapters.http.listening import Listening
from agent.adapters.http.response_bytes import response_bytes
from agent.ports import Stop
from agent.serving.content_coding import HEADER, TAKEN, coding_for, packed, takes_coding, unpacked
from agent.serving.oip_messages import Refused, Request, Response, refusal
from contract.errors import Code
from contract.http_callers import is_host_served, may_post

MAX_HEADER_BYTES = 16 * 1024
HEADER_BYTES = 4
"""Bytes of colon, space and line end of each header."""
MAX_PIPELINED = 16
BODIES_AT_ONCE = 4
"""The number of bodies of the largest size that are held at a time, over all connections."""
HELD_BYTES = 256 * 1024
"""Smaller bodies do not count among them."""
MAX_HOSTS_KNOWN = 16
"""The most values of `Host` that are kept as accepted, so that they are not checked again."""
HEAD_S = 5.0
"""Seconds in which the head of a request must be complete. A local program sends it in one piece, in microseconds."""
REQUEST_S = 30.0
"""Seconds in which a request must be complete, from its head on."""
IDLE_S = 120.0
"""Seconds after which an idle connection is closed."""
LINGER_S = 1.0
"""Seconds for which the rest of a refused request is read before the connection is closed."""
INLINE_S = 0.002
INLINE_JSON_BYTES = 64 * 1024
"""A larger request runs its inference in a thread, so that others need not wait. Raw tensors take no time to parse; the
time of the inference itself is estimated from the size of the request."""
INLINE_PACKED_BYTES = 64 * 1024
"""A larger response is compressed in a thread."""
GONE = "the client has gone"
_LEFT = getattr(select, "POLLRDHUP", 0)
"""The kernel tells by it that a client has closed its side, though bytes of it were not read; Linux alone has it."""
_OFFER = (b"upgrade", b"connection", b"http2-settings")
_CODINGS = f"send it as it is, or as {', '.join(TAKEN)}"


class Connection(asyncio.BufferedProtocol):
    """One client. Requests are answered in order, one at a time."""

    def __init__(self, serving: Listening) -> None:
        self._serving = serving
        self._endpoint = serving.endpoint
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport
        self._waiting: deque[Request] = deque()
        self._answering = False
        self._running: tuple[Future[Response], Stop, str] | None = None
        """The task that computes for this client in a thread, the call that ends it, and the path of its request."""
        self._writable = True
        self._refused: Response | None = None
        self._deaf = False
        self._owes_head = True
        """Whether the connection has not yet sent a whole head of a request, or the newest head is incomplete."""
        self._path = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._parts: list[bytes] = []
        self._body_bytes = self._header_bytes = 0
        self._json_length: int | None = None
        self._host = self._origin = self._content_type = self._coding = self._accept = b""
        self._asked_whom = True
        """Whether `Host` is checked: not on a Unix socket, which has no host name. `Origin` is checked on both."""
        self._continue = self._says_connection = self._offers = False
        self.close_at = time.monotonic() + IDLE_S

    def abort(self) -> None:
        """Closes at once."""
        self._transport.abort()

    @property
    def owes_head(self) -> bool:
        """Whether the client has asked for nothing: it has sent no complete head of a request, and no answer is due."""
        return self._owes_head and not self._answering and not self._waiting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accepts a client. Above the limit, it replaces a client that has sent no complete head, or is refused."""
        self._transport = cast("asyncio.Transport", transport)
        if not self._serving.has_room():
            self._deaf = True
            self._refused = refusal(503, f"{self._serving.config.max_connections} connections are open already")
            self._write(self._refused, _LAST)
            return
        self._asked_whom = self._transport.get_extra_info("socket").family != socket.AF_UNIX
        self._serving.connections[self] = None

    def connection_lost(self, _: Exception | None) -> None:
        """Forgets a client that has disconnected, and ends what is computed for it."""
        self._stop_computing()
        self._serving.held.pop(self, None)
        self._serving.connections.pop(self, None)
        self._waiting.clear()

    def eof_received(self) -> None:
        """Treats a client that has closed its side as gone: its requests are not computed any more."""
        self._stop_computing()

    def notice_leaving(self) -> None:
        """Notices a client that left while nothing was read from it: its next requests wait before the end."""
        if self._answering and not self._transport.is_reading():
            watch = select.poll()
            watch.register(self._transport.get_extra_info("socket").fileno(), _LEFT)
            if watch.poll(0):
                self._stop_computing()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Returns the buffer for the next bytes."""
        return self._serving.received

    def buffer_updated(self, nbytes: int) -> None:
        """Parses bytes. After a refusal they are read and ignored: otherwise the client would never see
        the response.
        """
        if self._deaf:
            return
        try:
            self._parse(self._serving.received[:nbytes])
        except httptools.HttpParserError as error:
            self._deaf = True
            self._transport.write(response_bytes(self._refused or refusal(400, f"not HTTP/1.1: {error}"), _LAST))
            self._serving.loop.call_later(LINGER_S, self._transport.close)

    def _parse(self, data: memoryview) -> None:
        """Parses bytes. Ignores an offer to switch to another protocol, as RFC 9110, section 7.8 allows."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as offered:
            again, rest = self._without_offer(), data[offered.args[0] :]
            self._parser = httptools.HttpRequestParser(self)
            if again:
                self._parser.feed_data(again)
                self._parse(rest)
            else:
                self._deaf = True  # CONNECT was refused: what follows is meant for another server
                self._transport.close()

    def _without_offer(self) -> bytes:
        """Returns the head of the request without the offer. The parser omits the body of a request with an offer."""
        method = self._parser.get_method()
        if method == b"CONNECT":
            return b""
        lines = [b"%s: %s" % pair for pair in self._headers if pair[0].lower() not in _OFFER]
        if not self._parser.should_keep_alive():
            lines.append(b"Connection: close")
        version = self._parser.get_http_version().encode("ascii")
        return b"\r\n".join([b"%s %s HTTP/%s" % (method, self._path, version), *lines, b"", b""])

    def pause_writing(self) -> None:
        """Stops answering requests of a client that does not read."""
        self._writable = False
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """Continues for a client that reads again."""
        self._writable = True
        self._next()

    def on_message_begin(self) -> None:
        """Begins a request (called by the parser). While another one is computed, nothing more is read
        from the socket.
        """
        if self._answering:
            self._transport.pause_reading()
        self._begin_request()
        self._owes_head = True
        self._expect_within(HEAD_S)

    def on_url(self, url: bytes) -> None:
        """Adds a part of the path (called by the parser)."""
        self._path += url
        self._count_header(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Reads one header (called by the parser). Lengths are compared first: most headers are not used."""
        length = len(name)
        self._count_header(length + len(value) + HEADER_BYTES)
        self._headers.append((name, value))
        if length == 14 and name.lower() == b"content-length":
            self._expect_body(int(value))
        elif length == 31 and name.lower() == b"inference-header-content-length":
            self._json_length = int(value) if value.isdigit() and len(value) < 12 else -1
        elif length == 12 and name.lower() == b"content-type":
            self._content_type = b"" if value == b"application/json" else value
        elif length in (7, 10):
            self._says_connection = self._says_connection or name.lower() == b"connection"
            self._offers = self._offers or name.lower() == b"upgrade"
        elif length == 15 and name.lower() == b"accept-encoding":
            self._accept = value
        elif length == 16 and name.lower() == b"content-encoding" and value.lower() != b"identity":
            self._expect_packed(value)
        elif length == 4 and name.lower() == b"host":
            self._host = value
        elif length == 6 and name.lower() == b"origin":
            self._origin = value
        elif length == 6 and name.lower() == b"expect":
            self._continue = value.lower() == b"100-continue"

    def on_headers_complete(self) -> None:
        """Asks for the body if the client waits for that (called by the parser)."""
        self._owes_head = False
        self._expect_within(REQUEST_S)
        if self._offers and self._parser.should_upgrade():
            return
        if self._origin or (self._asked_whom and self._host and self._host not in self._serving.hosts):
            self._refuse_tricked()
        if self._continue and not self._answering:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        """Adds a part of the body (called by the parser)."""
        self._body_bytes += len(part)
        if self._body_bytes > self._serving.config.max_body_bytes:
            self._expect_body(self._body_bytes)
        if self._body_bytes > HELD_BYTES:
            self._hold(self._body_bytes)
        self._parts.append(part)

    def on_message_complete(self) -> None:
        """Answers a complete request, or queues it (called by the parser)."""
        if self._offers and self._parser.should_upgrade() and self._parser.get_method() != b"CONNECT":
            return
        request = self._request()
        if self._serving.held:
            self._serving.held.pop(self, None)
        if not self._waiting and not self._answering and self._writable:
            self._answer(request)
            return
        self._waiting.append(request)
        if len(self._waiting) >= MAX_PIPELINED:
            self._transport.pause_reading()

    def _request(self) -> Request:
        """Returns the request that was parsed, and forgets its body."""
        method, keep_alive = self._parser.get_method().decode("ascii"), self._parser.should_keep_alive()
        old = self._says_connection and self._parser.get_http_version() == "1.0"
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        path, plain = self._path.decode("latin-1"), keep_alive and not (old or self._origin or method == "HEAD")
        headers = (self._content_type, self._coding, self._accept, self._origin)
        return Request(method, path, body, self._json_length, *headers, keep_alive, plain, time.perf_counter_ns())

    def _begin_request(self) -> None:
        self._path = b""
        self._headers = []
        self._parts = []
        self._body_bytes = self._header_bytes = 0
        self._json_length = None
        self._host = self._origin = self._content_type = self._coding = self._accept = b""
        self._continue = self._says_connection = self._offers = False

    def _refuse_tricked(self) -> None:
        """Refuses a request that a web page has sent under another host name, or from another site."""
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
            self._refuse(503, f"{limit} bytes of bodies are on their way: try again", code=Code.MESSAGE_TOO_LARGE)

    def _count_header(self, size_bytes: int) -> None:
        self._header_bytes += size_bytes
        if self._header_bytes > MAX_HEADER_BYTES:
            self._refuse(431, f"headers exceed {MAX_HEADER_BYTES} bytes")

    def _expect_within(self, seconds: float) -> None:
        if not self._answering:  # what is computed for a client may take longer
            self.close_at = time.monotonic() + seconds

    def _expect_body(self, size_bytes: int) -> None:
        limit = self._serving.config.max_body_bytes
        if size_bytes > limit:
            words = f"body of {size_bytes} bytes, limit {limit} (serving.max_body_bytes)"
            self._refuse(413, words, code=Code.MESSAGE_TOO_LARGE)

    def _expect_packed(self, coding: bytes) -> None:
        if not takes_coding(coding):
            words = f"content-encoding {coding[:20].decode('latin-1')}: {_CODINGS}"
            self._refuse(415, words, (HEADER,), Code.REQUEST_INVALID)
        self._coding = coding

    def _refuse(self, status: int, words: str, headers: tuple[str, ...] = (), code: Code | None = None) -> None:
        """Responds and closes: the rest of the request is not used. With a code it counts for the model it was for."""
        if code is not None:
            self._endpoint.turned_away(self._path.decode("latin-1"), code, words)
        self._refused = refusal(status, words, headers)
        raise _Refusing

    def _next(self) -> None:
        while self._waiting and not self._answering and self._writable:
            self._answer(self._waiting.popleft())
        if not self._answering and not self._transport.is_closing() and len(self._waiting) < MAX_PIPELINED:
            self._transport.resume_reading()

    def _answer(self, request: Request) -> None:
        json_bytes = len(request.body) if request.json_length is None else request.json_length
        if request.content_encoding or json_bytes > INLINE_JSON_BYTES or self._endpoint.expected_s(request) > INLINE_S:
            request.stop = stop = Stop(self._after)
            self._beside(lambda: self._unpacked_answer(request), request, stop, request.path)
        else:
            self._send(self._endpoint.answer(request), request)

    def _unpacked_answer(self, request: Request) -> Response:
        """Answers in a thread. The request and the response may be compressed."""
        if request.content_encoding:
            try:
                request.body = unpacked(request.body, request.content_encoding, self._serving.config.max_body_bytes)
            except Refused as refused:
                code = Code.MESSAGE_TOO_LARGE if refused.status == 413 else Code.REQUEST_INVALID
                self._endpoint.turned_away(request.path, code, str(refused))
                return refusal(refused.status, str(refused))
        response = self._endpoint.answer(request)
        coding = coding_for(response, request.accept_encoding)
        return packed(response, coding) if coding else response

    def _send(self, response: Response, request: Request) -> None:
        """Sends a response that the loop made. A large one that is to be compressed takes a thread."""
        coding = coding_for(response, request.accept_encoding) if request.accept_encoding else ""
        if not coding:
            self._write(response, request)
        elif len(response.body) <= INLINE_PACKED_BYTES:
            self._write(packed(response, coding), request)
        else:
            self._beside(lambda: packed(response, coding), request, Stop(self._after), asked="")

    def _beside(self, compute: Callable[[], Response], request: Request, stop: Stop, asked: str) -> None:
        """Computes a response in a thread. The socket is still read, so that a disconnected client is noticed."""
        self._answering = True
        self.close_at = float("inf")

        def done(future: "Future[Response]") -> None:
            with suppress(RuntimeError):  # the loop has ended
                self._serving.loop.call_soon_threadsafe(self._answered, future, request)

        future = self._serving.pool.submit(compute)
        self._running = future, stop, asked
        future.add_done_callback(done)

    def _answered(self, future: "Future[Response]", request: Request) -> None:
        self._answering, self._running = False, None
        if not self._transport.is_closing():
            self._write(future.result(), request)
            self._next()

    def _stop_computing(self) -> None:
        for request in self._waiting:
            self._endpoint.turned_away(request.path, Code.REQUEST_CANCELLED, GONE)
        self._waiting.clear()
        if self._running is not None:
            (future, stop, asked), self._running = self._running, None
            stop.set(GONE)
            if future.cancel():
                self._endpoint.turned_away(asked, Code.REQUEST_CANCELLED, GONE)

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        """Calls later, from any thread."""
        with suppress(RuntimeError):  # the loop has ended
            self._serving.loop.call_soon_threadsafe(self._serving.loop.call_later, seconds, call)

    def _write(self, response: Response, request: Request) -> None:
        self._transport.write(response_bytes(response, request))
        if request.keep_alive:
            self.close_at = time.monotonic() + (HEAD_S if self._owes_head else IDLE_S)
        else:
            self._transport.close()


class _Refusing(Exception):
    """Ends the parsing of a refused request."""


_LAST = Request("", "", keep_alive=False, plain=False)
"""Stands for a request that was refused before it was read. The connection is closed after the response."""
