"""Settings of glibc's heap for a process that loads and drops models, receives chunks and answers requests.

Decides how much freed memory is kept for the next use. Refuses to know which code allocates. Does not change other C
libraries.
"""

import ctypes

_M_MXFAST, _M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = 1, -1, -3, -8
_SETTINGS = {_M_MXFAST: 0, _M_ARENA_MAX: 2, _M_MMAP_THRESHOLD: 1024 * 1024, _M_TRIM_THRESHOLD: 1536 * 1024}
"""Few heaps for many threads. Blocks above the first threshold return to the kernel at once, and so does free
memory above the second. Memory that is used repeatedly stays (a chunk of 256 KiB is copied three times), because it
takes 3 us to get a page again. By default, glibc raises both thresholds with the largest block that was ever freed.
It also keeps the small blocks of a freed forest and merges them all at once: this blocks all other threads for 22
ms."""

_libc = ctypes.CDLL(None)


def tune() -> None:
    """Applies the settings; called once in a process, before it has threads."""
    if hasattr(_libc, "mallopt"):
        for option, value in _SETTINGS.items():
            _libc.mallopt(option, value)


def trim() -> None:
    """Returns freed memory to the kernel. Without this call, a replaced forest stays in resident memory."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)
