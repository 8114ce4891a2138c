"""The resource limits of a confined child: memory, processor time, open files, the size of a file.

Decides that no core is dumped. Refuses to know which limits a model needs.
"""

import resource
from dataclasses import dataclass
from pathlib import Path

OPEN_FILES = 64


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits for one child."""

    memory_mb: int
    """Address space in MiB beyond the space that is mapped already, which the model does not use."""
    cpu_s: int | None
    """Processor time of all threads in seconds; None: no limit, for a child that serves."""
    file_mb: int = 0
    """The largest file in MiB that it may write; 0: it may write none."""


def apply_bounds(bounds: Bounds) -> None:
    """Sets the soft and hard limits of this process."""
    mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    allowed = mapped + bounds.memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    if bounds.cpu_s is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (bounds.cpu_s, bounds.cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (bounds.file_mb * 2**20,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
