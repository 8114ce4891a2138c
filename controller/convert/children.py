"""The child processes of a conversion: start, limits, output and end.

Decides how long they may run, and how much they may write and print. Refuses to know what they do.
"""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Protocol, cast

from confinement.surroundings import clean_environment
from contract.errors import BadInput, Code
from controller.convert.scratch import excess

MAX_WORDS_BYTES = 64 * 1024
"""The last bytes of each output stream that are kept. All other output is read and dropped."""
WATCH_S = 0.1
"""Seconds between two checks of what a child has written."""
ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""Variables that keep libraries from starting threads when they are imported: one conversion runs at a time, on one
core, and only a process with one thread may fork. The last one is read by the allocator within pyarrow."""


_SIGNALS: dict[int, str] = {
    signal.SIGKILL: ": the machine had no memory left for it, or somebody has killed it",
    signal.SIGABRT: ": one of its libraries gave up, as for want of memory (convert.memory_mb)",
    signal.SIGXCPU: ": it has used up its processor time (convert.timeout_s)",
}
"""The usual cause of such an end."""


class Child(Protocol):
    """A child process: a new one, or one of the warm starter."""

    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader

    @property
    def returncode(self) -> int | None:
        """Its exit code, or minus the number of the signal that ended it; None while it runs."""
        ...

    async def wait(self) -> int:
        """Waits for the end, and returns the exit code."""
        ...

    def kill(self) -> None:
        """Kills it."""
        ...


def child_environment(directory: Path) -> dict[str, str]:
    """Returns the variables of a child: one thread for each library, unless the controller was told another number."""
    return {**ONE_THREAD, **clean_environment(directory)}


async def run_child(module: str, *arguments: str, directory: Path, timeout_s: float, allowed_mb: int) -> bytes:
    """Runs a module in a fresh child and returns its output. BadInput as `finish_child` says."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-W", "ignore", "-m", module, *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env=child_environment(directory),
    )  # fmt: skip
    return await finish_child(cast("Child", child), directory=directory, timeout_s=timeout_s, allowed_mb=allowed_mb)


async def finish_child(child: Child, *, directory: Path, timeout_s: float, allowed_mb: int) -> bytes:
    """Waits for a child that may write to `directory`, and returns its output.

    BadInput `conversion_limit` if it ran too long, wrote too much or was killed by a signal; `conversion_failed` for
    any other failure.
    """
    watch = asyncio.create_task(_watch(child, directory, allowed_mb))
    try:
        hearing = asyncio.gather(_heard(child.stdout), _heard(child.stderr), child.wait())
        said, complaint, code = await asyncio.wait_for(hearing, timeout_s)
    except TimeoutError:
        raise BadInput(Code.CONVERSION_LIMIT, f"conversion took longer than {timeout_s:.0f} s") from None
    finally:
        watch.cancel()
        if child.returncode is None:
            child.kill()
            # `wait` ends only after the pipes are closed, and a pipe that is not read stays open
            await asyncio.gather(_heard(child.stdout), _heard(child.stderr), child.wait())
    if too_much := excess(directory, allowed_mb):
        raise BadInput(Code.CONVERSION_LIMIT, f"the conversion child {too_much}")
    if code:
        raise _failure(code, complaint)
    return said


def _failure(code: int, complaint: bytes) -> BadInput:
    if code < 0:
        cause = _SIGNALS.get(-code, "")
        return BadInput(Code.CONVERSION_LIMIT, f"the conversion child was ended by signal {-code}{cause}")
    lines = complaint.decode(errors="replace").strip().splitlines()
    words = lines[-1] if lines else "no words"
    return BadInput(Code.CONVERSION_FAILED, f"the conversion child failed: {words}"[:400])


async def _heard(stream: asyncio.StreamReader) -> bytes:
    """Returns the last bytes of a stream, because the last line of an exception matters most."""
    kept = b""
    while piece := await stream.read(MAX_WORDS_BYTES):
        kept = (kept + piece)[-MAX_WORDS_BYTES:]
    return kept


async def _watch(child: Child, directory: Path, allowed_mb: int) -> None:
    while not excess(directory, allowed_mb):
        await asyncio.sleep(WATCH_S)
    child.kill()
