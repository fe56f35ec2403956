"""Read documents with Ray Data: `OCRActor` for `Dataset.map_batches`, and `ocr-onnx batch --engine ray`.

Needs pip install 'ocr-onnx[cpu,ray]' on each machine.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ocr_onnx.batch.journal import Entry
from ocr_onnx.batch.listing import Document
from ocr_onnx.batch.output import Output
from ocr_onnx.batch.pool import Pool
from ocr_onnx.batch.reader import DocumentReader, EngineSettings, Task, row_of
from ocr_onnx.batch.runner import Job, Runner, pending
from ocr_onnx.batch.settings import BatchOptions
from ocr_onnx.batch.shards import schema
from ocr_onnx.errors import InputError, OCRError
from ocr_onnx.installation import requirement
from ocr_onnx.options import InputOptions
from ocr_onnx.pipeline import OCR
from ocr_onnx.runtime.threads import cpu_count

if TYPE_CHECKING:
    import pyarrow as pa

PART_DOCUMENTS, PART_BYTES = 500, 2**28
"""Documents of one Ray dataset for each actor, and bytes of their descriptions, which have the content of a member of a compressed
archive."""


class OCRActor:
    """Reads the documents of a batch of rows: `dataset.map_batches(OCRActor, batch_format="pyarrow", batch_size=8, num_cpus=1, ...)`.

    The rows have the columns `bytes` and `path`, as from `ray.data.read_binary_files(paths, include_paths=True)`. There is a row
    for each page in the result, with the columns of `ocr-onnx batch --format parquet`, and `error`: null, or why the page, or the
    document if `page` is null, could not be read. The parameters are those of OCR, by `fn_constructor_kwargs`; a page takes one
    CPU core.
    """

    def __init__(self, *, batch: BatchOptions | None = None, **parameters: Any) -> None:
        engine = OCR(**{"cpu_threads": 1, **parameters})
        self._reader = DocumentReader(engine, engine.options, batch or BatchOptions())

    def __call__(self, documents: pa.Table) -> pa.Table:
        """Read documents; return a row for each page."""
        import pyarrow as pa

        columns = schema().append(pa.field("error", pa.string()))
        contents = zip(documents["path"].to_pylist(), documents["bytes"].to_pylist(), strict=True)
        return pa.Table.from_pylist([row for path, data in contents for row in self._rows(path, data)], columns)

    def _rows(self, path: str, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the rows of a document."""
        sha256 = hashlib.sha256(data).hexdigest()
        with closing(self._reader.read(Task(path, sha256, data))) as outcomes:
            for outcome in outcomes:
                if outcome.result is not None:
                    yield json.loads(row_of(outcome.result, sha256))
                elif outcome.error is not None:
                    page = None if outcome.index is None else outcome.index + 1
                    yield {"path": path, "sha256": sha256, "page": page, "error": str(outcome.error)}


class _Recorder:
    """In place of the journal and the output on another machine: records the calls, which the driver repeats."""

    file_format: str | None

    def __init__(self, file_format: str | None) -> None:
        self.file_format, self.journal = file_format, self
        self.calls: list[tuple[str, tuple[Any, ...]]] = []

    def is_complete(self, _: Document) -> bool:
        """Return False: the driver sends no other documents."""
        return False

    def save(self) -> None:
        """Do nothing: the driver saves."""

    def begin(self, *arguments: Any) -> Entry:
        """Record the call; no page is finished."""
        self.calls.append(("begin", arguments))
        return Entry(0, None, frozenset())

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.calls.append((name, arguments))


def _replay(calls: Iterable[tuple[str, tuple[Any, ...]]], output: Output) -> None:
    """Repeat the calls for one document. Pages that an earlier run finished stay as they are."""
    entry: Entry | None = None
    for name, arguments in calls:
        if name == "begin":
            entry = output.journal.begin(*arguments)
            if entry is None:
                return
        elif name == "write_file":
            output.write_file(*arguments)
        elif name in {"supersede", "fail_document"}:
            getattr(output.journal, name)(*arguments)
        elif entry is not None and not (name in {"add_page", "add_error"} and arguments[1] in entry.finished):
            getattr(output.journal, name)(entry.id, *arguments[1:])


class _DocumentActor:
    """Reads whole documents as a local run does: in a worker process that a page can crash, and that has the page's limits."""

    def __init__(self, settings: EngineSettings, file_format: str | None, options: InputOptions) -> None:
        one = replace(settings, batch=replace(settings.batch, workers=1))
        self._pool: Pool[Job] = Pool(one, file_format)
        self._file_format, self._options = file_format, options

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Read the document of a row; return the calls to repeat."""
        document: Document = pickle.loads(row["document"])  # noqa: S301 from our own driver
        recorder: Any = _Recorder(self._file_format)
        Runner(recorder, self._pool, self._options, lambda: None).run(iter([document]))
        return {"calls": pickle.dumps(recorder.calls)}


@dataclass(frozen=True, slots=True)
class RayEngine:
    """Reads documents with as many actors of Ray as the batch has workers; they load the models once for many documents."""

    settings: EngineSettings
    options: InputOptions
    file_format: str | None = None
    address: str | None = None
    """The address of the cluster, or "auto"; None: start Ray on this machine."""

    def run(self, output: Output, documents: Iterable[Document | InputError], tick: Callable[[], None]) -> None:
        """Read all documents that are not complete. Raises OutputError, and OCRError if Ray is missing or cannot start."""
        try:
            import ray.data
        except ImportError as error:
            raise OCRError(f"--engine ray needs Ray: pip install {requirement('cpu,ray')}") from error
        cpus = {} if self.address else {"num_cpus": max(self.settings.batch.processes, cpu_count()) + 1}
        try:
            # Standard error has the lines of progress.
            logging.getLogger("ray.data").setLevel(logging.WARNING)
            ray.init(
                self.address or "local",
                ignore_reinit_error=True,
                log_to_driver=False,
                logging_level=logging.WARNING,
                **cpus,
            )
        except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
            raise OCRError(
                f"Ray does not start: {str(error).rstrip('.')}; check --address and the cluster's token (RAY_AUTH_TOKEN), or start a "
                "cluster with 'ray start --head'"
            ) from error
        try:
            for part in self._parts(pending(documents, output.journal)):
                for row in self._read(part).iter_rows():
                    _replay(pickle.loads(row["calls"]), output)  # noqa: S301 from our own actors
                    output.save()
                    tick()
        except ray.exceptions.RayError as error:
            raise OCRError(f"Ray has stopped: {error}; run the same command again to continue") from error
        finally:
            ray.shutdown()

    def _read(self, part: Sequence[bytes]) -> Any:
        """Return a dataset that reads documents, each as a block, so that an actor that ends takes no other document along."""
        import ray

        ray.data.DataContext.get_current().enable_progress_bars = False
        settings = self.settings
        on_gpu = (settings.request.device or "").startswith("gpu")
        return ray.data.from_items([{"document": each} for each in part], override_num_blocks=len(part)).map(
            _DocumentActor,
            fn_constructor_args=(settings, self.file_format, self.options),
            compute=ray.data.ActorPoolStrategy(size=min(settings.batch.processes, len(part))),
            num_cpus=settings.request.cpu_threads or 1,
            num_gpus=int(on_gpu),
        )

    def _parts(self, documents: Iterable[Document]) -> Iterator[list[bytes]]:
        """Yield the pickled documents of each dataset: enough for all actors, and at most PART_BYTES."""
        part: list[bytes] = []
        size = 0
        for document in documents:
            part.append(pickle.dumps(document))
            size += len(part[-1])
            if len(part) == PART_DOCUMENTS * self.settings.batch.processes or size > PART_BYTES:
                yield part
                part, size = [], 0
        if part:
            yield part
