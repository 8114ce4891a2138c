"""Confinement of the calling process: limits, then no access to files, network or other processes.

Decides the order: limits, no_new_privs, landlock, seccomp. Uses ctypes, which takes half a millisecond and installs
nothing. It reports in words what the kernel lacks; the caller decides whether the rest is enough.
"""

import ctypes
from collections.abc import Iterable
from pathlib import Path

from confinement.bounds import Bounds, apply_bounds
from confinement.landlock import landlock_version, restrict_files
from confinement.seccomp import install_filter, seccomp_missing

FULL = "landlock+seccomp"
_PR_SET_NO_NEW_PRIVS = 38


def confine(bounds: Bounds, readable: Iterable[Path], writable: Iterable[Path] = ()) -> str:
    """Confines this process permanently. Returns FULL, or in words what is missing.

    Slow imports belong before this call.
    """
    apply_bounds(bounds)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return "reduced: no_new_privs refused"
    writable = tuple(writable)
    parts = (restrict_files(libc, readable, writable), install_filter(libc, writes=bool(writable)))
    return _in_words(parts)


def confinable() -> str:
    """Returns how far a child can be confined on this machine: FULL, or in words what is missing. Confines nothing."""
    no_landlock = "no landlock" if landlock_version(ctypes.CDLL(None)) < 1 else ""
    return _in_words((no_landlock, seccomp_missing()))


def _in_words(missing: Iterable[str]) -> str:
    said = [words for words in missing if words]
    return f"reduced: {', '.join(said)}" if said else FULL
