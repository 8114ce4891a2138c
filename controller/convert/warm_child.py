"""A child of the warm starter, as the controller sees it: its two streams, its end, and how it is killed.

Decides how long a starter may take to kill a child. Refuses to know how the starter works.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from controller.convert.starter_words import EXIT_CODE

KILL_S = 5.0
"""Seconds in which a child must end after it is killed; then the starter is killed, and the kernel ends both."""


class WarmChild:
    """A conversion in a child of the starter. The parent half closes the socket `reins` to kill the child, and
    reports how it ended.
    """

    def __init__(
        self,
        streams: tuple[asyncio.StreamReader, asyncio.StreamReader],
        reins: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        stuck: Callable[[], None],
    ) -> None:
        self.stdout, self.stderr = streams
        self.returncode: int | None = None
        self.orphaned = False
        """Whether it ended only because the starter ended."""
        self._said, self._reins = reins
        self._stuck = stuck
        self._last_resort: asyncio.TimerHandle | None = None

    @classmethod
    async def ask(cls, orders: socket.socket, directory: Path, *, stuck: Callable[[], None]) -> "WarmChild":
        """Asks the starter for a child that converts in `directory`. OSError if the starter has ended.

        `stuck` is called to kill a starter that does not kill its child.
        """
        ours, theirs = socket.socketpair()
        (read_out, write_out), (read_err, write_err) = os.pipe(), os.pipe()
        try:
            socket.send_fds(orders, [os.fsencode(directory)], [write_out, write_err, theirs.fileno()])
        except OSError:
            ours.close()
            os.close(read_out)
            os.close(read_err)
            raise
        finally:
            theirs.close()
            os.close(write_out)
            os.close(write_err)
        streams = (await _stream(read_out), await _stream(read_err))
        return cls(streams, await asyncio.open_connection(sock=ours), stuck)

    async def wait(self) -> int:
        """Waits for the end. Returns the exit code, or minus the number of the signal that ended it."""
        said = await self._said.read(EXIT_CODE.size)
        if self._last_resort is not None:
            self._last_resort.cancel()
        self._reins.close()
        ended_alone = len(said) == EXIT_CODE.size
        self.orphaned = not ended_alone and self._last_resort is None
        self.returncode = EXIT_CODE.unpack(said)[0] if ended_alone else -signal.SIGKILL
        return self.returncode

    def kill(self) -> None:
        """Kills the child and its group."""
        if self._last_resort is None and self.returncode is None:
            self._reins.write_eof()
            self._last_resort = asyncio.get_running_loop().call_later(KILL_S, self._stuck)


async def _stream(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    return reader
