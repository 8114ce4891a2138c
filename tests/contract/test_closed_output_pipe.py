"""A program ends without a message when the reader of its output has closed the pipe."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from contract.reader_gone import until_reader_goes
def run():
    sys.stdin.read()
    for line in range({lines}):
        print("x" * 60)
    return 3
sys.exit(until_reader_goes(run))
"""


@pytest.mark.parametrize("lines", [1, 10_000], ids=["at the end", "while it writes"])
def test_a_closed_output_pipe_ends_a_program_with_its_own_exit_code_and_no_message(lines: int) -> None:
    program = [sys.executable, "-c", PROGRAM.format(lines=lines)]
    child = subprocess.Popen(
        program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path(__file__).parents[2]
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    child.stdin.close()
    assert (child.stderr.read(), child.wait()) == (b"", 141)
    child.stderr.close()


def test_a_program_whose_output_is_read_keeps_its_exit_code() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(lines=2)], input=b"", capture_output=True, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert (done.returncode, done.stdout.count(b"\n")) == (3, 2)
