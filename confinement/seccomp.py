"""The filter that the kernel runs at each system call of a confined child: written as classic BPF, installed for good.

Decides the order and the answers: what is allowed runs, what is pretended answers 0, what is too new for a table
answers ENOSYS as an older kernel would, everything else EPERM. Refuses to know which calls those are.
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
"""One instruction: operation, how far to jump when true, when false, operand."""

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_CALLS = 0x40000000
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16


def seccomp_missing() -> str:
    """Why this machine cannot filter calls, in words; empty if it can."""
    if os.uname().machine not in MACHINES:
        return f"no seccomp table for {os.uname().machine}"
    return "" if Path("/proc/sys/kernel/seccomp/actions_avail").exists() else "no seccomp"


def install_filter(libc: ctypes.CDLL, *, writes: bool) -> str:
    """Filter this process's calls from now on; what was refused in words, empty if nothing. Needs no_new_privs."""
    machine = os.uname().machine
    if machine not in MACHINES:
        return f"no seccomp table for {machine}"
    program = filter_program(machine, writes=writes)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    filters = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code))
    done = libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.c_char_p(filters), 0, 0) == 0
    return "" if done else f"seccomp refused ({os.strerror(ctypes.get_errno())})"


def filter_program(machine: str, *, writes: bool) -> list[Step]:
    """The instructions for `machine`; `writes`: for a child with a directory of its own."""
    program: list[Step] = [(_LOAD, 0, 0, _ARCH_AT), (_EQUAL, 1, 0, _AUDIT_ARCH[machine]), (_RETURN, 0, 0, KILL)]
    program.append((_LOAD, 0, 0, _NUMBER_AT))
    if machine == "x86_64":  # its third set of calls, with other numbers and 32-bit pointers
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
    """Instructions that answer EPERM unless the condition holds, and go on behind themselves if it does."""
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
