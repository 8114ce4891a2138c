"""Facts from Linux about this process, for `/metrics`. Decides nothing; a figure that cannot be read is 0."""

import os
import resource
import time
from functools import cache
from pathlib import Path

from agent.serving.metrics import Process


def process_facts() -> Process:
    """Returns CPU time, memory, open files and the start of this process."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        open_fds = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names alone, twice as fast
    except OSError:
        pages = open_fds = 0
    return Process(
        cpu_s=time.process_time(),
        rss_bytes=pages * os.sysconf("SC_PAGE_SIZE"),
        open_fds=open_fds,
        max_fds=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        started_at=_started_at(),
    )


@cache
def _started_at() -> float:
    """Returns when the process started, in seconds since 1970; 0 if the kernel does not report it."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    booted = next((int(line.split()[1]) for line in lines if line.startswith("btime ")), 0)
    return booted + int(fields[19]) / os.sysconf("SC_CLK_TCK")
