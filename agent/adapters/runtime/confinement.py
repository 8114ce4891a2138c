"""Confinement of a child that loads a model: limits, then no access to files, network or other processes.

Order: rlimits, no_new_privs, landlock (read only, and only what is named), seccomp (a deny list). Linux, by ctypes:
half a millisecond and nothing to install. Returns in words what a kernel lacks; policy decides whether that is enough.
"""

import ctypes
import os
import resource
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from contract.manifest import Limits

FULL = "landlock+seccomp"
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 22, 38
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ_FILE, _READ_DIRECTORY = 4, 8
_EPERM, _ENOSYS, _KILL, _ALLOW = 0x00050001, 0x00050026, 0x80000000, 0x7FFF0000
_X32_BIT, _CLONE_THREAD, _CLONE3 = 0x40000000, 0x00010000, 435
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CLONE = {"x86_64": 56, "aarch64": 220}
# (x86_64, aarch64), from syscall_64.tbl and asm-generic/unistd.h; aarch64 is untested
_DENIED = {
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "accept": (43, 202), "sendto": (44, 206),
    "bind": (49, 200), "listen": (50, 201), "execve": (59, 221), "execveat": (322, 281), "fork": (57, None),
    "vfork": (58, None), "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "pidfd_open": (434, 434),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "mount": (165, 40),
    "umount2": (166, 39), "unshare": (272, 97), "setns": (308, 268), "init_module": (175, 105),
    "finit_module": (313, 273), "kexec_load": (246, 104), "keyctl": (250, 219), "add_key": (248, 217),
    "request_key": (249, 218), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
}  # fmt: skip


def confine(limits: Limits, readable: Iterable[Path], *, for_life: bool = False) -> str:
    """Confines this process until it ends; returns FULL, or what is missing. `for_life`: no limit of CPU seconds."""
    _set_limits(limits, for_life=for_life)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return "reduced: no_new_privs refused"
    missing = [words for words in (_landlock(libc, readable), _seccomp(libc)) if words]
    return f"reduced: {', '.join(missing)}" if missing else FULL


def confinable() -> str:
    """Returns how far a child can be confined here, without confining anything: FULL, or what is missing."""
    missing = []
    if ctypes.CDLL(None).syscall(_LANDLOCK_CREATE, None, 0, 1) < 1:
        missing.append("no landlock")
    if os.uname().machine not in _ARCH or not Path("/proc/sys/kernel/seccomp/actions_avail").exists():
        missing.append("no seccomp")
    return f"reduced: {', '.join(missing)}" if missing else FULL


def runtime_paths() -> list[Path]:
    """Returns what Python and onnxruntime read; `sys.path` also names packages outside the environment."""
    named = (sys.prefix, sys.base_prefix, "/usr/lib", "/lib", "/lib64", "/proc/self", "/sys/devices/system/cpu")
    return [Path(name) for name in (*named, *sys.path) if name]


def _set_limits(limits: Limits, *, for_life: bool) -> None:
    """Limits memory and CPU; memory that is mapped already is not the model's."""
    mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    allowed = mapped + limits.memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    if not for_life:
        resource.setrlimit(resource.RLIMIT_CPU, (limits.load_s, limits.load_s + 1))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _landlock(libc: ctypes.CDLL, readable: Iterable[Path]) -> str:
    abi = libc.syscall(_LANDLOCK_CREATE, None, 0, 1)
    if abi < 1:
        return "no landlock"
    rights = (1 << 13) - 1
    for since, bit in ((2, 13), (3, 14), (5, 15)):
        rights |= (1 << bit) if abi >= since else 0
    network, scope = (3 if abi >= 4 else 0), (3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = libc.syscall(_LANDLOCK_CREATE, struct.pack("QQQ", rights, network, scope), size, 0)
    if ruleset < 0:
        return f"landlock refused ({os.strerror(ctypes.get_errno())})"
    for path in readable:
        if path.exists():
            _allow_reading(libc, ruleset, path)
    done = libc.syscall(_LANDLOCK_RESTRICT, ruleset, 0) == 0
    os.close(ruleset)
    return "" if done else f"landlock refused ({os.strerror(ctypes.get_errno())})"


def _allow_reading(libc: ctypes.CDLL, ruleset: int, path: Path) -> None:
    opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rights = _READ_FILE | (_READ_DIRECTORY if path.is_dir() else 0)
    libc.syscall(_LANDLOCK_ADD, ruleset, 1, struct.pack("=Qi", rights, opened), 0)
    os.close(opened)


def _seccomp(libc: ctypes.CDLL) -> str:
    machine = os.uname().machine
    if machine not in _ARCH:
        return f"no seccomp table for {machine}"
    program = _filter(machine)
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in program))
    filters = struct.pack("HxxxxxxQ", len(program), ctypes.addressof(code))
    done = libc.prctl(_PR_SET_SECCOMP, 2, ctypes.c_char_p(filters), 0, 0) == 0
    return "" if done else f"seccomp refused ({os.strerror(ctypes.get_errno())})"


def _filter(machine: str) -> list[tuple[int, int, int, int]]:
    """Returns a classic BPF program: checks the architecture, then each call; allows threads, refuses processes."""
    load_arch, load_number, load_flags = (0x20, 0, 0, 4), (0x20, 0, 0, 0), (0x20, 0, 0, 16)
    program = [load_arch, (0x15, 1, 0, _ARCH[machine]), (0x06, 0, 0, _KILL), load_number]
    if machine == "x86_64":
        program += [(0x35, 0, 1, _X32_BIT), (0x06, 0, 0, _KILL)]
    for numbers in _DENIED.values():
        number = numbers[0] if machine == "x86_64" else numbers[1]
        if number is not None:
            program += [(0x15, 0, 1, number), (0x06, 0, 0, _EPERM)]
    program += [(0x15, 0, 1, _CLONE3), (0x06, 0, 0, _ENOSYS)]
    program += [(0x15, 0, 3, _CLONE[machine]), load_flags, (0x45, 1, 0, _CLONE_THREAD), (0x06, 0, 0, _EPERM)]
    return [*program, (0x06, 0, 0, _ALLOW)]
