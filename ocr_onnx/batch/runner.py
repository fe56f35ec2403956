"""Run a batch: read all documents with the workers, and record each page exactly once."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from ocr_onnx.batch.journal import WHOLE_DOCUMENT, Entry, Journal
from ocr_onnx.batch.listing import Document
from ocr_onnx.batch.output import Output
from ocr_onnx.batch.pool import Pool, Worker
from ocr_onnx.batch.reader import Task
from ocr_onnx.errors import InputError, OCRError
from ocr_onnx.inputs.documents import is_pdf
from ocr_onnx.options import InputOptions

CHUNK = 16
"""Pages of a PDF that a worker reads at a time; the others can be read by other workers meanwhile."""

READING_THREADS = 8
"""Documents that are read from disk or network at a time."""

TIMEOUT = "the page took longer than page_timeout: reduce the image, or raise it"
CRASHED = (
    "the worker process ended with status {} at this page: it may need more memory than the machine has; use fewer workers, or "
    "reduce the image"
)
NOT_DECODED = "the decoder ended before this page: save the document again"


@dataclass(slots=True)
class OpenDocument:
    """A document of which pages are being read."""

    id: int
    name: str
    sha256: str
    data: bytes
    count: int | None = None
    jobs: int = 0
    """The number of its jobs that are not done."""


@dataclass(slots=True)
class Job:
    """Pages of a document that one worker reads."""

    document: OpenDocument
    pages: tuple[int, ...] | None = None
    """Indices, from 0; None: all, until their number is known."""
    limit: int | None = None
    left: set[int] | None = None
    """The pages that are neither done nor failed; None: their number is not known."""
    finished: set[int] = field(default_factory=set)
    """The pages that are done or failed."""
    interrupted: bool = False
    """Whether decoding ended with an error of one page, so that the pages left are to be read again."""
    current: int | None = None
    """The page that is decoded and not yet read."""
    converted: list[int] = field(default_factory=list)
    """Pages that will be part of the document's file."""


class Runner:
    """Reads documents with a pool of workers. `pool.described` must be that of the journal."""

    def __init__(self, output: Output, pool: Pool[Job], input_options: InputOptions, tick: Callable[[], None]) -> None:
        self._output, self._journal, self._pool, self._options = output, output.journal, pool, input_options
        self._tick = tick
        self._queue: deque[Job] = deque()
        self._open: dict[int, OpenDocument] = {}

    def run(self, documents: Iterator[Document | InputError]) -> None:
        """Read all documents that are not complete. Raises OutputError if the output cannot be written."""
        with ExitStack() as stack:
            threads = stack.enter_context(ThreadPoolExecutor(READING_THREADS, "ocr-onnx-documents"))
            jobs = self._jobs(documents, threads)
            stack.callback(threads.shutdown, wait=False, cancel_futures=True)
            while self._assign(jobs):
                for worker, message in self._pool.messages():
                    self._receive(worker, message)
                for worker in [each for each in self._pool.workers if each.expired()]:
                    self._replace(worker, TIMEOUT)
                self._output.save()
                self._tick()

    def _jobs(self, documents: Iterator[Document | InputError], threads: ThreadPoolExecutor) -> Iterator[Job]:
        """Yield a job for each document that is not complete; the contents of the next ones are read in advance."""
        ahead: deque[tuple[Document, Future[tuple[bytes, str]]]] = deque()
        for each in pending(documents, self._journal):
            ahead.append((each, threads.submit(_content, each)))
            if len(ahead) > 2 * len(self._pool.workers):
                yield from self._begun(*ahead.popleft())
        while ahead:
            yield from self._begun(*ahead.popleft())

    def _begun(self, document: Document, content: Future[tuple[bytes, str]]) -> Iterator[Job]:
        """Yield the jobs of a document whose content is read."""
        try:
            data, sha256 = content.result()
        except InputError as error:
            self._journal.fail_document(document.name, type(error).__name__, str(error))
            return
        # An archive can have several members of one name, which are all read.
        if all(each.name != document.name for each in self._open.values()):
            self._journal.supersede(document.name, sha256)
        entry = self._journal.begin(document.name, document.version, sha256)
        if entry is not None and entry.id not in self._open:
            opened = OpenDocument(entry.id, document.name, sha256, data, entry.pages)
            self._open[entry.id] = opened
            yield from self._jobs_of(opened, entry)

    def _jobs_of(self, document: OpenDocument, entry: Entry) -> list[Job]:
        """Return the jobs for the pages of a document that are not finished."""
        whole = self._output.file_format is not None or not is_pdf(document.data)
        if entry.pages is None or (not entry.finished and whole):
            jobs = [Job(document, limit=None if whole else CHUNK)]
        else:
            left = [index for index in self._wanted(document, entry.pages) if index + 1 not in entry.finished]
            jobs = _chunks(document, left, len(left) if whole else CHUNK)
        document.jobs += len(jobs)
        if not jobs:
            self._complete(document)
        return jobs

    def _wanted(self, document: OpenDocument, count: int) -> list[int]:
        """Return the indices of the pages to read."""
        return self._options.pages(count) if is_pdf(document.data) else list(range(count))

    def _assign(self, jobs: Iterator[Job]) -> bool:
        """Give the idle workers jobs; return whether any job is left or in progress."""
        for worker in list(self._pool.idle()):
            job = self._queue.popleft() if self._queue else next(jobs, None)
            if job is None:
                return any(each.job is not None for each in self._pool.workers)
            document = job.document
            if not worker.begin(job, Task(document.name, document.sha256, document.data, job.pages, job.limit)):
                self._queue.appendleft(job)
        return True

    def _receive(self, worker: Worker[Job], message: tuple[Any, ...] | None) -> None:
        """Act on a message of a worker."""
        if message is None:
            self._replace(worker, None)
        elif message[0] == "fatal":
            raise OCRError(message[1])
        elif message[0] == "ready":
            worker.ready = True
        elif worker.job is not None:
            getattr(self, f"_on_{message[0]}")(worker.job, *message[1:])
            if message[0] == "end":
                worker.job = None

    def _on_decoded(self, job: Job, index: int, count: int | None) -> None:
        job.current = index
        self._know_pages(job, count or 1)

    def _know_pages(self, job: Job, count: int) -> None:
        """Learn the number of pages of a document, and queue those that the job does not read."""
        document = job.document
        if job.left is not None:
            return
        wanted = self._wanted(document, count)
        end = len(wanted) if job.limit is None else job.limit
        job.left = set(wanted[:end]) - job.finished
        if document.count is None:
            document.count = count
            self._journal.set_pages(document.id, count, len(wanted))
            rest = _chunks(document, wanted[end:], CHUNK)
            document.jobs += len(rest)
            self._queue.extend(rest)

    def _on_page(self, job: Job, index: int, row: str | None) -> None:
        _finish_page(job, index)
        if row is None:
            job.converted.append(index)
        else:
            self._journal.add_page(job.document.id, index + 1, row)

    def _on_error(self, job: Job, index: int | None, kind: str, text: str) -> None:
        if index is None and job.left:
            # Pages are decoded in order, so it is the error of the first one that is left.
            index, job.interrupted = min(job.left), True
        if index is None:
            self._journal.add_error(job.document.id, WHOLE_DOCUMENT, kind, text)
            job.left, job.converted = set(), []
        else:
            self._journal.add_error(job.document.id, index + 1, kind, text)
            _finish_page(job, index)

    def _on_file(self, job: Job, content: bytes) -> None:
        document = job.document
        self._output.write_file(document.name, content)
        self._journal.add_file(document.id, hashlib.sha256(content).hexdigest())
        for index in job.converted:
            self._journal.add_page(document.id, index + 1, None)

    def _on_end(self, job: Job) -> None:
        if job.interrupted:
            self._read_again(job)
            return
        if job.left is None and job.limit is not None and len(job.finished) == job.limit:
            # All these pages failed, which does not tell how many follow.
            self._queue.append(Job(job.document))
            return
        for index in sorted(job.left or ()):
            self._journal.add_error(job.document.id, index + 1, "UnreadableImageError", NOT_DECODED)
        self._finish(job)

    def _read_again(self, job: Job) -> None:
        """Queue the pages that an interrupted job did not finish; those of a file are all converted again."""
        again = {*(job.left or ()), *job.converted}
        if again:
            self._queue.appendleft(Job(job.document, tuple(sorted(again)), left=again))
        else:
            self._finish(job)

    def _finish(self, job: Job) -> None:
        job.document.jobs -= 1
        if not job.document.jobs:
            self._complete(job.document)

    def _complete(self, document: OpenDocument) -> None:
        self._journal.complete(document.id)
        del self._open[document.id]

    def _replace(self, worker: Worker[Job], reason: str | None) -> None:
        """Replace a worker that ended or took too long; its page has failed, and its other pages are read again."""
        job, was_ready = worker.job, worker.ready
        code = self._pool.replace(worker, has_ended=reason is None)
        if not was_ready:
            raise OCRError(
                f"a worker process ended with status {code} while it loaded the models: see the errors above"
            )
        if job is not None:
            self._on_error(job, job.current, "WorkerError", reason or CRASHED.format(code))
            self._read_again(job)


def pending(documents: Iterable[Document | InputError], journal: Journal) -> Iterator[Document]:
    """Yield the documents that are not complete; record the inputs that cannot be listed."""
    for each in documents:
        if isinstance(each, InputError):
            journal.fail_document(str(each.source), type(each).__name__, str(each))
        elif each.version is None or not journal.is_complete(each):
            yield each


def _finish_page(job: Job, index: int) -> None:
    job.current = None
    job.finished.add(index)
    if job.left is not None:
        job.left.discard(index)


def _chunks(document: OpenDocument, indices: list[int], size: int) -> list[Job]:
    """Return jobs of at most `size` pages."""
    parts = [tuple(indices[i : i + size]) for i in range(0, len(indices), max(size, 1))]
    return [Job(document, part, left=set(part)) for part in parts]


def _content(document: Document) -> tuple[bytes, str]:
    """Read a document; return its content and the sha256 of it."""
    data = document.read()
    return data, hashlib.sha256(data).hexdigest()
