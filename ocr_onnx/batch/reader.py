"""Read one document after the other on one core: decode its pages in a bounded process, and run the pipeline on each."""

from __future__ import annotations

import dataclasses
import json
import math
import resource
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import cv2

from ocr_onnx import __version__
from ocr_onnx.batch.settings import MEGABYTE, BatchOptions
from ocr_onnx.errors import InputError, NotEnoughMemoryError, OCRError
from ocr_onnx.inputs.decoding import Decoder
from ocr_onnx.inputs.decoding_client import DecodeLimits
from ocr_onnx.inputs.documents import is_pdf
from ocr_onnx.options import InputOptions, OCROptions
from ocr_onnx.outputs import native
from ocr_onnx.paddle.assembly import Request, assemble, with_values
from ocr_onnx.pipeline import OCR, OUT_OF_MEMORY
from ocr_onnx.results import OCRResult
from ocr_onnx.types import Page


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """How a worker makes its pipeline."""

    request: Request
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """Options for reading inputs, by their names on the command line."""
    batch: BatchOptions = field(default_factory=BatchOptions)

    def reader(self) -> DocumentReader:
        """Make the pipeline and its decoder, on one core unless the request says otherwise. Raises OCRError."""
        assembly = assemble(replace(self.request, cpu_threads=self.request.cpu_threads or 1))
        return DocumentReader(assembly.engine, with_values(assembly.options, self.inputs), self.batch)


@dataclass(frozen=True, slots=True)
class Task:
    """Pages of a document to read."""

    name: str
    sha256: str
    data: bytes
    pages: tuple[int, ...] | None = None
    """Their indices, from 0; None: all."""
    limit: int | None = None
    """The number of pages after which to stop."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a page; `result` and `error` are None if it is decoded and will now be read."""

    index: int | None
    """From 0; None: the error concerns the document as a whole."""
    count: int | None = None
    """The number of pages of the document; None: it is a single image, or not known."""
    result: OCRResult | None = None
    error: OCRError | None = None


class DocumentReader:
    """A pipeline with its decoder, in a process of its own: OpenCV uses one thread. Raises OCRError if no decoder starts."""

    def __init__(self, engine: OCR, options: OCROptions, batch: BatchOptions) -> None:
        self.engine: OCR = engine
        self.options: OCROptions = options
        # One page a core: several processes share the cores.
        cv2.setNumThreads(1)
        limits = DecodeLimits(
            memory=batch.page_memory * MEGABYTE,
            cpu_seconds=math.ceil(batch.page_timeout),
            wall_seconds=batch.page_timeout,
            max_pixels=options.input.max_pixels,
        )
        self._decoder = Decoder(limits, 1)

    def close(self) -> None:
        """End the decoder's process."""
        self._decoder.close()

    def described(self) -> dict[str, Any]:
        """Return what determines the results, in JSON types: version, models and options."""
        options = dataclasses.asdict(self.options)
        del options["input"]["pdf_password"]
        models = {task: metadata.name for task, metadata in self.engine.metadata().items()}
        described: dict[str, Any] = json.loads(
            json.dumps({"ocr_onnx": __version__, "models": models, "options": options})
        )
        return described

    def read(self, task: Task) -> Generator[Outcome, None, None]:
        """Yield each page of a document twice: as soon as it is decoded, and when it is read; or once, with its error."""
        begun = 0
        kind: Literal["image", "pdf"] = "pdf" if is_pdf(task.data) else "image"
        with closing(self._decoder.pages(task.data, kind, _narrowed(self.options.input, task.pages))) as pages:
            try:
                for page in pages:
                    index = page.page - 1 if isinstance(page, InputError) and page.page else _index(page)
                    if task.pages is not None and index is not None and index not in task.pages:
                        continue
                    yield from self._outcomes(page, index, task)
                    begun += 1
                    if begun == task.limit:
                        break
            except InputError as error:
                yield Outcome(None, error=error)

    def _outcomes(self, page: Page | InputError, index: int | None, task: Task) -> Iterator[Outcome]:
        if isinstance(page, InputError):
            yield Outcome(index, error=page)
            return
        yield Outcome(index, page.count)
        try:
            # The content is what a searchable PDF is made of.
            named = replace(page, path=task.name, content=task.data)
            yield Outcome(index, page.count, self.engine.read(named, self.options))
        except OCRError as error:
            yield Outcome(index, page.count, error=error)
        except MemoryError:
            yield Outcome(index, page.count, error=NotEnoughMemoryError(OUT_OF_MEMORY))


def _index(page: Page | InputError) -> int | None:
    return None if isinstance(page, InputError) else page.index or 0


def _narrowed(options: InputOptions, pages: tuple[int, ...] | None) -> InputOptions:
    return options if pages is None else replace(options, pdf_pages=",".join(str(index + 1) for index in pages))


def row_of(result: OCRResult, sha256: str) -> str:
    """Return the row of a page in the shards, as JSON: the format `native`, and the sha256 of the document."""
    content = native.to_dict(result)
    return json.dumps({"path": content.pop("path"), "sha256": sha256, **content}, ensure_ascii=False)


def limit_memory(more: int) -> None:
    """Limit the address space of this process to `more` bytes above the present use."""
    used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = used + more
    resource.setrlimit(resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))
