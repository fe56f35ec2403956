"""What a runner is asked and answers, one JSON object a line: {"path"} -> {"wall", "cpu", "lines", "stages", "peak"}."""

from __future__ import annotations

import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO


@dataclass(frozen=True)
class Settings:
    """What all runners are given alike."""

    detection: str
    recognition: str
    """Folders of Paddle's files, inference.onnx and characters.txt."""
    threads: int
    side: int
    """The longest side that detection gets, in pixels; 0: the library's default."""
    variant: str = ""
    """The engine or precision, if the library has several."""


@dataclass(frozen=True)
class Line:
    """One line of text, its corners in the picture's pixels."""

    text: str
    quad: list[list[float]]


@dataclass
class Clock:
    """Seconds spent in named parts, since the last `take`."""

    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call`, and the time it takes added up under `name`."""

        def measured(*arguments: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            try:
                return call(*arguments, **options)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun

        return measured

    def take(self) -> dict[str, float]:
        """What was measured, and begin anew."""
        taken, self.seconds = self.seconds, {}
        return taken


Reader = Callable[[str], list[Line]]


def serve(prepare: Callable[[Settings], Reader], packages: tuple[str, ...], clock: Clock | None = None) -> None:
    """Load, say so with the versions of `packages`, then read what is asked until the pipe ends."""
    answers = _own_pipe()
    settings = Settings(**json.loads(sys.argv[1]))
    begun = time.perf_counter()
    read = prepare(settings)
    _say(answers, {"loaded": time.perf_counter() - begun, "versions": {name: version(name) for name in packages}})
    for request in sys.stdin:
        path = json.loads(request)["path"]
        wall, cpu = time.perf_counter(), _cpu_seconds()
        lines = read(path)
        wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
        stages = {} if clock is None else clock.take()
        said = {"wall": wall, "cpu": cpu, "lines": [asdict(line) for line in lines], "stages": stages, "peak": peak()}
        _say(answers, said)


def _cpu_seconds() -> float:
    """The processor time of this process, and of its child processes that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def peak() -> int:
    """The highest memory that this process (VmHWM), or a child process that has ended, has had, in KiB."""
    found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text("ascii"))
    if found is None:
        raise RuntimeError("/proc/self/status has no VmHWM: this is measured on Linux")
    return max(int(found[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)


def _own_pipe() -> TextIO:
    """The pipe of the answers, out of reach of whatever else the libraries print."""
    pipe = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return pipe


def _say(pipe: TextIO, said: dict[str, Any]) -> None:
    pipe.write(json.dumps(said) + "\n")
    pipe.flush()
