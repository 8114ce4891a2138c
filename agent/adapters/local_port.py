"""Finds out which program answers at the address where this device serves local programs.

Decides what an answer means. Refuses to know which other requests this address gets.
"""

import json
import socket
from contextlib import suppress

from agent.serving.oip import SERVER

ANSWER_S = 2.0
"""Seconds to wait for an answer from this device's agent. It takes a millisecond unless the device is overloaded."""
MAX_ANSWER_BYTES = 16 * 1024
"""The most that is read of an answer: an agent's has 400 bytes, and another program may send without an end."""
_ASKED = b"GET /v2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def answers_at(host: str, port: int, device: str) -> tuple[bool, str]:
    """Returns whether the address (host, port), or (path, 0) of a Unix socket, is free or answered by the agent of
    this device, and says what was found there.
    """
    if not host:
        return True, "none is asked for: serving.listen"
    where = f"{host}:{port}" if port else host
    try:
        other = other_program(host, port, device)
    except (ConnectionRefusedError, FileNotFoundError):
        return True, f"{where} is free: the agent does not run, or is about to take it"
    except OSError as error:
        return False, f"{where}: {error.strerror or error}"
    if not other:
        return True, f"{where} answers as the model server of {device}"
    return False, f"{where}: {other} answers there: stop it, or choose another serving.listen"


def other_program(host: str, port: int, device: str | None = None) -> str:
    """Returns in words which program answers at an address; empty for the agent of `device`. OSError if none does.

    An agent of an earlier version does not name its device, and passes for this one.
    """
    head, _, body = _ask(host, port).partition(b"\r\n\r\n")
    told = None
    if head.startswith(b"HTTP/1.1 200"):
        with suppress(ValueError, RecursionError):
            told = json.loads(body)
    if not isinstance(told, dict) or not isinstance(told.get("name"), str):
        return "another program"
    if told["name"] != SERVER:
        return f"another model server ({told['name'][:64]})"
    found = told.get("device", device)
    if device is not None and found == device:
        return ""
    return f"another agent ({found[:64]})" if isinstance(found, str) else "another agent"


def _ask(host: str, port: int) -> bytes:
    if port:
        link = socket.create_connection((host.strip("[]"), port), ANSWER_S)
    else:
        link = socket.socket(socket.AF_UNIX)
        link.settimeout(ANSWER_S)
    with link:
        if not port:
            link.connect(host)
        link.sendall(_ASKED)
        said = b""
        while len(said) < MAX_ANSWER_BYTES and (part := link.recv(MAX_ANSWER_BYTES)):
            said += part
        return said
