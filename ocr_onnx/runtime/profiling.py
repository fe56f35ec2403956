"""Profiling: spans of work with wall time and CPU time, as a table or as a trace file.

with profiling.record() as profile:
    ocr.predict("page.png")
print(profile.table())
profile.save("trace.json")  # for chrome://tracing or ui.perfetto.dev
"""

from __future__ import annotations

import functools
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

from ocr_onnx.errors import OptionError, OutputError

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Span(NamedTuple):
    """One piece of work; times in nanoseconds."""

    name: str
    thread: int
    start: int
    wall: int
    cpu: int
    """The CPU time of its thread."""
    own: int
    """`cpu` without the CPU time of the spans inside this one."""


@dataclass(slots=True)
class Profile:
    """The recorded spans. Read it after recording has ended."""

    spans: list[Span] = field(default_factory=list)
    wall: int = 0
    """The wall time of the recording, in nanoseconds."""
    cpu: int = 0
    """The CPU time of all threads of the process, in nanoseconds."""

    def table(self) -> str:
        """Return a table with one row per name: calls, wall time and CPU time in ms, and share of the CPU time, highest first.

        Wall time includes waiting and nested spans; CPU time excludes both. CPU time outside of spans is that of the threads
        that ONNX Runtime and OpenCV start for a call, and of the caller.
        """
        rows: dict[str, list[int]] = {}
        for span in self.spans:
            row = rows.setdefault(span.name, [0, 0, 0])
            for column, value in enumerate((1, span.wall, span.own)):
                row[column] += value
        rest = self.cpu - sum(span.own for span in self.spans)
        ordered = sorted(rows.items(), key=lambda item: -item[1][2])
        lines = [f"{'':32}{'calls':>8}{'wall ms':>11}{'cpu ms':>11}{'share':>8}"]
        lines += [self._row(name, f"{calls}", wall, cpu) for name, (calls, wall, cpu) in ordered]
        lines += [self._row("other threads, and the caller", "", None, rest), self._row("all", "", self.wall, self.cpu)]
        return "\n".join(lines)

    def _row(self, name: str, calls: str, wall: int | None, cpu: int) -> str:
        waited = "" if wall is None else f"{wall / 1e6:.1f}"
        return f"{name:32}{calls:>8}{waited:>11}{cpu / 1e6:>11.1f}{cpu / max(self.cpu, 1):>8.1%}"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the spans as Chrome trace events, with times in microseconds; raise OutputError if writing fails."""
        begin = min((span.start for span in self.spans), default=0)
        events = [
            {
                "name": span.name,
                "ph": "X",
                "pid": os.getpid(),
                "tid": span.thread,
                "ts": (span.start - begin) / 1e3,
                "dur": span.wall / 1e3,
                "args": {"cpu_ms": span.cpu / 1e6},
            }
            for span in self.spans
        ]
        try:
            Path(path).write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}), "utf-8")
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}; choose another file") from error


_profile: Profile | None = None
_recording = threading.Lock()
_within = threading.local()
"""`.cpu`: the CPU time, in nanoseconds, of the finished spans inside this thread's current span."""


@contextmanager
def record() -> Iterator[Profile]:
    """Record the spans of all threads of the process; raise OptionError if a recording is already in progress."""
    global _profile  # noqa: PLW0603 all threads are recorded, including those of pools
    if not _recording.acquire(blocking=False):
        raise OptionError("a profile is being recorded already: end that one first")
    profile = _profile = Profile()
    wall, cpu = time.perf_counter_ns(), time.process_time_ns()
    try:
        yield profile
    finally:
        profile.wall, profile.cpu = time.perf_counter_ns() - wall, time.process_time_ns() - cpu
        _profile = None
        _recording.release()


@contextmanager
def span(name: str) -> Iterator[None]:
    """Record the code inside the `with` block as a span, if a profile is being recorded."""
    profile = _profile
    if profile is None:
        yield
        return
    outer, _within.cpu = getattr(_within, "cpu", 0), 0
    start, cpu = time.perf_counter_ns(), time.thread_time_ns()
    try:
        yield
    finally:
        cpu = time.thread_time_ns() - cpu
        wall = time.perf_counter_ns() - start
        profile.spans.append(Span(name, threading.get_native_id(), start, wall, cpu, cpu - _within.cpu))
        _within.cpu = outer + cpu


def timed(name: str) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Decorate a function: record each call as a span; without a recording, this costs almost nothing."""

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @functools.wraps(function)
        def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            if _profile is None:
                return function(*args, **kwargs)
            with span(name):
                return function(*args, **kwargs)

        return call

    return decorate
