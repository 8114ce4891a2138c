"""The files that a confined child can open: the named paths and all below them. It has no network and sends no signals
to other processes.

Decides which rights a path gets. Refuses to know which paths. Needs Linux 5.13; newer kernels restrict more.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_READ_FILE, _READ_DIRECTORY = 1 << 2, 1 << 3
_WRITE_FILE, _REMOVE_DIRECTORY, _REMOVE_FILE, _MAKE_DIRECTORY, _MAKE_REGULAR = 1 << 1, 1 << 4, 1 << 5, 1 << 7, 1 << 8
_TRUNCATE = 1 << 14
_FIRST_RIGHTS = (1 << 13) - 1
_RIGHTS_SINCE = ((2, 1 << 13), (3, _TRUNCATE), (5, 1 << 15))
"""(version, right): rename between directories, truncate, ioctl on devices."""
_BENEATH = 1


def landlock_version(libc: ctypes.CDLL) -> int:
    """Returns the kernel's landlock version; below 1: it has no landlock."""
    return int(libc.syscall(_CREATE, None, 0, 1))


def restrict_files(libc: ctypes.CDLL, readable: Iterable[Path], writable: Iterable[Path]) -> str:
    """Restricts this process permanently. Returns in words what was refused, or an empty text. Needs no_new_privs."""
    version = landlock_version(libc)
    if version < 1:
        return "no landlock"
    handled = _FIRST_RIGHTS
    for since, right in _RIGHTS_SINCE:
        handled |= right if version >= since else 0
    network, scope = (3 if version >= 4 else 0), (3 if version >= 6 else 0)
    size_bytes = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(_CREATE, struct.pack("QQQ", handled, network, scope), size_bytes, 0)
    if ruleset < 0:
        return f"landlock refused ({os.strerror(ctypes.get_errno())})"
    reading = _READ_FILE | _READ_DIRECTORY
    changing = _WRITE_FILE | _MAKE_DIRECTORY | _MAKE_REGULAR | _REMOVE_DIRECTORY | _REMOVE_FILE | _TRUNCATE
    for paths, rights in ((readable, reading), (writable, reading | changing)):
        for path in paths:
            if path.exists():
                _permit(libc, ruleset, path, rights & handled)
    done = libc.syscall(_RESTRICT, ruleset, 0) == 0
    os.close(ruleset)
    return "" if done else f"landlock refused ({os.strerror(ctypes.get_errno())})"


def _permit(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    of_files = _READ_FILE | _WRITE_FILE | _TRUNCATE
    granted = rights if path.is_dir() else rights & of_files
    libc.syscall(_ADD, ruleset, _BENEATH, struct.pack("=Qi", granted, opened), 0)
    os.close(opened)
