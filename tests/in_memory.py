"""Decides where tests write: in memory if there is room, because a disk is slower and tests nothing more.

SQLite and every durable file wait for the disk: a commit took 37 ms on a virtual disk and 0.1 ms in memory. What a
power cut leaves is the matter of the simulated flash. A directory that a person has named by TMPDIR stays in use.
"""

import os
import shutil
import tempfile
from pathlib import Path

PLACE = Path("/dev/shm")
NEEDED_BYTES = 4 * 2**30
"""Free bytes without which tests stay on the disk: a whole run holds 2 GB at its end, a container may have 64 MB."""
_NAME = "ew-"
"""Short: the path of a Unix socket holds 107 bytes, and names of tests stand in it."""


def go_there() -> Path | None:
    """Makes a directory in memory and has temporary files written there; None if they stay on the disk."""
    if "TMPDIR" in os.environ or not _fits():
        return None
    for left in PLACE.glob(f"{_NAME}*"):
        if not Path("/proc", left.name.removeprefix(_NAME)).exists():
            shutil.rmtree(left, ignore_errors=True)
    made = PLACE / f"{_NAME}{os.getpid()}"
    made.mkdir(mode=0o700)
    os.environ["TMPDIR"] = str(made)  # workers and all programs that tests start inherit it
    tempfile.tempdir = None
    return made


def _fits() -> bool:
    try:
        return shutil.disk_usage(PLACE).free >= NEEDED_BYTES and os.access(PLACE, os.W_OK) and _programs_run()
    except OSError:
        return False


def _programs_run() -> bool:
    """Whether programs may be started there: tests make environments of Python."""
    return not os.statvfs(PLACE).f_flag & os.ST_NOEXEC
