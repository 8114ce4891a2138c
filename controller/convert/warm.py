"""The warm starter: ``python -I -m controller.convert.warm IDLE_S``. It imports once the modules of a conversion child.

Decides that it never reads a model and makes no session. It forks a child for each directory that it receives on
its standard input, which is a socket, and reports how the child ended. Each child confines itself as a fresh one
does. The starter ends when the controller disconnects, or after `IDLE_S` seconds without a request; its children
end with it. Refuses to know what a conversion is.
"""

import ctypes
import gc
import os
import random
import selectors
import signal
import socket
import sys
import tempfile
import traceback
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from controller.convert import child
from controller.convert.starter_words import EXIT_CODE, MAX_PATH_BYTES, THREADED

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@dataclass(slots=True, eq=False)
class _Running:
    """A child that has not ended: its process, and the socket on which the controller waits for its end."""

    pid: int
    ended_fd: int
    """Readable once the child has ended."""
    reins: socket.socket


def main() -> None:
    """Forks children until the controller disconnects or has been idle for too long."""
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        sys.exit(THREADED)
    gc.freeze()  # a collection in a child would copy every page that it reads
    with socket.socket(fileno=0) as orders, selectors.DefaultSelector() as selector:
        _Starter(orders, selector, float(sys.argv[1])).run()


class _Starter:
    def __init__(self, orders: socket.socket, selector: selectors.BaseSelector, idle_s: float) -> None:
        self._orders = orders
        self._selector = selector
        self._idle_s = idle_s
        self._children = 0

    def run(self) -> None:
        """Serves orders. Ends without waiting for children: the kernel then ends them."""
        self._selector.register(self._orders, selectors.EVENT_READ)
        while ready := self._selector.select(None if self._children else self._idle_s):
            for key, _ in ready:
                running = key.data
                if running is None:
                    if not self._accept():
                        return
                elif key.fileobj is running.reins:
                    self._selector.unregister(running.reins)
                    _kill(running.pid)
                else:
                    self._tell_end(running)
                    break  # its other event, if there is one, is out of date

    def _accept(self) -> bool:
        """Starts the requested child. False once the controller has disconnected."""
        order, descriptors, _, _ = socket.recv_fds(self._orders, MAX_PATH_BYTES, 3)
        if not order:
            return False
        starter = os.getpid()
        pid = os.fork()
        if pid == 0:
            _become_child(order.decode(), descriptors[:2], starter)
        for descriptor in descriptors[:2]:
            os.close(descriptor)
        running = _Running(pid, os.pidfd_open(pid), socket.socket(fileno=descriptors[2]))
        self._selector.register(running.ended_fd, selectors.EVENT_READ, running)
        self._selector.register(running.reins, selectors.EVENT_READ, running)
        self._children += 1
        return True

    def _tell_end(self, running: _Running) -> None:
        _kill(running.pid)  # ends the rest of its group: the child itself is not reaped yet
        _, status = os.waitpid(running.pid, 0)
        self._selector.unregister(running.ended_fd)
        os.close(running.ended_fd)
        if running.reins in self._selector.get_map():
            self._selector.unregister(running.reins)
        with suppress(OSError):  # nothing may wait for it any more
            running.reins.send(EXIT_CODE.pack(os.waitstatus_to_exitcode(status)))
        running.reins.close()
        self._children -= 1


def _kill(pid: int) -> None:
    """Kills a child that is not reaped, and its group: a child that has just started has no group yet."""
    os.kill(pid, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _become_child(directory: str, output: list[int], starter: int) -> NoReturn:
    """Runs the conversion child in this process, which keeps nothing of the starter but its modules."""
    code = 1
    try:
        os.setsid()
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != starter:
            os._exit(code)  # it ended before the kernel was asked
        _keep_only(output)
        _surround(directory)
        sys.argv = [child.__name__, directory]
        child.main()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _keep_only(output: list[int]) -> None:
    """Leaves three descriptors open, as a fresh child has them: an empty input, and the two output streams."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((nothing, *output)):
        os.dup2(descriptor, number)
    os.closerange(3, 1 + max(int(entry.name) for entry in Path("/proc/self/fd").iterdir()))


def _surround(directory: str) -> None:
    """Sets the parts that a new process gets: its home, its temporary directory, and its own random numbers."""
    os.environ.update(HOME=directory, TMPDIR=directory)
    tempfile.tempdir = None
    random.seed()
    np.random.seed()  # models without a `random_state` use this generator


if __name__ == "__main__":
    main()
