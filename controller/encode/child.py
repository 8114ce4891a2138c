"""The encoding child: ``python -I -m controller.encode.child TARGET BASE OUT`` with files; BASE ``-`` means no base.

It is a separate process, because it takes seconds of a core and ten times the artifact's memory.
"""

import sys
from pathlib import Path

from controller.encode.encode import encode_artifact


def main() -> None:
    """Encodes one file."""
    target, base, out = sys.argv[1:]
    before = b"" if base == "-" else Path(base).read_bytes()
    Path(out).write_bytes(encode_artifact(Path(target).read_bytes(), before))


if __name__ == "__main__":
    main()
