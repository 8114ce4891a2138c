"""What a confined child may use up: memory, processor time, open files, the size of a file.

Decides that no core is dumped. Refuses to know how much is right for a model.
"""

import resource
from dataclasses import dataclass
from pathlib import Path

OPEN_FILES = 64


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits for one child."""

    memory_mb: int
    """Address space beyond what is mapped already, which is not the model's."""
    cpu_s: int | None
    """Processor time of all threads; None: for a child that lives on."""
    file_mb: int = 0
    """The largest file that it may write; 0: none."""


def apply_bounds(bounds: Bounds) -> None:
    """Set the limits of this process; soft and hard ones alike."""
    mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    allowed = mapped + bounds.memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    if bounds.cpu_s is not None:
        resource.setrlimit(resource.RLIMIT_CPU, (bounds.cpu_s, bounds.cpu_s + 1))
    resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, OPEN_FILES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (bounds.file_mb * 2**20,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
