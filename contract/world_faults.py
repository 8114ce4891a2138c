"""The refusals of an operating system, as a coded error in words.

Decides the code and what to do about it. Refuses to know which operation failed: the error's own file name says where.
"""

import errno

from contract.errors import Code, WorldError

_WORDS = {
    errno.ENOSPC: (Code.DISK_FULL, "the disk is full: free space, then try again"),
    errno.EDQUOT: (Code.DISK_FULL, "the quota of this user is used up: free space, then try again"),
    errno.EACCES: (Code.DISK_FAILED, "this user may not do that: change its owner or mode, or name another place"),
    errno.EPERM: (Code.DISK_FAILED, "this user may not do that: change its owner or mode, or name another place"),
    errno.EROFS: (Code.DISK_FAILED, "it is on a read-only file system: name another place"),
    errno.EADDRINUSE: (Code.PORT_TAKEN, "another program listens there: stop it, or name another port"),
    errno.EADDRNOTAVAIL: (Code.PORT_TAKEN, "this machine has no such address: name one that it has, or 0.0.0.0"),
}


def world_error(error: OSError) -> WorldError:
    """Returns the coded error of an OSError, with its file: `disk_full`, `port_taken`, or else `disk_failed`."""
    code, advice = _WORDS.get(error.errno or 0, (Code.DISK_FAILED, ""))
    where = f"{error.filename}: " if error.filename else ""
    said = error.strerror or str(error) or type(error).__name__
    return WorldError(code, f"{where}{said}{f'; {advice}' if advice else ''}")
