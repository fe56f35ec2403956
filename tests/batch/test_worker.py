"""What a worker process does, in this process: it reads documents and sends messages."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import cv2
import pytest
from conftest import PAGES, pdf

from ocr_onnx import OCR
from ocr_onnx.batch import worker
from ocr_onnx.batch.reader import DocumentReader, Outcome, Task
from ocr_onnx.batch.settings import BatchOptions
from ocr_onnx.batch.shards import _write_parquet, schema
from ocr_onnx.errors import NotEnoughMemoryError, OCRError, OutputError
from ocr_onnx.outputs.formats import FORMATS
from ocr_onnx.types import Page

TINY = (PAGES / "tiny.png").read_bytes()
PDF = pdf((50, 40), (60, 40), (70, 40))


@pytest.fixture(scope="module")
def reader() -> Iterator[DocumentReader]:
    engine = OCR(preset="fast", cpu_threads=1)
    threads = cv2.getNumThreads()
    made = DocumentReader(engine, engine.options, BatchOptions())
    yield made
    made.close()
    cv2.setNumThreads(threads)


def outcomes(reader: DocumentReader, task: Task) -> list[Outcome]:
    return list(reader.read(task))


def messages(reader: DocumentReader, task: Task, file_format: str | None = None) -> list[tuple[Any, ...]]:
    ours, theirs = Pipe()
    with ours, theirs:
        worker._serve(theirs, reader, task, None if file_format is None else FORMATS[file_format])
        found = []
        while ours.poll():
            found.append(ours.recv())
        return found


def test_a_page_comes_when_it_is_decoded_and_when_it_is_read(reader: DocumentReader) -> None:
    decoded, read = outcomes(reader, Task("a.png", "sha", TINY))
    assert (decoded.index, decoded.count, decoded.result, decoded.error) == (0, None, None, None)
    assert read.result is not None
    assert (read.result.source.path, read.result.source.content) == ("a.png", TINY)


@pytest.mark.parametrize(
    ("pages", "limit", "expected"), [(None, None, [0, 1, 2]), ((1, 2), None, [1, 2]), (None, 2, [0, 1])]
)
def test_only_the_pages_of_the_task_are_read(
    reader: DocumentReader, pages: tuple[int, ...] | None, limit: int | None, expected: list[int]
) -> None:
    found = outcomes(reader, Task("a.pdf", "sha", PDF, pages, limit))
    assert [outcome.index for outcome in found if outcome.result is not None] == expected
    assert {outcome.count for outcome in found} == {3}


def test_a_document_that_cannot_be_decoded_is_an_error_as_a_whole(reader: DocumentReader) -> None:
    (outcome,) = outcomes(reader, Task("a.png", "sha", b"no image"))
    assert outcome.index is None
    assert outcome.error is not None


@pytest.mark.parametrize("error", [MemoryError(), OCRError("it failed")])
def test_an_error_of_the_pipeline_is_that_of_the_page(
    reader: DocumentReader, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(self: OCR, page: Page, options: Any) -> None:
        raise error

    monkeypatch.setattr(OCR, "read", fail)
    _, failed = outcomes(reader, Task("a.png", "sha", TINY))
    assert failed.index == 0
    assert isinstance(failed.error, NotEnoughMemoryError if isinstance(error, MemoryError) else OCRError)


def test_what_determines_the_results_has_the_models_and_no_password(reader: DocumentReader) -> None:
    described = reader.described()
    assert described["models"]["text_detection"] == "PP-OCRv6_tiny_det"
    assert "pdf_password" not in described["options"]["input"]
    other = DocumentReader(reader.engine, replace(reader.options, return_word_box=True), BatchOptions())
    assert other.described() != described
    other.close()


def test_a_worker_sends_the_row_of_each_page(reader: DocumentReader) -> None:
    decoded, (kind, index, row), end = messages(reader, Task("a.png", "sha", TINY))
    assert (decoded, kind, index, end) == (("decoded", 0, None), "page", 0, ("end",))
    assert {"path": "a.png", "sha256": "sha", "page": None}.items() <= json.loads(row).items()


def test_a_worker_sends_a_file_after_its_pages(reader: DocumentReader) -> None:
    found = messages(reader, Task("a.pdf", "sha", PDF), "text")
    assert [message[0] for message in found] == ["decoded", "page"] * 3 + ["file", "end"]
    assert {message[2] for message in found if message[0] == "page"} == {None}


def test_a_worker_sends_no_file_if_no_page_could_be_read(reader: DocumentReader) -> None:
    error, end = messages(reader, Task("a.png", "sha", b"no image"), "text")
    assert error[:3] == ("error", None, "UnreadableImageError")
    assert end == ("end",)


@pytest.mark.parametrize("call", [schema, lambda: _write_parquet(iter(()), Path("x.parquet"))], ids=["schema", "shard"])
def test_without_pyarrow_parquet_names_the_package(monkeypatch: pytest.MonkeyPatch, call: Callable[[], Any]) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(OutputError, match="Parquet needs pyarrow: pip install"):
        call()
