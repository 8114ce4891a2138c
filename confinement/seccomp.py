"""The filter that the kernel runs at each system call of a confined child. It is classic BPF and is installed
permanently.

Decides the order and the results: an allowed call runs, a pretended call returns 0, a call that is newer than the table
fails with ENOSYS as on an older kernel, and every other call fails with EPERM. Refuses to know which calls these are.
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from errno import ENOSYS, EPERM
from itertools import chain
from pathlib import Path

from confinement.calls import CONDITIONS, MACHINES, PRETENDED, READING, SHARED_FROM, WRITING, Condition, numbers_of

Step = tuple[int, int, int, int]
"""One instruction: operation, instructions to skip if true, instructions to skip if false, operand."""

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_CALLS = 0x40000000
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16


def seccomp_missing() -> str:
    """Returns in words why this machine cannot filter calls; an empty text if it can."""
    if os.uname().machine not in MACHINES:
        return f"no seccomp table for {os.uname().machine}"
    return "" if Path("/proc/sys/kernel/seccomp/actions_avail").exists() else "no seccomp"


def install_filter(libc: ctypes.CDLL, *, writes: bool) -> str:
    """Installs the filter for this process. Returns in words what was refused, or an empty text. Needs no_new_privs."""
    machine = os.uname().machine
    if machine not in MACHINES:
        return f"no seccomp table for {machine}"
    program = filter_program(machine, writes=writes)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    filters = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code))
    done = libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.c_char_p(filters), 0, 0) == 0
    return "" if done else f"seccomp refused ({os.strerror(ctypes.get_errno())})"


def filter_program(machine: str, *, writes: bool) -> list[Step]:
    """Returns the instructions for `machine`. `writes`: for a child with its own directory."""
    program: list[Step] = [(_LOAD, 0, 0, _ARCH_AT), (_EQUAL, 1, 0, _AUDIT_ARCH[machine]), (_RETURN, 0, 0, KILL)]
    program.append((_LOAD, 0, 0, _NUMBER_AT))
    if machine == "x86_64":  # x32 calls: other numbers and 32-bit pointers
        program += [(_AT_LEAST, 0, 1, _X32_CALLS), (_RETURN, 0, 0, KILL)]
    for name, number in numbers_of({**READING, **(WRITING if writes else {})}, machine).items():
        program += _when(number, [*chain.from_iterable(map(_asked, CONDITIONS.get(name, ()))), (_RETURN, 0, 0, ALLOW)])
    for number in numbers_of(PRETENDED if writes else {}, machine).values():
        program += _when(number, [(_RETURN, 0, 0, ERRNO)])
    program += [(_AT_LEAST, 0, 1, SHARED_FROM), (_RETURN, 0, 0, ERRNO | ENOSYS)]
    return [*program, (_RETURN, 0, 0, ERRNO | EPERM)]


def _when(number: int, steps: list[Step]) -> list[Step]:
    return [(_EQUAL, 0, len(steps), number), *steps]


def _asked(condition: Condition) -> Iterator[Step]:
    """Yields instructions that return EPERM unless the condition holds.

    If it holds, the program continues after them.
    """
    low = _ARGUMENTS_AT + 8 * condition.argument
    refuse: Step = (_RETURN, 0, 0, ERRNO | EPERM)
    yield (_LOAD, 0, 0, low)
    match condition.must:
        case "be one of":
            for index, value in enumerate(condition.values):
                yield (_EQUAL, len(condition.values) - index, 0, value)
        case "have":
            yield (_ANY_BIT, 1, 0, condition.values[0])
        case "lack":
            yield (_ANY_BIT, 0, 1, condition.values[0])
        case "be zero":
            yield (_EQUAL, 0, 2, 0)
            yield (_LOAD, 0, 0, low + 4)
            yield (_EQUAL, 1, 0, 0)
    yield refuse
