"""How much memory this process may still take, so that a page that would end it is refused; and giving some back."""

from __future__ import annotations

import ctypes
import logging
import re
import sys
from contextlib import suppress
from pathlib import Path

from ocr_onnx.errors import NotEnoughMemoryError

logger = logging.getLogger(__name__)

MEGABYTE = 2**20

CHECK_THRESHOLD = 2**27
"""Bytes; below this the limits are not looked up, which takes nearly a millisecond."""

UNLIMITED = 2**60
"""A control group of the older kind writes a number near 2**63 for no limit."""


def require(needed: int, what: str, cure: str) -> None:
    """Raise NotEnoughMemoryError where `needed` bytes pass this process's limit; warn where the machine lacks them.

    Less than CHECK_THRESHOLD is always granted.
    """
    if needed < CHECK_THRESHOLD:
        return
    allowed = remaining()
    if allowed is not None and needed > allowed:
        raise NotEnoughMemoryError(
            f"{what} would take about {needed // MEGABYTE} MB, and this process may take {allowed // MEGABYTE} MB more: {cure}"
        )
    free = available()
    if free is not None and needed > free:
        logger.warning(
            "%s will take about %d MB, and the machine has %d MB left: %s",
            what,
            needed // MEGABYTE,
            free // MEGABYTE,
            cure,
        )


def remaining(proc: Path = Path("/proc/self"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """How many bytes this process may take before its limit (of addresses, or its control group's); None: no limit."""
    known = [limit for limit in (_address_space_left(proc), _cgroup_left(proc, groups)) if limit is not None]
    return max(min(known), 0) if known else None


def available(file: Path = Path("/proc/meminfo")) -> int | None:
    """How many bytes the machine can give without swapping; None where that is not to be known."""
    found = re.search(r"MemAvailable:\s+(\d+) kB", _read(file))
    return int(found[1]) * 1024 if found else None


def trim_heap() -> None:
    """Have the C library give the system what it keeps of what was freed, where it is glibc."""
    if sys.platform == "linux":
        with suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def _address_space_left(proc: Path) -> int | None:
    """What `ulimit -v` leaves."""
    if sys.platform == "win32":
        return None
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _read(proc / "statm").split()
    return None if limit == resource.RLIM_INFINITY or not pages else limit - int(pages[0]) * resource.getpagesize()


def _cgroup_left(proc: Path, groups: Path) -> int | None:
    """What the limit of the control group leaves; files that the kernel keeps in memory do not count."""
    for folder, limit, usage, file_key in _cgroup_files(proc, groups):
        allowed = _read(folder / limit).strip()
        if allowed.isdecimal() and int(allowed) < UNLIMITED:
            kept = re.search(rf"^{file_key} (\d+)$", _read(folder / "memory.stat"), re.MULTILINE)
            return int(allowed) - int(_read(folder / usage) or 0) + int(kept[1] if kept else 0)
    return None


def _cgroup_files(proc: Path, groups: Path) -> list[tuple[Path, str, str, str]]:
    """(folder, file of the limit, file of the usage, key of kept files) of this process's groups, both kinds."""
    newer = ("memory.max", "memory.current", "inactive_file")
    older = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    places = []
    for number, controllers, path in re.findall(r"^(\d+):([^:]*):(.*)$", _read(proc / "cgroup"), re.MULTILINE):
        if number == "0" and not controllers:
            places += [(groups / path.lstrip("/"), *newer), (groups, *newer)]
        elif "memory" in controllers.split(","):
            places += [(groups / "memory" / path.lstrip("/"), *older), (groups / "memory", *older)]
    return places


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError:
        return ""
