"""Measure the processor time and the memory of a server's processes, as the kernel counts them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 180
EVERY = 0.5
"""Seconds between two looks at memory."""

TICK = 1 / os.sysconf("SC_CLK_TCK")


class Server:
    """A command that serves on a port, and the processes it starts; to be used in a `with`."""

    def __init__(self, name: str, command: Sequence[str], port: int, log: Path) -> None:
        self.name, self.port = name, port
        with log.open("w") as file:
            self._process = subprocess.Popen(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL)
        self.process = self._process.pid
        self._log = log
        self._wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def cpu(self) -> float:
        """Processor seconds of all its processes, including ended ones."""
        return sum(cpu_seconds(process) for process in family(self.process))

    def resident(self) -> int:
        """KiB of all its processes now; what they share counts for each."""
        return sum(memory(process, "VmRSS") for process in family(self.process))

    def proportional(self) -> int:
        """KiB of all its processes now; what they share counts once."""
        return sum(memory(process, "Pss") for process in family(self.process))

    def peak(self) -> int:
        """KiB, the sum of each process's highest."""
        return sum(memory(process, "VmHWM") for process in family(self.process))

    @contextmanager
    def watched(self) -> Iterator[list[int]]:
        """What it has of memory, looked at again and again as long as this is open."""
        seen, done = [self.resident()], threading.Event()

        def watch() -> None:
            while not done.wait(EVERY):
                seen.append(self.resident())

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield seen
        finally:
            done.set()
            thread.join()

    def _wait(self) -> None:
        end = time.monotonic() + START_SECONDS
        while self._process.poll() is None and time.monotonic() < end:
            with suppress(OSError, urllib.error.URLError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5).close()
                return
            time.sleep(0.2)
        self._end()
        raise RuntimeError(f"{self.name} does not serve: {self._log} says why")

    def _end(self) -> None:
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        self._process.kill()
        self._process.wait()


def free_port() -> int:
    """One that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def children(process: int) -> list[int]:
    """The processes that a process started; none if it has ended."""
    found: list[int] = []
    with suppress(OSError):
        for thread in Path(f"/proc/{process}/task").iterdir():
            found += map(int, (thread / "children").read_text("ascii").split())
    return found


def family(process: int) -> list[int]:
    """A process and all that descend from it."""
    return [process, *(each for child in children(process) for each in family(child))]


def cpu_seconds(process: int) -> float:
    """User and system time of a process and of its ended children; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) * TICK


def memory(process: int, which: str) -> int:
    """VmRSS, VmHWM or Pss (shared memory counts in part) in KiB; 0 if the process has ended."""
    file = "smaps_rollup" if which == "Pss" else "status"
    try:
        lines = Path(f"/proc/{process}/{file}").read_text("utf-8")
    except OSError:
        return 0
    found = re.search(rf"^{which}:\s+(\d+) kB$", lines, re.MULTILINE)
    return int(found[1]) if found else 0
