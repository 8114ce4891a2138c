"""How long `edgeward device list` takes until its first screen is shown to a person at a terminal.

Decides the commands and when a screen is full. Refuses to know the server: it gets an address.
"""

import fcntl
import os
import pty
import select
import statistics
import struct
import sys
import termios
import time
from pathlib import Path

from benchmarks.table import Row

COMMAND = str(Path(sys.executable).with_name("edgeward"))
LINES, COLUMNS = 50, 160
"""A screen; `device list` shows 50 devices on one."""
RUNS = 5
LONGEST_S = 60.0


def first_screens(url: str, token: str, devices: int) -> list[Row]:
    """Rows for a terminal and for a pipe, each the median of `RUNS`."""
    environment = {**os.environ, "EDGEWARD_URL": url, "EDGEWARD_TOKEN": token}
    rows = []
    for what, tty in (("on a terminal", True), ("into a pipe", False)):
        name = f"device list {what}, {devices:,} devices, first screen"
        waits, cpus = zip(*(_first_screen(environment, tty=tty) for _ in range(RUNS)), strict=True)
        rows.append(Row(f"{name}, median of {RUNS}", statistics.median(waits), 1.0, "s", "the goal", 1.0))
        if tty:
            rows.append(Row(f"{name}, its own processor time", statistics.median(cpus), 1.0, "s", "on a busy machine"))
    return rows


def _first_screen(environment: dict[str, str], *, tty: bool) -> tuple[float, float]:
    """(seconds from the start of the process to its 50th line, its processor time to its end).

    AssertionError if that line never comes.
    """
    reads, writes = pty.openpty() if tty else os.pipe()
    if tty:
        fcntl.ioctl(writes, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    began = time.perf_counter()
    child = os.posix_spawn(
        COMMAND, [COMMAND, "device", "list"], environment, file_actions=[(os.POSIX_SPAWN_DUP2, writes, 1)]
    )
    os.close(writes)
    try:
        lines = 0
        while lines < LINES:
            ready, _, _ = select.select([reads], [], [], LONGEST_S)
            assert ready, f"only {lines} lines in {LONGEST_S:.0f} s"
            lines += os.read(reads, 65_536).count(b"\n")
        waited = time.perf_counter() - began
    finally:
        os.close(reads)  # the command ends as it does before `head`
        _, _, used = os.wait4(child, 0)
    return waited, used.ru_utime + used.ru_stime
