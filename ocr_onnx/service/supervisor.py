"""Run several worker processes on one port: restart a worker that crashes, and end all together.

uvicorn's own supervisor (`uvicorn.supervisors.Multiprocess`) does not fit: it restarts workers without a limit, always exits
with 0, leaves workers running when it is killed, and runs no subclass of `uvicorn.Server`.
"""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from multiprocessing.context import SpawnProcess

from prometheus_client.multiprocess import mark_process_dead

from ocr_onnx import python_process
from ocr_onnx.errors import OutputError
from ocr_onnx.inputs import sandbox
from ocr_onnx.service import logs
from ocr_onnx.service.metrics import DIRECTORY

MAX_CRASHES = 10
"""Crashes of workers within CRASH_WINDOW that end the server."""

CRASH_WINDOW = 300.0
"""Seconds."""

CAUSES: Mapping[str, str] = {
    "SIGKILL": "killed, perhaps because the memory was exhausted",
    "SIGBUS": "the file system of the temporary folder (TMPDIR) may be full",
}
"""What may have happened, by the signal that ended a worker. Windows has neither."""


class CrashCounter:
    """Counts recent crashes of workers."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=MAX_CRASHES)

    def add(self, now: float) -> None:
        """Add a crash at a time in seconds."""
        self._times.append(now)

    def too_many(self, now: float) -> bool:
        """Whether MAX_CRASHES happened within the last CRASH_WINDOW."""
        return len(self._times) == MAX_CRASHES and now - self._times[0] < CRASH_WINDOW


class Supervisor:
    """Runs a function in several worker processes, until a signal."""

    def __init__(self, worker: Callable[[], None], count: int) -> None:
        context = python_process.multiprocessing_context()
        self._start = partial(context.Process, target=until_parent_ends, args=(worker,))
        self._count = count
        self._ending = threading.Event()
        self._crashes = CrashCounter()

    def run(self) -> int:
        """Run the workers until SIGINT or SIGTERM; return the exit code, 0 if all workers ended as they were told.

        Raises OutputError if no temporary folder can be written.
        """
        try:
            folder = tempfile.TemporaryDirectory(prefix="ocr-onnx-metrics-")
        except OSError as error:
            raise OutputError(
                f"the metrics of several workers need a temporary folder: {error.strerror}; set TMPDIR to a writable folder, mount a "
                "tmpfs at /tmp, or give --workers 1"
            ) from error
        with folder as directory:
            os.environ[DIRECTORY] = directory
            return self._run()

    def _run(self) -> int:
        sandbox.protect_this_process()
        logs.configure()
        for sig in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sig, lambda *_: self._ending.set())
        running = [self._begin() for _ in range(self._count)]
        failed = False
        while not self._ending.is_set() and not failed:
            multiprocessing.connection.wait([process.sentinel for process in running], timeout=0.2)
            self._replace(running)
            failed = self._crashes.too_many(time.monotonic())
        for process in running:
            process.terminate()
        for process in running:
            process.join()
        # A worker that SIGTERM kills had not begun to serve.
        codes = [process.exitcode or 0 for process in running]
        return max([int(failed), *(abs(code) for code in codes if code != -signal.SIGTERM)])

    def _replace(self, running: list[SpawnProcess]) -> None:
        for number, process in enumerate(running):
            if process.exitcode is not None and not self._ending.is_set():
                code = process.exitcode
                logs.event("worker crashed", process=process.pid, code=code, cause=_cause(code))
                mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
                self._crashes.add(time.monotonic())
                running[number] = self._begin()

    def _begin(self) -> SpawnProcess:
        process = self._start()
        process.start()
        return process


def _cause(code: int) -> str | None:
    """Return what may have ended a worker with this exit code."""
    return next((cause for name, cause in CAUSES.items() if getattr(signal, name, None) == -code), None)


def until_parent_ends(worker: Callable[[], None]) -> None:
    """Run one worker. If its parent is killed, it removes the metrics folder and ends as on SIGTERM."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()  # Returns when a pipe closes, even if the parent is killed.
            shutil.rmtree(os.environ[DIRECTORY], ignore_errors=True)
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    worker()
