"""Finds a TCP port that another program has taken, before anything is started on it, and names that program.

Decides how long to wait: at once for other programs, and a while for an earlier broker of this data directory that is
ending, or for a program that is not seen, because a program that ends loses its name before its port. Refuses to know
what listens there afterwards. The program's name comes from Linux's /proc; elsewhere, and for a program of another
user, it is not known.
"""

import errno
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from contract.errors import Code, WorldError

PORT_WAIT_S = 10.0
"""Seconds to wait for the broker of a killed controller: it may still write its database."""
LOOK_EVERY_S = 0.1
"""Seconds between two attempts."""
VANISHED_S = 1.0
"""Seconds to wait if the port is taken, but nothing listens there: its program is ending, or has just begun."""
_PROC = Path("/proc")
_LISTENING = "0A"
"""TCP_LISTEN in /proc/net/tcp. Source: include/net/tcp_states.h of Linux."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A program that listens on a port. `name` is empty if this user may not see it."""

    name: str = ""
    pid: int = 0

    @property
    def words(self) -> str:
        """Its name for people."""
        return f"{self.name} (process {self.pid})" if self.name else "another program"

    def is_of(self, directory: Path) -> bool:
        """Returns whether it was started with a file in `directory`, or is not there to be asked any more."""
        try:
            command = (_PROC / str(self.pid) / "cmdline").read_bytes().split(b"\0")
            beside = (_PROC / str(self.pid) / "cwd").readlink()
        except (FileNotFoundError, ProcessLookupError):
            return True
        except OSError:
            return False
        return not any(command) or any(
            (beside / os.fsdecode(word)).resolve().is_relative_to(directory.resolve()) for word in command[1:]
        )


def refuse_taken(host: str, port: int, remedy: str, own: Path | None = None) -> None:
    """Returns once the port is free. `own`: the directory of a broker that may be ending, for which it waits.

    WorldError `port_taken`, in words with the program that has it and `remedy`; also for an address that this machine
    does not have, and a port that this user may not use.
    """
    began = time.monotonic()
    while (fault := _fault_of_binding(host, port)) is not None:
        if fault.errno != errno.EADDRINUSE:
            raise WorldError(Code.PORT_TAKEN, f"{host}:{port}: {fault.strerror}; {remedy}")
        listener = listener_on(port)
        ends = own is not None and listener is not None and (not listener.name or listener.is_of(own))
        patience_s = PORT_WAIT_S if ends else VANISHED_S if listener is None else 0.0
        if time.monotonic() - began >= patience_s:
            words = (listener or Listener()).words
            raise WorldError(Code.PORT_TAKEN, f"port {port} of {host} is taken by {words}; {remedy}")
        time.sleep(LOOK_EVERY_S)


def listener_on(port: int) -> Listener | None:
    """Returns the program that listens on the port of any address of this machine; None if none does."""
    sockets = _listening_sockets(port)
    if sockets is None:
        return Listener()
    if not sockets:
        return None
    return next((Listener(name, pid) for pid, name in _holders(sockets)), Listener())


def _fault_of_binding(host: str, port: int) -> OSError | None:
    if port == 0:
        return None
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
    except OSError as error:
        return error
    return None


def _listening_sockets(port: int) -> set[str] | None:
    """Returns the inodes of sockets that listen on the port; None where there is no /proc."""
    found: set[str] = set()
    tables = [path for path in (_PROC / "net" / "tcp", _PROC / "net" / "tcp6") if path.exists()]
    for table in tables:
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(f"socket:[{fields[9]}]")
    return found if tables else None


def _holders(sockets: set[str]) -> Iterator[tuple[int, str]]:
    """Yields (process id, name) of processes of this user that hold one of the sockets."""
    for process in _PROC.iterdir():
        if not process.name.isdigit():
            continue
        try:
            if sockets.intersection(map(_target, (process / "fd").iterdir())):
                yield int(process.name), (process / "comm").read_text().strip()
        except OSError:  # of another user, or it has ended
            continue


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:  # closed since it was listed
        return ""
