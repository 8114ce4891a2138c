"""A model in its own confined process: it may crash, hang or be attacked, and the agent continues.

Decides deadlines, and when a dead worker is replaced. The request that was in flight fails, because it may have
ended the worker; the next one waits for the replacement. Refuses to know what a request is for.
"""

import logging
import os
import select
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from agent.adapters.runtime.session_settings import PLAIN, SessionSettings
from agent.adapters.runtime.shared_tensors import FIRST_BYTES, Region, Said, lay, needed, read_message, write_message
from agent.ports import Array, Inputs, Stop, Stopped
from confinement.surroundings import clean_environment
from contract.errors import BadInput, Code, WorldError
from contract.manifest import Manifest

START_S = 20.0
_SHORT_OF_MEMORY = ("bad_alloc", "allocate memory", "MemoryError")
"""Error texts of onnxruntime, the kernel and Python for lack of memory. After a large request, they are the caller's
fault.
"""
MAX_DEATHS = 3
"""The most deaths in a row without an answer between them; after these, each further start waits."""
MAX_PAUSE_S = 60.0

_log = logging.getLogger("edgeward.agent")


class WorkerSession:
    """The Session port over a worker. One request at a time, from any thread; one that takes longer than `deadline_s`
    counts as a hang.
    """

    def __init__(
        self,
        artifact: str,
        manifest: Manifest,
        settings: SessionSettings = PLAIN,
        *,
        deadline_s: float = 5.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._artifact = artifact
        self._manifest = manifest
        self._settings = settings
        self._deadline_s = deadline_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._deaths = 0
        self._start_at = 0.0
        self._child: _Child | None = _Child(artifact, manifest, settings)

    @property
    def pid(self) -> int | None:
        """Returns the worker's process number; None between a death and its replacement."""
        child = self._child
        return child.process.pid if child is not None else None

    def run(self, inputs: Inputs, stop: Stop | None = None) -> list[Array]:
        """Returns outputs as the Session port says. WorldError `worker_failed`: it died, hung or sent wrong data.

        BadInput `tensors_invalid` for tensors that are larger than a worker can share. A request that has begun
        runs to its end: `stop` only prevents the start of a request that waits.
        """
        with self._lock:
            if stop is not None and stop.why:
                raise Stopped(stop.why)
            child = self._child or self._replace()
            try:
                answer = child.ask(inputs, self._deadline_s)
            except WorldError as error:
                self._bury(child)
                _log.warning("worker of release %d: %s", self._manifest.release, error.detail)
                raise
            self._deaths = 0
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return answer

    def _bury(self, child: "_Child") -> None:
        child.end()
        self._child = None
        self._deaths += 1
        pause_s = 0.0 if self._deaths < MAX_DEATHS else min(2.0 ** (self._deaths - MAX_DEATHS), MAX_PAUSE_S)
        self._start_at = self._monotonic() + pause_s
        if not pause_s:
            threading.Thread(target=self._replace_early, name="worker", daemon=True).start()

    def _replace_early(self) -> None:
        """Starts a new worker before the next request asks for it."""
        with self._lock:
            if self._child is None:
                try:
                    self._replace()
                except WorldError as error:
                    _log.warning("worker of release %d: %s", self._manifest.release, error.detail)

    def _replace(self) -> "_Child":
        wait_s = self._start_at - self._monotonic()
        if wait_s > 0:
            raise WorldError(Code.WORKER_FAILED, f"it died {self._deaths} times in a row; next start in {wait_s:.0f} s")
        self._child = _Child(self._artifact, self._manifest, self._settings)
        return self._child


class _Child:
    """One process, from its start to its end."""

    def __init__(self, artifact: str, manifest: Manifest, settings: SessionSettings) -> None:
        self._outputs = len(manifest.session_outputs)
        self._region = Region()
        child_reads, self._to_child = os.pipe()
        self._from_child, child_writes = os.pipe()
        fds = (child_reads, child_writes, self._region.fd)
        self.process = subprocess.Popen(  # noqa: S603 - our own program and a path of ours
            [sys.executable, "-I", "-m", "agent.adapters.runtime.worker_child", *map(str, fds), artifact],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=fds,
            env=clean_environment(Path(artifact).parent),
        )
        os.close(child_reads)
        os.close(child_writes)
        self.end: Callable[[], Any] = weakref.finalize(
            self, _end, self.process, self._region, (self._to_child, self._from_child)
        )
        assert self.process.stdin is not None
        try:
            with self.process.stdin as stdin:
                stdin.write(msgspec.json.encode((manifest, settings)))
            ready = self._hear(START_S)
        except (OSError, WorldError) as error:
            self.end()
            raise WorldError(Code.MODEL_LOAD_FAILED, f"the worker did not start: {error}") from None
        if ready.fault:
            self.end()
            raise WorldError(Code.MODEL_LOAD_FAILED, ready.fault)

    def ask(self, inputs: Inputs, deadline_s: float) -> list[Array] | str:
        """Returns the outputs, or the runtime's exception as text."""
        laid = lay(inputs)
        self._region.grow(needed(laid))
        self._tell(Said(self._region.put(laid), self._region.size_bytes))
        said = self._hear(deadline_s)
        if said.size_bytes > self._region.size_bytes:
            self._make_room(said.size_bytes)
            said = self._hear(deadline_s)
        if said.fault:
            if needed(laid) > FIRST_BYTES and any(words in said.fault for words in _SHORT_OF_MEMORY):
                raise BadInput(Code.TENSORS_INVALID, f"too much for the model's memory limit: {said.fault}"[:300])
            return said.fault
        if len(said.tensors) != self._outputs:
            raise WorldError(Code.WORKER_FAILED, f"{len(said.tensors)} outputs, {self._outputs} expected")
        return [_own(self._region.view(placed)) for placed in said.tensors]

    def _make_room(self, size_bytes: int) -> None:
        """Grows the region for outputs. BadInput if they are too large to be shared; the worker stays alive."""
        try:
            self._region.grow(size_bytes)
        except BadInput:
            self._tell(Said())
            raise
        self._tell(Said(size_bytes=self._region.size_bytes))

    def _tell(self, said: Said) -> None:
        try:
            write_message(self._to_child, said)
        except OSError:
            raise WorldError(Code.WORKER_FAILED, "it has ended") from None

    def _hear(self, deadline_s: float) -> Said:
        poll = select.poll()
        poll.register(self._from_child, select.POLLIN)
        if not poll.poll(deadline_s * 1000):
            raise WorldError(Code.WORKER_FAILED, f"no answer in {deadline_s:g} s")
        said = read_message(self._from_child)
        if said is None:
            raise WorldError(Code.WORKER_FAILED, "it has ended, or sent no message of ours")
        return said


def _own(view: Array) -> Array:
    """Copies numbers, because the next request overwrites the region; text is copied already."""
    return view if view.dtype == object else view.copy()


def _end(process: "subprocess.Popen[bytes]", region: Region, fds: tuple[int, ...]) -> None:
    process.kill()
    process.wait()
    region.close()
    for fd in fds:
        os.close(fd)
