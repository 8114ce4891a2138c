"""HTTP/1.1 on loopback or a Unix socket, in its own thread.

Decides the address, how many threads there are, and when a connection is closed. Why this server: docs/adr/0008.
Refuses to know what a request means.
"""

import asyncio
import errno
import logging
import selectors
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from agent.adapters.http.connection import Connection
from agent.adapters.http.listening import Listening
from agent.adapters.local_port import other_program
from agent.config import ServingConfig, check_listen
from agent.serving.oip import Endpoint
from contract.errors import Code, WorldError
from contract.world_faults import world_error

SWEEP_S = 1.0
"""Seconds between two looks for connections that are too slow or idle."""
BACKLOG = 64
START_S = 10.0
TURN = 4
"""The number of connections that are answered before the kernel is asked for more."""

_log = logging.getLogger("edgeward.serving")


class HttpServer:
    """Listens from `start` to `stop`. WorldError `port_taken` if the address is in use."""

    def __init__(self, endpoint: Endpoint, config: ServingConfig) -> None:
        loop, pool = asyncio.SelectorEventLoop(_Turns()), ThreadPoolExecutor(config.threads, "inference")
        self._own = config
        self._serving = Listening(endpoint, config, pool, loop)
        self._socket = _bind(config.listen)
        self._serves = threading.Event()
        self._thread = threading.Thread(target=self._run, name="serving", daemon=True)

    @property
    def port(self) -> int:
        """Returns the TCP port; 0 for a Unix socket."""
        return 0 if self._socket.family == socket.AF_UNIX else int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Starts the thread that answers."""
        self._thread.start()
        self._serves.wait(START_S)

    def limit(self, max_connections: int | None, max_body_bytes: int | None) -> None:
        """Sets other limits for all later requests; None means the configured ones. From any thread."""
        own = self._own
        self._serving.config = replace(
            own,
            max_connections=own.max_connections if max_connections is None else max_connections,
            max_body_bytes=own.max_body_bytes if max_body_bytes is None else max_body_bytes,
        )

    def fault(self) -> str:
        """Returns in words why the server cannot accept a connection; empty while it can. From any thread."""
        serving = self._serving
        if not self._thread.is_alive():
            return "the server of local programs has ended" if self._serves.is_set() else ""
        if len(serving.connections) >= serving.config.max_connections:
            return f"local programs hold all {serving.config.max_connections} connections"
        return ""

    def stop(self) -> None:
        """Closes every connection and ends the thread."""
        if self._thread.is_alive():
            self._serving.loop.call_soon_threadsafe(self._serving.loop.stop)
            self._thread.join(timeout=5)
        self._socket.close()
        self._serving.pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        loop = self._serving.loop
        asyncio.set_event_loop(loop)
        make = partial(Connection, self._serving)
        if self._socket.family == socket.AF_UNIX:
            server = loop.run_until_complete(loop.create_unix_server(make, sock=self._socket, backlog=BACKLOG))
        else:
            server = loop.run_until_complete(loop.create_server(make, sock=self._socket, backlog=BACKLOG))
        loop.call_later(SWEEP_S, self._sweep)
        loop.call_soon(self._serves.set)
        _log.info("serving on %s", self._serving.config.listen)
        try:
            loop.run_forever()
        finally:
            server.close()
            for connection in list(self._serving.connections):
                connection.abort()
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    def _sweep(self) -> None:
        """Closes connections that are too slow or idle, and ends what is computed for those that have left."""
        now = time.monotonic()
        for connection in list(self._serving.connections):
            connection.notice_leaving()
            if now >= connection.close_at:
                connection.abort()
        self._serving.loop.call_later(SWEEP_S, self._sweep)


class _Turns(selectors.DefaultSelector):
    """A selector that reports few connections at a time, so that every connection gets its turn.

    If epoll reports all connections at once, it misses the one that was answered last, because its next request is
    still under way. That one is then served after all others: with eight clients every seventh request waited twice as
    long.
    """

    def __init__(self) -> None:
        super().__init__()
        self._selector: Any = _Few(self._selector)  # there is no public way (adapters/private_parts.py)


class _Few:
    """The kernel's object that watches sockets; returns only a few events at a time."""

    def __init__(self, watched: Any) -> None:
        self._watched = watched

    def poll(self, timeout: float, most: int) -> Any:
        return self._watched.poll(timeout, min(most, TURN))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._watched, name)


def _bind(listen: str) -> socket.socket:
    address, port = check_listen(listen)
    try:
        found = _bind_unix(address) if address.startswith("/") else _bind_tcp(address, port)
        found.listen(BACKLOG)
        return found
    except OSError as error:
        why = _taken_by(address, port) if error.errno == errno.EADDRINUSE else world_error(error).detail
        raise WorldError(Code.PORT_TAKEN, f"serving.listen {listen}: {why}") from None


def _taken_by(address: str, port: int) -> str:
    """Returns in words which program has the address, and what to do; also for one that does not answer."""
    with suppress(OSError):
        return f"{other_program(address, port)} answers there: stop it, or name another address"
    return "another program listens there: stop it, or name another address"


def _bind_tcp(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind((host.strip("[]"), port))
    return found


def _bind_unix(path: str) -> socket.socket:
    """Binds the socket. Replaces a socket file on which no process listens; a killed process leaves such a file."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    place = Path(path)
    if place.is_socket() and not _answers(path):
        place.unlink()
    found.bind(path)
    place.chmod(0o660)
    return found


def _answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(path) == 0
