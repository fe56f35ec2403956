"""Several processes that serve one port: one that dies is replaced, and all end together.

uvicorn's own supervisor (`uvicorn.supervisors.Multiprocess`) replaces processes without a limit, always ends with 0, leaves
them serving when it is killed, and runs `uvicorn.Server` alone; so the processes are handled here.
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
from collections.abc import Callable
from functools import partial
from multiprocessing.context import SpawnProcess

from prometheus_client.multiprocess import mark_process_dead

from ocr_onnx import python_process
from ocr_onnx.service import logs, sandbox
from ocr_onnx.service.metrics import DIRECTORY

MOST_DEATHS = 10
"""Processes that may die within PERIOD; more are no accident, and end the server."""

PERIOD = 300.0
"""Seconds for which a death is counted."""


class Deaths:
    """Counts the processes that died lately."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=MOST_DEATHS)

    def note(self, now: float) -> None:
        """Count one, at a time in seconds."""
        self._times.append(now)

    def too_many(self, now: float) -> bool:
        """Whether MOST_DEATHS were within the last PERIOD."""
        return len(self._times) == MOST_DEATHS and now - self._times[0] < PERIOD


class Processes:
    """Runs a function in several processes, each until a signal ends it."""

    def __init__(self, work: Callable[[], None], count: int) -> None:
        context = python_process.multiprocessing_context()
        self._start = partial(context.Process, target=until_parent_ends, args=(work,))
        self._count = count
        self._ending = threading.Event()
        self._deaths = Deaths()

    def run(self) -> int:
        """Run them until told to end; returns the exit code, which is 0 where all ended as they should."""
        with tempfile.TemporaryDirectory(prefix="ocr-onnx-metrics-") as directory:
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
            failed = self._deaths.too_many(time.monotonic())
        for process in running:
            process.terminate()
        for process in running:
            process.join()
        return max(int(failed), *(abs(process.exitcode or 0) for process in running))

    def _replace(self, running: list[SpawnProcess]) -> None:
        for number, process in enumerate(running):
            if process.exitcode is not None and not self._ending.is_set():
                logs.event("died", process=process.pid, code=process.exitcode)
                mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
                self._deaths.note(time.monotonic())
                running[number] = self._begin()

    def _begin(self) -> SpawnProcess:
        process = self._start()
        process.start()
        return process


def until_parent_ends(work: Callable[[], None]) -> None:
    """Do the work of one process. Where its parent is killed, it ends as on SIGTERM, and removes the metrics folder."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()  # It waits for the end of a pipe, as the processes that decode do.
            shutil.rmtree(os.environ[DIRECTORY], ignore_errors=True)
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    work()
