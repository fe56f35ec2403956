"""Where the time goes: spans of work, each with its wall and processor time, as a table or for a trace viewer.

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
    """One piece of work, in nanoseconds."""

    name: str
    thread: int
    start: int
    wall: int
    cpu: int
    """Of its own thread."""
    own: int
    """`cpu` less that of the spans within this one."""


@dataclass(slots=True)
class Profile:
    """What `record` saw. Read it once recording is over."""

    spans: list[Span] = field(default_factory=list)
    wall: int = 0
    """Nanoseconds from start to end."""
    cpu: int = 0
    """Of all threads of the process."""

    def table(self) -> str:
        """A row a name: calls, wall and processor time in ms, the share of the latter; the costliest first.

        Wall time counts waiting and what lies within; processor time does not. What is used outside of spans is that of
        the threads that ONNX Runtime and OpenCV start for one call, and of the caller.
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
        """Write the spans as Chrome's trace events, times in microseconds; raises OutputError where that fails."""
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
            raise OutputError(f"{path} cannot be written: {error.strerror}; name another file") from error


_profile: Profile | None = None
_recording = threading.Lock()
_within = threading.local()
"""`.cpu`: what the spans within the one that this thread is in have used so far."""


@contextmanager
def record() -> Iterator[Profile]:
    """Record what all threads of the process do, one recording at a time; raises OptionError where one is going on."""
    global _profile  # noqa: PLW0603 all threads are seen, those of pools too
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
    """Note the work within as a span, where a profile is recorded."""
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
    """Decorate a function: each call is a span, where a profile is recorded, and costs next to nothing elsewhere."""

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @functools.wraps(function)
        def call(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            if _profile is None:
                return function(*args, **kwargs)
            with span(name):
                return function(*args, **kwargs)

        return call

    return decorate
