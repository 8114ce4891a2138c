"""The numbers of the calls on aarch64, asked of qemu's emulation of that machine, which was written by others.

A program of a few instructions makes every call of the table by its number, and qemu says by which names it knows them.
The filter itself cannot run there: qemu refuses PR_SET_SECCOMP. What its instructions decide is held for both machines
by test_confinement, on a model of the kernel's interpreter.
"""

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from confinement.calls import PRETENDED, READING, WRITING, numbers_of

QEMU = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
pytestmark = pytest.mark.skipif(QEMU is None, reason="no qemu-aarch64 here: apt-get install qemu-user-static")
NUMBERS = numbers_of({**READING, **WRITING, **PRETENDED}, "aarch64")
LAST = ("exit", "exit_group", "rt_sigreturn", "clone")
"""Calls that do not return, or not once: each has its own program."""
UNKNOWN_TO_OLD_QEMU = frozenset({"rseq"})
"""qemu 7.2 answers `Unknown syscall 293`: newer ones know it by this number."""
_BASE, _HEAD = 0x400000, 64 + 56
_CALL = struct.pack("<I", 0xD4000001)  # svc #0


def _program(numbers: list[int]) -> bytes:
    """A static ELF file that makes these calls with -1 for every argument, then exits."""
    refused = b"".join(struct.pack("<I", 0x92800000 | register) for register in range(6))  # mov x<n>, #-1
    code = b"".join(refused + _number(number) + _CALL for number in numbers)
    code += struct.pack("<I", 0xD2800000) + _number(93) + _CALL  # exit(0)
    size = _HEAD + len(code)
    head = struct.pack("<HHIQQQIHHHHHH", 2, 183, 1, _BASE + _HEAD, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    return b"\x7fELF\x02\x01\x01" + bytes(9) + head + segment + code


def _number(number: int) -> bytes:
    return struct.pack("<I", 0xD2800000 | number << 5 | 8)  # mov x8, #number


def _called(directory: Path, numbers: list[int]) -> list[str]:
    """The names by which qemu knows these calls, in order."""
    assert QEMU is not None
    program = directory / "program"
    program.write_bytes(_program(numbers))
    program.chmod(0o755)
    done = subprocess.run([QEMU, "-strace", str(program)], capture_output=True, text=True, timeout=30)
    return re.findall(r"^\d+ (\w+)(?:\(| syscall)", done.stderr, re.MULTILINE)


def test_every_number_of_the_table_belongs_to_its_named_call(tmp_path: Path) -> None:
    returning = [name for name in NUMBERS if name not in LAST]
    found = _called(tmp_path, [NUMBERS[name] for name in returning])
    assert found[-1] == "exit"
    for name, called in zip(returning, found[:-1], strict=True):
        assert called == name or (called == "Unknown" and name in UNKNOWN_TO_OLD_QEMU), name


@pytest.mark.parametrize("name", LAST)
def test_calls_that_do_not_return_have_the_right_numbers(tmp_path: Path, name: str) -> None:
    assert _called(tmp_path, [NUMBERS[name]])[0] == name
