"""The output folder of a batch: the journal with the shards, or a file for each document."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import filelock

from ocr_onnx.batch import shards
from ocr_onnx.batch.journal import Failure, Journal, database_errors
from ocr_onnx.batch.settings import ShardFormat
from ocr_onnx.errors import OutputError
from ocr_onnx.outputs.formats import FORMATS
from ocr_onnx.outputs.saving import limited_name, output_errors, save_parts

LOCK = ".lock"

FAILURES = "failures.jsonl"

FILES = "files"
"""The folder of the documents' own files."""

PARENT = "__"
"""Stands for `..` in the path of a document's own file."""

COMMIT_SECONDS = 1.0
"""The most work that is lost when the process is killed."""


class Output:
    """An output folder that one process writes."""

    def __init__(self, journal: Journal, shard_format: ShardFormat, shard_pages: int, file_format: str | None) -> None:
        self.journal: Journal = journal
        self.file_format: str | None = file_format
        self._shard_format, self._shard_pages = shard_format, shard_pages
        self._saved = time.monotonic()

    def folders(self) -> list[Path]:
        """Return the folders that the run writes, in which nothing is an input."""
        folder = self.journal.folder
        return [folder] if self.file_format is None else [folder, folder / FILES]

    def described(self) -> dict[str, str | None]:
        """Return the settings of the output, for the journal."""
        return {"format": None if self.file_format else self._shard_format, "files": self.file_format}

    def save(self, *, now: bool = False) -> None:
        """Make the results durable, if the last time is long enough ago, and write full shards."""
        if now or time.monotonic() - self._saved > COMMIT_SECONDS:
            self.journal.commit()
            shards.write_shards(self.journal, self._shard_format, self._shard_pages)
            self._saved = time.monotonic()

    def finish(self) -> None:
        """Write the rest of the pages as a last shard, and the list of failures, when all inputs are read."""
        self.journal.forget_unread()
        self.journal.commit()
        shards.write_shards(self.journal, self._shard_format, self._shard_pages, rest=True)
        self.list_failures()

    def list_failures(self) -> None:
        """Write the list of failures."""
        save_parts((_line(failure) for failure in self.journal.failures()), self.journal.folder / FAILURES)

    def write_file(self, name: str, content: bytes) -> None:
        """Write the file of a document."""
        if self.file_format is not None:
            save_parts([content], file_of(self.journal.folder, name, self.file_format))


def file_of(folder: Path, name: str, file_format: str) -> Path:
    """Return the path of a document's own file: below `files`, the name of the document with the suffix of the format."""
    parts = PurePosixPath(name.replace("://", "/")).parts
    *folders, file = [limited_name(PARENT if part == ".." else part) for part in parts if part != "/"]
    return folder.joinpath(FILES, *folders, f"{file}{FORMATS[file_format].suffix}")


def _line(failure: Failure) -> bytes:
    return (json.dumps(failure._asdict(), ensure_ascii=False) + "\n").encode()


@contextmanager
def opened(folder: Path, shard_format: ShardFormat, shard_pages: int, file_format: str | None) -> Iterator[Output]:
    """Open an output folder for one run, and repair what a killed run left.

    Raises OutputError if another run writes to it, if it contains other files, or if it cannot be written.
    """
    with output_errors(folder / LOCK):
        lock = filelock.FileLock(folder / LOCK, timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise OutputError(f"another run writes to {str(folder)!r}: wait for it, or give another folder") from error
        if file_format is not None:  # It must exist before inputs are listed, which leaves it out.
            (folder / FILES).mkdir(exist_ok=True)
    with lock, database_errors(folder):
        journal = Journal(folder)
        try:
            shards.recover(journal)
            yield Output(journal, shard_format, shard_pages, file_format)
        finally:
            journal.close()
