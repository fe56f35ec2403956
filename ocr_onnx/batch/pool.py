"""The worker processes of a batch: start them, send them tasks, and replace those that end or exceed the time limit."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeAlias, TypeVar

from ocr_onnx import python_process
from ocr_onnx.batch import worker
from ocr_onnx.batch.reader import EngineSettings, Task
from ocr_onnx.errors import OCRError
from ocr_onnx.inputs.decoding_client import START_SECONDS

Job = TypeVar("Job")

Main: TypeAlias = Callable[[Connection, EngineSettings, str | None], None]
"""The function of a worker process."""

POLL_SECONDS = 0.5

MODELS_SECONDS = 3600
"""Time limit for downloading and loading the models."""

END_SECONDS = 5
"""Time limit for the exit of a process whose connection is closed."""

DECODER_SECONDS = START_SECONDS
"""Added to the time limit of decoding, because the decoder may have to be started first, and reports its own limit."""


class Worker(Generic[Job]):
    """A worker process with the job that it does."""

    def __init__(self, main: Main, settings: EngineSettings, file_format: str | None) -> None:
        context = python_process.multiprocessing_context()
        wires = context.Pipe()
        self.wire: Connection = wires[0]
        theirs = wires[1]
        self._process = context.Process(target=main, args=(theirs, settings, file_format))
        self._process.start()
        theirs.close()
        self._timeout = settings.batch.page_timeout
        self.ready: bool = False
        self.job: Job | None = None
        self._allow(MODELS_SECONDS)

    def _allow(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    def begin(self, job: Job, task: Task) -> bool:
        """Send a task; return whether the process could receive it."""
        try:
            self.wire.send(task)
        except OSError:
            return False
        self.job = job
        self._allow(self._timeout + DECODER_SECONDS)
        return True

    def receive(self) -> tuple[Any, ...] | None:
        """Return the next message; None if the process has ended."""
        try:
            message: tuple[Any, ...] = self.wire.recv()
        except (EOFError, OSError):
            return None
        self._allow(self._timeout + (0 if message[0] == "decoded" else DECODER_SECONDS))
        return message

    def expired(self) -> bool:
        """Whether the process has exceeded the time limit of its page."""
        return (self.job is not None or not self.ready) and time.monotonic() > self._deadline

    def end(self, *, has_ended: bool = False) -> int | None:
        """Kill the process and return its exit code: the negative number of a signal, if one ended it."""
        if has_ended:
            self._process.join(END_SECONDS)
        self._process.kill()
        self._process.join()
        self.wire.close()
        return self._process.exitcode


class Pool(Generic[Job]):
    """A number of workers, which run `main`. The first one starts alone, so that the models are downloaded once."""

    def __init__(self, settings: EngineSettings, file_format: str | None, main: Main = worker.main) -> None:
        self._main, self._settings, self._format = main, settings, file_format
        self.workers: list[Worker[Job]] = []
        try:
            self.described: dict[str, Any] = self._first()
        except BaseException:
            self.close()
            raise

    def _first(self) -> dict[str, Any]:
        """Start a worker and return the settings that it reports. Raises OCRError if it fails."""
        first = self._start()
        message = first.receive()
        if message is None or message[0] == "fatal":
            raise OCRError("a worker process ended while it loaded the models" if message is None else message[1])
        first.ready = True
        return dict(message[1])

    def fill(self) -> None:
        """Start the other workers."""
        while len(self.workers) < self._settings.batch.processes:
            self._start()

    def _start(self) -> Worker[Job]:
        made: Worker[Job] = Worker(self._main, self._settings, self._format)
        self.workers.append(made)
        return made

    def idle(self) -> Iterator[Worker[Job]]:
        """Yield the workers that have no job."""
        return (each for each in self.workers if each.ready and each.job is None)

    def messages(self) -> Iterator[tuple[Worker[Job], tuple[Any, ...] | None]]:
        """Wait a moment for messages, and yield each with its worker; None is the end of a process, and of its place."""
        by_wire = {each.wire: each for each in self.workers}
        for wire in wait(list(by_wire), POLL_SECONDS):
            assert isinstance(wire, Connection)  # noqa: S101 for the type checker
            yield by_wire[wire], by_wire[wire].receive()

    def replace(self, ended: Worker[Job], *, has_ended: bool) -> int | None:
        """Start a worker in the place of another one, which has ended or is killed; return the exit code of the latter."""
        code = ended.end(has_ended=has_ended)
        self.workers.remove(ended)
        self._start()
        return code

    def close(self) -> None:
        """End the idle workers by closing their connections, and kill the others."""
        idle = list(self.idle())
        for each in idle:
            each.wire.close()
        for each in self.workers:
            each.end(has_ended=each in idle)
        self.workers.clear()
