"""The messages between the warm starter and the controller: orders with a directory, and reports of the end of a child.

Each order is one packet with three descriptors: the child's two output streams, and the socket that reports its end.
"""

import struct

EXIT_CODE = struct.Struct("i")
"""The end of a child: its exit code, or minus the number of the signal that ended it."""
MAX_PATH_BYTES = 4096
"""Linux's own limit for a path."""
THREADED = 3
"""Exit code of a starter that may not fork: a library has started threads, and a fork would copy their locks."""
