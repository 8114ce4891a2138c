"""The memory that a flood takes at the controller: four connections with 900 MB bodies, with and without a token,
and one device that never stops; real processes.
"""

import socket
import threading
import time
from contextlib import suppress

import psutil

from benchmarks import message_flood
from benchmarks.message_flood import load, running
from benchmarks.table import Row

CONNECTIONS = 4
BODY_BYTES = 900_000_000
PIECE = b"\0" * (1 << 20)
LOOK_S = 0.02
GROWTH_MB = 32.0
_PART = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n'


def measure() -> list[Row]:
    """Returns the highest growth of the controller's resident memory during each flood, in MB."""
    rows = []
    for what, path, with_token in (
        ("four bodies of 900 MB without a token", "/v1/enrol", False),
        ("four pushes of 900 MB without a token", "/v1/models/m/versions", False),
        ("four pushes of 900 MB with a token", "/v1/models/m/versions", True),
    ):
        growth_mb = _growth_mb(path, with_token)
        rows.append(Row(f"RSS growth, {what}", growth_mb, GROWTH_MB, "MB", f"the bar; {load()}", 1.0))
    return [*rows, *message_flood.measure()]


def _growth_mb(path: str, with_token: bool) -> float:
    with running("--broker", "embedded") as (process, home, port):
        return _flood(process, port, path, (home / "token").read_text() if with_token else "")


def _flood(process: psutil.Process, port: int, path: str, token: str) -> float:
    """Returns the growth in MB. A push with a token must be received whole, else the figure would have no meaning."""
    time.sleep(2)
    before = highest = process.memory_info().rss
    sent: list[int] = []
    senders = [threading.Thread(target=_send, args=(port, path, token, sent)) for _ in range(CONNECTIONS)]
    for sender in senders:
        sender.start()
    while any(sender.is_alive() for sender in senders):
        highest = max(highest, process.memory_info().rss)
        time.sleep(LOOK_S)
    assert not token or len(sent) == CONNECTIONS, "a push was cut off"
    return (highest - before) / 1e6


def _send(port: int, path: str, token: str, sent: list[int]) -> None:
    """Sends the whole body, or as much of it as the controller accepts before it closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection, suppress(OSError):
        lines = [
            f"POST {path} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            f"Content-Length: {BODY_BYTES}",
            f"Authorization: Bearer {token}",
        ]
        lines += ["Content-Type: multipart/form-data; boundary=b", "Connection: close"]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode() + _PART)
        left = BODY_BYTES - len(_PART)
        while left > 0:
            connection.sendall(PIECE[:left])
            left -= len(PIECE)
        sent.append(BODY_BYTES)
        while connection.recv(65536):
            pass
