"""What the warm starter and the controller say to each other: a directory one way, the end of a child the other way.

Each order is one packet with three descriptors: the child's two output streams, and the socket that says its end.
"""

import struct

EXIT_CODE = struct.Struct("i")
"""The end of a child: its exit code, or below zero the signal that ended it."""
MAX_PATH_BYTES = 4096
"""Linux's own limit of a path."""
THREADED = 3
"""Exit code of a starter that may not fork: a library has begun threads, and a fork would copy their locks."""
