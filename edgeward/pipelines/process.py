"""Performs one job in its own process; a limit of time, memory or log ends it with all its children.

Decides when a process is killed, and the error for that. Refuses to know pipelines: the same function runs on a worker
of a cluster.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from edgeward.pipelines.job import LOG, VALUE, Outcome, Package, Result, read_result, write_job
from edgeward.runs.store import BLOBS

LOOK_S = 0.1
"""Seconds between two checks of a process: a leak of 1 GB/s exceeds its limit by 100 MB."""
MAX_LOG_BYTES = 64 << 20
"""The most output of a step: a step that prints without end would fill the disk."""
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def perform(package: Package, stopped: Callable[[], bool] = lambda: False) -> Outcome:
    """Performs a job and returns its outcome; faults of the step are in the result's `error`, none is raised."""
    with tempfile.TemporaryDirectory(prefix="edgeward-step-", ignore_cleanup_errors=True) as scratch:
        directory = Path(scratch) / "job"
        write_job(package, directory)
        environment = os.environ | package.environment | {"EDGEWARD_STEP_PARENT": str(os.getpid())}
        command = [sys.executable, "-m", "edgeward.pipelines.child", str(directory)]
        with (Path(scratch) / LOG).open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - this interpreter and our own module
                command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=environment,
                start_new_session=True,
            )  # fmt: skip
        try:
            fault = _watch(process, package, Path(scratch) / LOG, stopped)
        finally:
            _kill(process)
        return _outcome(directory, Path(scratch) / LOG, fault, process.returncode)


def _watch(process: "subprocess.Popen[bytes]", package: Package, log: Path, stopped: Callable[[], bool]) -> str:
    """Waits for the end; returns why it must be killed, empty if it ended by itself."""
    job, started = package.job, time.monotonic()
    while process.poll() is None:
        if time.monotonic() - started > job.timeout_s:
            return f"hung: it had not ended after {job.timeout_s:g} s (timeout_s)"
        if (used := memory_mb(process.pid)) > job.memory_mb:
            return f"leaked: it took {used:.0f} MB, and its limit is {job.memory_mb:g} MB (memory_mb)"
        if log.stat().st_size > MAX_LOG_BYTES:
            return f"printed more than {MAX_LOG_BYTES >> 20} MB"
        if stopped():
            return "was stopped"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(LOOK_S)
    return ""


def memory_mb(group: int) -> float:
    """Resident memory of all processes of a group, by /proc."""
    total = 0.0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text(errors="replace").rpartition(") ")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group:
            total += int(fields[21]) * _PAGE_MB
    return total


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """Ends the rest of the group, including children that outlived their parent."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _outcome(directory: Path, log: Path, fault: str, code: int) -> Outcome:
    said = log.read_bytes()[-MAX_LOG_BYTES:]
    result = read_result(directory)
    if fault or result is None:
        return Outcome(Result(error=fault or f"died: its process ended with {_word(code)}"), log=said)
    if result.error:
        return Outcome(result, log=said)
    blobs = directory / "run" / BLOBS
    kept = {each.name: each.read_bytes() for each in blobs.iterdir()} if blobs.is_dir() else {}
    return Outcome(result, (directory / VALUE).read_bytes(), said, kept)


def _word(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
