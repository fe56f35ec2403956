"""The CPU cores of this process, and parallel work on them."""

from __future__ import annotations

import functools
import os
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ocr_onnx.declarations import check_number
from ocr_onnx.runtime.cgroups import GROUPS, PROCESS, groups_of, read
from ocr_onnx.runtime.workers import Workers

Result = TypeVar("Result")


def parallel_map(
    task: Callable[..., Result],
    *arguments: Sequence[Any],
    costs: Sequence[float] | None = None,
    threads: int | None = None,
) -> list[Result]:
    """Apply `task` to the arguments, as `map` does, on `threads` cores (None: all of the process); keep the order of results.

    Calls with the highest of `costs` start first. One call of a small model does not use several cores well; several calls
    with one thread each do.
    """
    calls = list(zip(*arguments, strict=True))
    order = range(len(calls)) if costs is None else sorted(range(len(calls)), key=lambda i: -costs[i])
    waiting, results = iter(order), dict[int, Result]()

    def work() -> None:
        try:
            for i in waiting:
                results[i] = task(*calls[i])
        finally:
            # After an error, do not start the remaining calls.
            deque(waiting, maxlen=0)

    workers = min(cores(threads), len(calls))
    if workers == 1:
        work()
    else:
        futures = [_pool().submit(work) for _ in range(workers)]
        try:
            for future in futures:
                future.result()
        finally:
            # The same after Ctrl-C.
            deque(waiting, maxlen=0)
    return [results[i] for i in range(len(calls))]


def cores(threads: int | None) -> int:
    """Return the number of cores to use if `threads` are requested: at most all of the process; all if it is None.

    Raises OptionError if `threads` is not a positive integer.
    """
    if threads is None:
        return cpu_count()
    check_number("cpu_threads", threads, 1, whole=True)
    return min(threads, cpu_count())


def cpu_count() -> int:
    """Return the number of cores that this process may use, by its CPU affinity and its cgroup's quota."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = quota()
    return available if limit is None else max(1, min(available, int(limit)))


def quota(groups: Path = GROUPS, process: Path = PROCESS) -> float | None:
    """Return the number of cores of the smallest quota of the process's cgroups; None if there is no quota."""
    quotas = []
    for folder, version in groups_of("cpu", process, groups):
        names = ("cpu.max",) if version == 2 else ("cpu.cfs_quota_us", "cpu.cfs_period_us")
        values = " ".join(read(folder / name) for name in names).split()
        if len(values) == 2 and values[0].isdecimal():
            quotas.append(int(values[0]) / int(values[1]))
    return min(quotas, default=None)


@functools.cache
def _pool() -> Workers:
    """Return the threads of parallel_map: for all engines of the process."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_pool.cache_clear)
    return Workers(cpu_count(), "ocr-onnx")
