"""Runs the readers of `benchmarks.fuzz` under atheris, which is guided by coverage.

`python -m benchmarks.fuzz_guided -max_total_time=60 ...` takes the arguments of libFuzzer. It needs `pip install
atheris`, which no other part of Edgeward uses.
"""

import sys

import atheris

with atheris.instrument_imports():
    from benchmarks.fuzz import targets
    from contract.errors import EdgewardError

TARGETS = targets()


def one(data: bytes) -> None:
    """Reads one input: its first byte chooses the reader, the other bytes are given to it."""
    if not data:
        return
    target = TARGETS[data[0] % len(TARGETS)]
    try:
        target.read(data[1:])
    except EdgewardError:
        return


if __name__ == "__main__":
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()
