"""`python -m benchmarks.fuzz_guided -max_total_time=60 ...`: the same readers under atheris, which follows coverage.

Needs `pip install atheris`, which nothing else here does. Arguments are libFuzzer's.
"""

import sys

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports():
    from benchmarks.fuzz import targets
    from contract.errors import EdgewardError

TARGETS = targets()


def one(data: bytes) -> None:
    """The first byte picks the reader."""
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
