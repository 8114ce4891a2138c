"""Blobs for neighbours: confirmed blobs, for any device on the network that requests them by digest.

Decides how many are served at a time and how long each may take, so that no idle neighbour keeps a connection.
Refuses to know which device asks: a digest is enough, as at the broker, and the receiver verifies the blob. Uses
the standard library's server: few neighbours at a time, and latency does not matter.
"""

import logging
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from ipaddress import ip_address
from pathlib import Path
from typing import Any, BinaryIO

from contract.blobs import Blob, chunk_list_of
from contract.names import is_digest

MAX_ASKERS = 4
"""The largest number of connections at a time; a further one is closed, and its device asks another source."""
MAX_ASKERS_PER_ADDRESS = 2
"""The most connections from one address, so that a neighbour that opens more leaves places for the others."""
TIMEOUT_S = 20.0
"""The longest time for one read or write, after which a neighbour is disconnected."""
HEAD_S = 10.0
"""The longest time from a connection's opening, or from the end of an answer, until the next request's head is
complete."""
SLOWEST_BYTES_S = 4 * 1024
"""An answer that is read more slowly than this on average is ended: the broker is then the better source."""
LOOK_S = 0.5
"""The time between two checks of the deadlines."""
_RANGE = re.compile(r"bytes=(\d{1,12})-(\d{1,12})\Z")

_log = logging.getLogger("edgeward.agent")

Find = Callable[[str], tuple[Blob, str] | None]
"""Returns a confirmed blob and the path of its file, by digest; called from any thread."""


class BlobServer:
    """Listens from `start` to `stop`. OSError if the address is not this device's, or is in use."""

    def __init__(self, host: str, port: int, find: Find) -> None:
        self._server = _Server(host, port, find)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(LOOK_S,), name="neighbours", daemon=True
        )
        shown = f"[{host}]" if ":" in host else host
        self.address = f"http://{shown}:{self._server.server_port}/{{sha256}}"
        """The address at which neighbours reach this server."""

    def start(self) -> None:
        """Starts the thread that answers."""
        self._thread.start()
        _log.info("neighbours may fetch confirmed blobs at %s", self.address)

    def stop(self) -> None:
        """Ends the thread; neighbours in the middle of a blob continue with another source."""
        if self._thread.is_alive():
            self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = MAX_ASKERS

    def __init__(self, host: str, port: int, find: Find) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.find = find
        self._lock = threading.Lock()
        self._deadlines: dict[socket.socket, float] = {}
        """When each connection is ended, in monotonic seconds."""
        self._addresses: dict[socket.socket, str] = {}
        super().__init__((host, port), _Asker)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._takes_place(request, str(client_address[0])):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._deadlines.pop(request, None)
                self._addresses.pop(request, None)

    def service_actions(self) -> None:
        """Ends connections whose time is over; their threads meet a closed socket (called every LOOK_S)."""
        now = time.monotonic()
        with self._lock:
            for request in [each for each, deadline in self._deadlines.items() if now >= deadline]:
                self._deadlines[request] = float("inf")
                with suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def may_take(self, request: Any, seconds: float) -> None:
        """Sets a new deadline for a connection."""
        with self._lock:
            if request in self._deadlines:
                self._deadlines[request] = time.monotonic() + seconds

    def handle_error(self, request: Any, client_address: Any) -> None:
        _log.debug("a neighbour disconnected", exc_info=True)

    def _takes_place(self, request: socket.socket, address: str) -> bool:
        with self._lock:
            theirs = sum(each == address for each in self._addresses.values())
            too_many = theirs >= MAX_ASKERS_PER_ADDRESS and not _is_here(address)
            if len(self._addresses) >= MAX_ASKERS or too_many:
                return False
            self._addresses[request] = address
            self._deadlines[request] = time.monotonic() + HEAD_S
            return True


def _is_here(address: str) -> bool:
    """Returns whether an address is this machine's own: a proxy, or a fleet on one machine, sends requests of many
    devices.
    """
    return ip_address(address.partition("%")[0]).is_loopback


class _Asker(BaseHTTPRequestHandler):
    """The connection of one neighbour: `GET /{sha256}` with a range, or `GET /{sha256}.list`."""

    server: _Server
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT_S

    def handle_one_request(self) -> None:
        """Starts the time limit for the head of each request."""
        self.server.may_take(self.connection, HEAD_S)
        super().handle_one_request()

    def do_GET(self) -> None:
        """Answers a GET; the standard library sets the name."""
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            self.close_connection = True  # no request here has a body, so none is read
            self._refuse(HTTPStatus.BAD_REQUEST)
            return
        name = self.path.removeprefix("/")
        digest = name.removesuffix(".list")
        found = self.server.find(digest) if is_digest(digest) else None
        if found is None:
            self._refuse(HTTPStatus.NOT_FOUND)
            return
        blob, path = found
        try:
            with Path(path).open("rb") as file:
                if name == digest:
                    self._send(file, blob.length)
                else:
                    self._send(BytesIO(chunk_list_of(file, blob.chunk_bytes)), blob.list_bytes)
        except FileNotFoundError:
            self._refuse(HTTPStatus.NOT_FOUND)

    def _send(self, file: BinaryIO, length: int) -> None:
        asked = _RANGE.match(self.headers.get("Range", f"bytes=0-{length - 1}"))
        first, last = (int(asked[1]), int(asked[2])) if asked else (1, 0)
        if not first <= last < length:
            self._refuse(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            return
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Length", str(last - first + 1))
        self.send_header("Content-Range", f"bytes {first}-{last}/{length}")
        self.end_headers()
        self.server.may_take(self.connection, HEAD_S + (last - first + 1) / SLOWEST_BYTES_S)
        if isinstance(file, BytesIO):
            self.wfile.write(file.getvalue()[first : last + 1])
        else:
            self.connection.sendfile(file, first, last - first + 1)
            if last == length - 1:
                _log.info("neighbour %s has taken the end of %s", self.client_address[0], self.path[1:13])

    def _refuse(self, status: HTTPStatus) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Writes no log line for each request."""
