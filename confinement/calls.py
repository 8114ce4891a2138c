"""The system calls that a confined child may make, with conditions on their arguments, for two machines.

Decides by name; every other call is refused. The list was found by running the probe, the worker and the conversion
child under strace. Numbers: the kernel's syscall_64.tbl and asm-generic/unistd.h; a test compares them with the kernel
headers where these are installed. Refuses to know how a filter is written or installed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

MACHINES = ("x86_64", "aarch64")

SHARED_FROM = 424
"""Calls from this number on have one number on every machine. They are so new that libraries also work without them."""

Numbers = tuple[int | None, int | None]
"""The number of a call (on x86_64, on aarch64); None: the machine has no such call."""

READING: Mapping[str, Numbers] = {
    "read": (0, 63), "write": (1, 64), "futex": (202, 98), "madvise": (28, 233), "mmap": (9, 222), "munmap": (11, 215),
    "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67), "pwrite64": (18, 68), "close": (3, 57),
    "lseek": (8, 62), "fstat": (5, 80), "newfstatat": (262, 79), "stat": (4, None), "lstat": (6, None),
    "statx": (332, 291), "openat": (257, 56), "access": (21, None), "faccessat": (269, 48), "faccessat2": (439, 439),
    "readlink": (89, None), "readlinkat": (267, 78), "getcwd": (79, 17), "getdents64": (217, 61), "dup": (32, 23),
    "dup2": (33, None), "dup3": (292, 24), "fcntl": (72, 25), "ioctl": (16, 29), "fadvise64": (221, 223),
    "mprotect": (10, 226), "mremap": (25, 216), "brk": (12, 214), "set_robust_list": (273, 99), "rseq": (334, 293),
    "set_tid_address": (218, 96), "clone": (56, 220), "exit": (60, 93), "exit_group": (231, 94),
    "restart_syscall": (219, 128), "membarrier": (324, 283), "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139), "sigaltstack": (131, 132), "sched_yield": (24, 124), "sched_getaffinity": (204, 123),
    "getcpu": (309, 168), "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101), "gettimeofday": (96, 169), "time": (201, None), "getpid": (39, 172), "gettid": (186, 178),
    "getppid": (110, 173), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177),
    "uname": (63, 160), "sysinfo": (99, 179), "getrusage": (98, 165), "times": (100, 153), "getrandom": (318, 278),
    "prlimit64": (302, 261), "getrlimit": (97, 163), "prctl": (157, 167), "poll": (7, None), "ppoll": (271, 73),
    "select": (23, None), "pselect6": (270, 72),
}  # fmt: skip
"""The calls of a child that reads, computes, and answers on descriptors that it was given."""

WRITING: Mapping[str, Numbers] = {
    "mkdir": (83, None), "mkdirat": (258, 34), "ftruncate": (77, 46), "fsync": (74, 82), "fdatasync": (75, 83),
}  # fmt: skip
"""Further calls of a child with its own directory."""

PRETENDED: Mapping[str, Numbers] = {"unlink": (87, None), "unlinkat": (263, 35), "rmdir": (84, None)}
"""Calls that succeed without any effect, for a child with its own directory: the parent must be able to count all
that the child has written. Libraries delete their temporary files; the parent deletes the whole directory at the
end."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What the argument number `argument` must be. Arguments are 64 bits wide.

    `be zero` checks all bits; the other conditions check the low 32 bits.
    """

    argument: int
    must: Literal["be one of", "have", "lack", "be zero"]
    values: tuple[int, ...] = ()


_CLONE_THREAD = 0x00010000
_O_TMPFILE = 0x00400000
_TCGETS, _FIOCLEX = 0x5401, 0x5451
_F_DUPFD_TO_SETLKW, _F_DUPFD_CLOEXEC = tuple(range(8)), 1030
# F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_SETLKW; later commands send signals
_PR_SET_NAME, _PR_GET_NAME = 15, 16

CONDITIONS: Mapping[str, tuple[Condition, ...]] = {
    "clone": (Condition(0, "have", (_CLONE_THREAD,)),),
    "openat": (Condition(2, "lack", (_O_TMPFILE,)),),
    "ioctl": (Condition(1, "be one of", (_TCGETS, _FIOCLEX)),),
    "fcntl": (Condition(1, "be one of", (*_F_DUPFD_TO_SETLKW, _F_DUPFD_CLOEXEC)),),
    "prctl": (Condition(0, "be one of", (_PR_SET_NAME, _PR_GET_NAME)),),
    "prlimit64": (Condition(0, "be one of", (0,)), Condition(2, "be zero")),
}
"""`clone` makes threads, never processes. `openat` makes no file without a name. `fcntl` sends no signals, and `ioctl`
types nothing into a terminal. `prlimit64` reads the process's own limits and sets none: root could raise them."""


def numbers_of(calls: Mapping[str, Numbers], machine: str) -> dict[str, int]:
    """Returns the numbers of the calls that `machine` has, by name. ValueError for a machine without a table."""
    column = MACHINES.index(machine)
    return {name: number for name, numbers in calls.items() if (number := numbers[column]) is not None}
