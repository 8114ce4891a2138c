"""Finds out which program answers at the address where this device serves local programs.

Decides what an answer means. Refuses to know which other requests this address gets.
"""

import socket

ANSWER_S = 2.0
"""Seconds to wait for an answer from this device's agent. It takes a millisecond unless the device is overloaded."""
_ASKED = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def answers_at(host: str, port: int) -> tuple[bool, str]:
    """Returns whether the address (host, port), or (path, 0) of a Unix socket, is free or answered by this agent,
    and says what was found there.
    """
    if not host:
        return True, "none is asked for: serving.listen"
    where = f"{host}:{port}" if port else host
    try:
        said = _ask(host, port)
    except (ConnectionRefusedError, FileNotFoundError):
        return True, f"{where} is free: the agent does not run, or is about to take it"
    except OSError as error:
        return False, f"{where}: {error.strerror or error}"
    if said.startswith(b"HTTP/1.1 200"):
        return True, f"{where} answers as a model server"
    return False, f"{where} is taken by another program: stop it, or choose another serving.listen"


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
        return link.recv(64)
