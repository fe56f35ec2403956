"""Memory limits of this process, checked so that a page that would exceed them is refused; and releasing freed memory."""

from __future__ import annotations

import ctypes
import logging
import re
import sys
import time
from contextlib import suppress
from pathlib import Path

from ocr_onnx.errors import NotEnoughMemoryError
from ocr_onnx.runtime.cgroups import GROUPS, PROCESS, groups_of, read

logger: logging.Logger = logging.getLogger(__name__)

MEGABYTE = 2**20

CHECK_THRESHOLD = 2**27
"""In bytes. Smaller amounts are not checked, because a check takes nearly a millisecond."""

UNLIMITED = 2**60
"""A cgroup v1 without a limit reports a number near 2**63, in bytes."""

TRIM_INTERVAL = 10.0
"""In seconds. Trimming takes 1 to 3 ms, and the next page a few more, because the system provides the memory again."""

_next_trim = [0.0]
"""By `time.monotonic`."""

FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}
"""By the version of a cgroup: the files of limit and usage, and the key of the file cache in memory.stat."""


def require(needed: int, what: str, cure: str) -> None:
    """Raise NotEnoughMemoryError if `needed` bytes exceed this process's limit; warn if the machine has less available.

    Amounts below CHECK_THRESHOLD are not checked. `what` and `cure` are parts of the message.
    """
    if needed < CHECK_THRESHOLD:
        return
    allowed = remaining()
    if allowed is not None and needed > allowed:
        raise NotEnoughMemoryError(
            f"{what} would take about {needed // MEGABYTE} MB, but this process may take only {allowed // MEGABYTE} MB more: {cure}"
        )
    free = available()
    if free is not None and needed > free:
        logger.warning(
            "%s will take about %d MB, but the machine has only %d MB available: %s",
            what,
            needed // MEGABYTE,
            free // MEGABYTE,
            cure,
        )


def remaining(proc: Path = PROCESS, groups: Path = GROUPS) -> int | None:
    """Return the bytes that this process may still allocate (limit of address space or cgroup); None: no limit."""
    known = [limit for limit in (_address_space_left(proc), _cgroup_left(proc, groups)) if limit is not None]
    return max(min(known), 0) if known else None


def available(file: Path = Path("/proc/meminfo")) -> int | None:
    """Return the bytes that the machine can provide without swapping; None if unknown."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", read(file))
    return int(found[1]) * 1024 if found else None


def trim_heap() -> None:
    """Release freed memory from the C library's heap to the system (glibc only)."""
    _next_trim[0] = time.monotonic() + TRIM_INTERVAL
    if sys.platform == "linux":
        with suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def trim_heap_at_intervals() -> None:
    """Trim the heap if that was not done within the last TRIM_INTERVAL.

    The C library keeps what threads have freed, in a heap of its own for every few threads, each up to its peak.
    """
    if time.monotonic() >= _next_trim[0]:
        trim_heap()


def _address_space_left(proc: Path) -> int | None:
    """Return the bytes that `ulimit -v` leaves; None: no limit."""
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = read(proc / "statm").split()
    return None if limit == resource.RLIM_INFINITY or not pages else limit - int(pages[0]) * resource.getpagesize()


def _cgroup_left(proc: Path, groups: Path) -> int | None:
    """Return the bytes that the limits of the cgroups leave; the kernel's file cache does not count. None: no limit."""
    left = []
    for group in groups_of("memory", proc, groups):
        limit, usage, file_key = FILES[group.version]
        allowed = read(group.folder / limit).strip()
        if allowed.isdecimal() and int(allowed) < UNLIMITED:
            kept = re.search(rf"^{file_key} (\d+)$", read(group.folder / "memory.stat"), re.MULTILINE)
            left.append(int(allowed) - int(read(group.folder / usage) or 0) + int(kept[1] if kept else 0))
    return min(left, default=None)
