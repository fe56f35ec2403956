"""The sandbox of the decoding processes: no access to files, network, other processes or privileges.

Landlock restricts files, and a seccomp filter restricts system calls. Both are called with ctypes: the Landlock bindings on
the package index are alpha versions with one author each, and pyseccomp needs libseccomp, which no wheel contains.
"""

from __future__ import annotations

import ctypes
import os
import platform
import stat
import struct
from collections.abc import Iterable
from functools import partial
from typing import Any

PR_SET_DUMPABLE, PR_GET_SECCOMP, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 4, 21, 22, 38
SECCOMP_MODE_FILTER = 2
CAPABILITY_VERSION_3 = 0x20080522
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_CREATE_RULESET_VERSION, LANDLOCK_RULE_PATH_BENEATH = 1, 1

READ_FILE, LIST_FOLDER = 0b0100, 0b1000
"""Landlock rights."""

FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""Number of file rights by Landlock version; 16 since version 5."""

TCP_RIGHTS, SCOPES = 0b11, 0b11
"""TCP bind and connect, since version 4; abstract sockets and signals to other processes, since version 6."""

DENIED: dict[str, tuple[int, int | None]] = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "accept": (43, 202),
    "accept4": (288, 242),
    "bind": (49, 200),
    "listen": (50, 201),
    "fork": (57, None),
    "vfork": (58, None),
    "clone3": (435, 435),
    "execve": (59, 221),
    "execveat": (322, 281),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kill": (62, 129),
    "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "unshare": (272, 97),
    "setns": (308, 268),
    "shmget": (29, 194),
    "msgget": (68, 186),
}
"""System calls that fail with ENOSYS: their numbers on x86-64 and ARM64."""

CLONE, TGKILL, PRLIMIT64 = (56, 220), (234, 131), (302, 261)
"""Allowed only for threads, for signals to this process, and for limits of this process."""

CLONE_THREAD = 0x10000

ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""The index in DENIED, and the kernel's AUDIT_ARCH constant."""

X32 = 0x40000000
"""System call numbers from here on belong to the x32 ABI."""

ENOSYS_RESULT, ALLOW = 0x00050000 | 38, 0x7FFF0000
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, FIRST_ARGUMENT = 0, 4, 16
"""Offsets in struct seccomp_data."""


def protect_this_process() -> None:
    """Deny other processes of the same user access to this process's memory and environment; disable core dumps."""
    _call("prctl", PR_SET_DUMPABLE, 0)


def enter(readable: Iterable[str]) -> list[str]:
    """Restrict this process permanently; it must have one thread. It can read only the files `readable`, and those in folders.

    It has no network, starts no programs and cannot access other processes. Returns the features that the kernel lacks.
    """
    _call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _call("capset", struct.pack("=Ii", CAPABILITY_VERSION_3, 0), bytes(24))
    absent = missing()
    for name, restrict in ((FILES, partial(_restrict_files, readable)), (CALLS, _restrict_calls)):
        try:
            if name not in absent:
                restrict()
        except OSError:
            absent.append(name)
    return absent


FILES, CALLS = "Landlock (access to files)", "seccomp filters (system calls and network)"


def missing() -> list[str]:
    """The sandbox features that this machine's kernel or container lacks."""
    found = []
    try:
        _landlock_version()
    except OSError:
        found.append(FILES)
    try:
        _call("prctl", PR_GET_SECCOMP, 0, 0, 0, 0)
    except OSError:
        found.append(CALLS)
    return found if platform.machine() in ARCHITECTURES or CALLS in found else [*found, CALLS]


def _landlock_version() -> int:
    return _call("syscall", LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_CREATE_RULESET_VERSION)


def _restrict_files(readable: Iterable[str]) -> None:
    version = _landlock_version()
    rights = 2 ** FILE_RIGHTS.get(version, 16) - 1
    attributes = struct.pack("=QQQ", rights, TCP_RIGHTS * (version >= 4), SCOPES * (version >= 6))
    rules = _call("syscall", LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in readable:
            try:
                file = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError:  # It does not exist.
                continue
            try:
                rights = READ_FILE | (LIST_FOLDER if stat.S_ISDIR(os.fstat(file).st_mode) else 0)
                rule = struct.pack("=Qi", rights, file)
                _call("syscall", LANDLOCK_ADD_RULE, rules, LANDLOCK_RULE_PATH_BENEATH, rule, 0)
            finally:
                os.close(file)
        _call("syscall", LANDLOCK_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _restrict_calls() -> None:
    column, machine = ARCHITECTURES[platform.machine()]
    program = b"".join(struct.pack("=HBBI", *step) for step in _filter(column, machine))
    buffer = ctypes.create_string_buffer(program, len(program))
    _call("prctl", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)))


def _filter(column: int, machine: int) -> list[tuple[int, int, int, int]]:
    """The BPF program: each instruction is (operation, jump if true, jump if false, operand)."""
    deny = (RETURN, 0, 0, ENOSYS_RESULT)
    steps = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, machine),
        deny,
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, X32),
        deny,
    ]
    for numbers in DENIED.values():
        if (number := numbers[column]) is not None:
            steps += [(EQUAL, 0, 1, number), deny]
    for numbers, test, operand in (
        (CLONE, ANY_BIT, CLONE_THREAD),
        (TGKILL, EQUAL, os.getpid()),
        (PRLIMIT64, EQUAL, 0),
    ):
        steps += [(EQUAL, 0, 4, numbers[column]), (LOAD, 0, 0, FIRST_ARGUMENT), (test, 0, 1, operand)]
        steps += [(RETURN, 0, 0, ALLOW), deny]
    return [*steps, (RETURN, 0, 0, ALLOW)]


def _call(name: str, *arguments: Any) -> int:
    """Call a function of the C library; raises OSError if it fails."""
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    function.restype = ctypes.c_long
    found: int = function(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
    if ctypes.c_int(found).value < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return found
