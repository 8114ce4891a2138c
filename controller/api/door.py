"""Limits on connections to the API: their number in total and for each address, and the time that each may take.

Decides which connections are closed before a request is read. It extends aiohttp's own server by its hooks for a new
connection and for the head of a request. Refuses to know the content of a request.
"""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from controller.api.addresses import block_of, is_trusted
from controller.config import ApiConfig

HEAD_S = 15.0
"""Seconds from the opening of a connection to the end of its first request's head: a phone on a bad link needs two or
three."""
KEEP_ALIVE_S = 75.0
"""Seconds from an answer to the end of the next request's head: longer than the 60 s for which proxies keep
connections."""
LINGER_S = 2.0
"""Seconds for which the rest of a refused body is read and dropped, so that its sender sees the answer."""
UNREAD_S = 60.0
"""Seconds after which a client that reads no part of its answer is disconnected. A client that reads slowly has more
time."""
SHUTDOWN_S = 10.0
"""Seconds that requests in progress have when the server stops."""
MAX_HEADERS = 50
MAX_HEADER_BYTES = 4096
"""Bytes of one header: all headers of 256 connections take at most 50 MB."""
HANDLER_ARGS: dict[str, Any] = {
    "keepalive_timeout": KEEP_ALIVE_S,
    "lingering_time": LINGER_S,
    "max_headers": MAX_HEADERS,
    "max_field_size": MAX_HEADER_BYTES,
    "auto_decompress": False,
}
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\nConnection: close\r\n\r\n"
)


class Door(web.Server):
    """aiohttp's server with limits on connections and a deadline for the first head."""

    def __init__(self, inside: web.Server, api: ApiConfig) -> None:
        super().__init__(inside.request_handler, request_factory=self._begun, access_log=None, **HANDLER_ARGS)
        self._inside, self._api = inside, api
        self._blocks: dict[web.RequestHandler, str] = {}
        self._per_block: Counter[str] = Counter()
        self._heads: dict[web.RequestHandler, asyncio.TimerHandle] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Counts a new connection, or refuses it (called by aiohttp)."""
        super().connection_made(handler, transport)
        peer = _peer(transport)
        block = block_of(peer)
        if words := self._too_many(peer, block):
            body = b'{"code":"rate_limited","detail":"%s"}' % words.encode()
            transport.write(_FULL % len(body) + body)
            transport.close()
            return
        self._blocks[handler] = block
        self._per_block[block] += 1
        self._heads[handler] = asyncio.get_running_loop().call_later(HEAD_S, transport.abort)
        _end_unread(transport)

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Removes a connection that has ended from the counts (called by aiohttp)."""
        super().connection_lost(handler, exc)
        self._head_came(handler)
        block = self._blocks.pop(handler, None)
        if block is not None:
            self._per_block[block] -= 1
            if not self._per_block[block]:
                del self._per_block[block]

    def _begun(self, message: Any, payload: Any, protocol: web.RequestHandler, writer: Any, task: Any) -> Any:
        self._head_came(protocol)
        return self._inside.request_factory(message, payload, protocol, writer, task)

    def _head_came(self, handler: web.RequestHandler) -> None:
        timer = self._heads.pop(handler, None)
        if timer is not None:
            timer.cancel()

    def _too_many(self, peer: str, block: str) -> str:
        if len(self._blocks) >= self._api.max_connections:
            return f"{self._api.max_connections} connections are open (api.max_connections)"
        each = self._api.max_connections_per_address
        if self._per_block[block] >= each and not is_trusted(peer, self._api.trusted_proxies):
            return f"{each} connections from {block} are open (api.max_connections_per_address)"
        return ""


@asynccontextmanager
async def opened(app: web.Application, api: ApiConfig) -> AsyncIterator[tuple[str, int]]:
    """Serves `app` until the block ends. Yields the address and the port on which it listens."""
    inside = web.AppRunner(app, access_log=None)
    await inside.setup()
    assert inside.server is not None
    outside = web.ServerRunner(Door(inside.server, api), shutdown_timeout=SHUTDOWN_S)
    try:
        await outside.setup()
        await web.TCPSite(outside, api.host, api.port).start()
        host, port = outside.addresses[0][:2]
        yield host, port
    finally:
        await outside.cleanup()
        await inside.cleanup()


def _peer(transport: asyncio.Transport) -> str:
    name = transport.get_extra_info("peername")
    return str(name[0]) if isinstance(name, tuple) else "unknown"


def _end_unread(transport: asyncio.Transport) -> None:
    """Makes the kernel end a connection whose peer reads nothing.

    Linux only; elsewhere only the limits on connections help.
    """
    sock = transport.get_extra_info("socket")
    if sock is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNREAD_S * 1000))
