"""The controller's side of the warm starter: starts it at the first conversion, requests children from it, ends it.

Decides when a new process is better: if the starter has died, may not fork, or has died too often. Refuses to know what
a child does. The children that measure time and memory are always fresh: in a fork, memory that the imports have freed
would serve the model, and its memory would look smaller than on a device.
"""

import logging
import socket
import subprocess
import sys
from pathlib import Path

from contract.errors import BadInput
from controller.convert import request as files
from controller.convert.children import child_environment, finish_child, run_child
from controller.convert.starter_words import THREADED
from controller.convert.warm_child import WarmChild

CHILD, WARM = "controller.convert.start", "controller.convert.warm"
IDLE_S = 600.0
"""Seconds without a conversion after which a starter ends: it holds 250 MB, and the next start takes 2 s."""
MAX_CHILDREN = 100
"""The most children of one starter. They share its memory addresses and its hash seed, which a hostile model can find
out and reveal; a fresh starter has others."""
MAX_DEATHS = 3
"""Starters that may die in a row; each time a new process converts. After that all children are new processes."""
NOWHERE = Path("/nonexistent")
"""The home directory of a starter, which stores nothing. Each of its children gets the directory of its conversion."""

_log = logging.getLogger("edgeward.controller")


async def convert_fresh(directory: Path, *, timeout_s: float, allowed_mb: int) -> None:
    """Runs a fresh conversion child in `directory`. BadInput as `children.run_child` says."""
    await run_child(CHILD, str(directory), directory=directory, timeout_s=timeout_s, allowed_mb=allowed_mb)


class Starter:
    """The warm starter of one controller. It belongs to no event loop; it is used by one conversion after the other."""

    def __init__(self, *, idle_s: float = IDLE_S) -> None:
        self._idle_s = idle_s
        self._process: subprocess.Popen[bytes] | None = None
        self._orders: socket.socket | None = None
        self._children = 0
        self.deaths = 0
        """Starters that have died in a row."""

    @property
    def pid(self) -> int | None:
        """The starter's process, if one was begun and not ended."""
        return self._process.pid if self._process is not None else None

    async def convert(self, directory: Path, *, timeout_s: float, allowed_mb: int) -> None:
        """Runs a conversion child in `directory`: a warm one, or a new process if the starter has ended.

        BadInput as `children.run_child` says.
        """
        if not await self._converted(directory, timeout_s, allowed_mb):
            for half in (files.FAULT, files.ANSWER):
                (directory / half).unlink(missing_ok=True)
            await convert_fresh(directory, timeout_s=timeout_s, allowed_mb=allowed_mb)

    async def _converted(self, directory: Path, timeout_s: float, allowed_mb: int) -> bool:
        """Returns whether a warm child has converted; False if there was none, or if it ended only because the starter
        did.
        """
        child = await self._child(directory)
        if child is None:
            return False
        try:
            await finish_child(child, directory=directory, timeout_s=timeout_s, allowed_mb=allowed_mb)
        except BadInput:
            if not child.orphaned:
                self.end()  # a model that can crash a child may try again, but not at the same addresses
                raise
        if child.orphaned:
            self._note_death()
            return False
        self.deaths = 0
        if self._children >= MAX_CHILDREN:
            self.end()
        return True

    async def _child(self, directory: Path) -> WarmChild | None:
        """Returns a child of the starter, which is started if there is none; None if it cannot be started."""
        if self._process is not None and self._process.poll() is not None:
            self._note_death()
        if self.deaths >= MAX_DEATHS:
            return None
        if self._process is None:
            self._begin()
        assert self._orders is not None
        assert self._process is not None
        self._children += 1
        try:
            return await WarmChild.ask(self._orders, directory, stuck=self._process.kill)
        except OSError:  # it has just ended
            self._note_death()
            return None

    def _begin(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and our own module
                [sys.executable, "-I", "-W", "ignore", "-m", WARM, str(self._idle_s)],
                stdin=theirs.fileno(), stdout=subprocess.DEVNULL, env=child_environment(NOWHERE),
                start_new_session=True,
            )  # fmt: skip
        self._children = 0

    def _note_death(self) -> None:
        """Notes that the starter has ended, and counts it unless it had nothing to do."""
        process = self._process
        self.end()
        if process is not None and process.returncode != 0:
            self.deaths = MAX_DEATHS if process.returncode == THREADED else self.deaths + 1
            _log.warning("the warm starter of conversions ended with %s: a fresh child instead", process.returncode)

    def end(self) -> None:
        """Ends the starter and its children. The next conversion starts another one."""
        if self._orders is not None:
            self._orders.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._orders = None
