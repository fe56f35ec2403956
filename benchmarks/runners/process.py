"""Control a runner: a process that lives as long as the race and reads one picture at a time."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.processes import cpu_seconds
from benchmarks.runners.protocol import Settings

ROOT = Path(__file__).parents[2]

STILL, PATIENCE = 0.03, 1.0
"""A process counts as idle after so many seconds without processor time; it is given so many to become it."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A library, and the environment it is installed in."""

    name: str
    environment: Path
    module: str
    variant: str = ""

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.environment / "bin" / "python"


class Runner:
    """A peer's process, loaded and ready; to be used in a `with`."""

    def __init__(self, peer: Peer, settings: Settings, log: Path) -> None:
        self.peer = peer
        chosen = json.dumps(asdict(settings) | {"variant": peer.variant})
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [peer.python, "-m", f"benchmarks.runners.{peer.module}", chosen],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=ROOT,
            )
        self._log = log
        self.ready = self._answer()
        """`loaded`, in seconds, and `versions`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def ask(self, path: Path) -> dict[str, Any]:
        """Read a picture; returns when the process is idle again, as some spin on after their answer."""
        if self._process.stdin is None:
            raise RuntimeError("the process has no pipe")
        self._process.stdin.write(json.dumps({"path": str(path)}) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        self._settle()
        return answer

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            self._end()
            raise RuntimeError(f"{self.peer.name} ended: {self._log} says why")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _end(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _settle(self) -> None:
        end = time.monotonic() + PATIENCE
        before = cpu_seconds(self._process.pid)
        while time.monotonic() < end:
            time.sleep(STILL)
            now = cpu_seconds(self._process.pid)
            if now == before:
                return
            before = now
