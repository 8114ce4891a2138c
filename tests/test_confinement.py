"""The filter of system calls, run as the kernel runs it, for both machines; its table is compared with the headers."""

import re
import struct
from errno import ENOSYS, EPERM
from pathlib import Path

import pytest

from confinement.calls import CONDITIONS, MACHINES, PRETENDED, READING, SHARED_FROM, WRITING, numbers_of
from confinement.seccomp import ALLOW, ERRNO, KILL, filter_program
from confinement.surroundings import clean_environment, library_paths

ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
HEADERS = {
    "x86_64": (Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm/unistd_64.h")),
    "aarch64": (Path("/usr/include/asm-generic/unistd.h"), Path("/usr/aarch64-linux-gnu/include/asm-generic/unistd.h")),
}
DENIED = (
    "socket", "connect", "bind", "execve", "execveat", "kill", "tkill", "tgkill", "ptrace", "process_vm_readv",
    "process_vm_writev", "mount", "umount2", "unshare", "setns", "bpf", "perf_event_open", "userfaultfd", "keyctl",
    "add_key", "chdir", "fchmod", "fchmodat", "fchown", "fchownat", "setpriority", "shmget", "shmat", "shmctl",
    "semget", "msgget", "sched_setaffinity", "sched_setscheduler", "ioprio_set", "setrlimit", "memfd_create",
    "renameat2", "symlinkat", "linkat", "mknodat", "utimensat", "setxattr", "truncate", "fallocate", "init_module",
    "kexec_load", "reboot", "settimeofday", "acct", "personality", "quotactl", "swapon", "syslog", "pivot_root",
    "chroot", "setuid", "setresuid", "capset", "prlimit", "rt_sigqueueinfo", "vmsplice", "process_madvise",
    "io_setup", "inotify_init1", "fanotify_init", "name_to_handle_at", "open_by_handle_at", "timer_create", "mlock",
)  # fmt: skip
NEWER = (
    "clone3", "io_uring_setup", "io_uring_enter", "pidfd_open", "pidfd_getfd", "pidfd_send_signal", "openat2",
    "open_tree", "move_mount",
)  # fmt: skip


def headers_of(machine: str) -> dict[str, int]:
    path = next((path for path in HEADERS[machine] if path.exists()), None)
    if path is None:
        pytest.skip(f"no kernel headers for {machine}: apt-get install linux-libc-dev")
    found = re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", path.read_text())
    numbers = {name: int(number) for name, number in found}
    if "fstatat" in numbers:  # the generic header's word for it
        numbers["newfstatat"] = numbers.pop("fstatat")
    return numbers


def answer(machine: str, number: int, arguments: tuple[int, ...] = (), *, writes: bool = True, arch: int = 0) -> int:
    """Returns the filter's result: classic BPF over the kernel's seccomp_data, with the few used instructions."""
    given = [argument & (1 << 64) - 1 for argument in (*arguments, *[0] * 6)][:6]
    data = struct.pack("<IIQ6Q", number, arch or ARCH[machine], 0, *given)
    program = filter_program(machine, writes=writes)
    accumulator = at = 0
    while True:
        operation, when_true, when_false, operand = program[at]
        if operation == 0x06:
            return operand
        if operation == 0x20:
            accumulator = struct.unpack_from("<I", data, operand)[0]
            at += 1
            continue
        held = {0x15: accumulator == operand, 0x35: accumulator >= operand, 0x45: bool(accumulator & operand)}
        at += 1 + (when_true if held[operation] else when_false)


@pytest.mark.parametrize("machine", MACHINES)
def test_the_table_has_the_numbers_of_the_kernel(machine: str) -> None:
    known = headers_of(machine)
    ours = numbers_of({**READING, **WRITING, **PRETENDED}, machine)
    assert {name: known.get(name) for name in ours} == ours
    missing = ({*READING, *WRITING, *PRETENDED} - {*ours}) & {*known}
    assert not missing, f"{machine} has these calls after all"


@pytest.mark.parametrize("machine", MACHINES)
def test_every_unlisted_system_call_is_refused(machine: str) -> None:
    known = headers_of(machine)
    named = {**READING, **WRITING, **PRETENDED}
    for name, number in known.items():
        if name in named:
            continue
        expected = ERRNO | (ENOSYS if number >= SHARED_FROM else EPERM)
        assert answer(machine, number) == expected, name
    assert {name for name in DENIED if name in known} & set(named) == set()
    assert len([name for name in DENIED if name in known]) > 50
    assert all(answer(machine, known[name]) == ERRNO | ENOSYS for name in NEWER if name in known)


@pytest.mark.parametrize("machine", MACHINES)
def test_listed_calls_are_allowed_within_their_conditions(machine: str) -> None:
    for name, number in numbers_of(READING, machine).items():
        if name not in CONDITIONS:
            assert answer(machine, number) == answer(machine, number, writes=False) == ALLOW, name
    for number in numbers_of(WRITING, machine).values():
        assert (answer(machine, number), answer(machine, number, writes=False)) == (ALLOW, ERRNO | EPERM)
    for number in numbers_of(PRETENDED, machine).values():
        assert (answer(machine, number), answer(machine, number, writes=False)) == (ERRNO, ERRNO | EPERM)


CASES = [
    ("clone", (0x3D0F00,), True),  # a thread, as glibc makes one
    ("clone", (0x1200011,), False),  # a process, as fork does
    ("openat", (0, 0, 0o2000000), True),
    ("openat", (0, 0, 0o20200000 | 2), False),  # O_TMPFILE
    ("ioctl", (1, 0x5401), True),
    ("ioctl", (1, 0x5412), False),  # typing into a terminal
    ("ioctl", (1, 0x5401 | 1 << 40), True),  # the kernel looks at 32 bits as well
    *(("fcntl", (1, command), True) for command in (0, 1, 2, 3, 4, 5, 6, 7, 1030)),
    *(("fcntl", (1, command), False) for command in (8, 10, 1024, 1031, 1033)),
    ("prctl", (15,), True),
    ("prctl", (22,), False),
    ("prctl", (4,), False),
    ("prlimit64", (0, 7, 0, 1), True),
    ("prlimit64", (0, 7, 1), False),
    ("prlimit64", (1234, 7, 0, 1), False),
    ("prlimit64", (0, 7, 0x7FFF00000000), False),  # the low half of a pointer may be zero
]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize(("name", "arguments", "allowed"), CASES)
def test_arguments_of_calls_are_checked(machine: str, name: str, arguments: tuple[int, ...], allowed: bool) -> None:
    number = numbers_of(READING, machine)[name]
    assert answer(machine, number, arguments) == (ALLOW if allowed else ERRNO | EPERM)


def test_calls_of_another_architecture_end_the_process() -> None:
    for machine in MACHINES:
        assert answer(machine, 0, arch=0x40000003) == KILL  # 32-bit x86: other numbers
    assert answer("x86_64", 0x40000000 | 59) == KILL  # x32


def test_a_child_inherits_no_secrets(tmp_path: Path) -> None:
    given = {"EDGEWARD_TOKEN": "t", "AWS_SECRET_ACCESS_KEY": "s", "OMP_NUM_THREADS": "2", "LANG": "C.UTF-8"}
    assert clean_environment(tmp_path, given) == {
        "OMP_NUM_THREADS": "2",
        "LANG": "C.UTF-8",
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "ORT_DISABLE_TELEMETRY": "1",
    }


def test_a_working_tree_is_not_used_as_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editable install puts the tree on the path, and a data directory may lie in it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    paths = library_paths("contract")
    assert tmp_path not in paths
    assert not any(path == Path(__file__).parents[1] for path in paths)
    assert any(path.name == "contract" for path in paths)
