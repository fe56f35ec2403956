"""Write the results of pages as shards: files of JSON lines or Parquet, each complete or absent.

A shard is written under a temporary name, recorded in the journal, and renamed. If the process ends in between, `recover`
renames the shards that the journal has, and deletes the others, whose pages still wait in the journal.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from ocr_onnx.batch.journal import Journal, database_errors
from ocr_onnx.batch.settings import ShardFormat
from ocr_onnx.errors import OutputError
from ocr_onnx.installation import requirement
from ocr_onnx.outputs.saving import output_errors

ROW_GROUP = 100
"""Rows of a row group in Parquet, which are in memory at a time."""

PART = ".part"

NAME = re.compile(r"(\d+)\.(jsonl|parquet)")

PAGES = "pages"
"""The folder of the shards."""


def shard_path(folder: Path, number: int, kind: ShardFormat) -> Path:
    """Return the path of a shard in an output folder."""
    return folder / PAGES / f"{number:06}.{kind}"


def write_shards(journal: Journal, kind: ShardFormat, pages: int, *, rest: bool = False) -> None:
    """Write the waiting pages as shards of `pages` pages; with `rest`, also those that fill no shard. Raises OutputError."""
    while (waiting := journal.waiting_pages()) >= pages or (rest and waiting):
        _write_shard(journal, kind, min(waiting, pages))


def _write_shard(journal: Journal, kind: ShardFormat, pages: int) -> None:
    number = journal.next_shard()
    target = shard_path(journal.folder, number, kind)
    part = target.with_name(f".{target.name}{PART}")
    try:
        with output_errors(part), database_errors(journal.folder):
            rows = journal.waiting_rows(pages)
            _write_parquet(rows, part) if kind == "parquet" else _write_lines(rows, part)
            journal.add_shard(number, pages, digest(part, sync=True))
            part.replace(target)
            _sync_folder(target.parent)
    except OutputError:
        # On a full disk, the part would keep the space. Once the shard is in the journal, `recover` renames it.
        if number == journal.next_shard():
            part.unlink(missing_ok=True)
        raise


def _write_lines(rows: Iterable[str], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{row}\n" for row in rows)


def _write_parquet(rows: Iterator[str], path: Path) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise _missing() from error
    columns = schema()
    with pq.ParquetWriter(path, columns, compression="zstd") as writer:
        while group := [json.loads(row) for row in islice(rows, ROW_GROUP)]:
            writer.write_table(pa.Table.from_pylist(group, columns))


def _missing() -> OutputError:
    return OutputError(f"Parquet needs pyarrow: pip install {requirement('batch')}")


def schema() -> Any:
    """Return the columns of Parquet as a pyarrow.Schema; docs/scaling.md documents them. Raises OutputError without pyarrow."""
    try:
        import pyarrow as pa
    except ImportError as error:
        raise _missing() from error
    quad = pa.list_(pa.list_(pa.int32()))
    word = pa.struct([("text", pa.string()), ("score", pa.float64()), ("quad", quad)])
    line = pa.struct(
        [
            *(("text", pa.string()), ("score", pa.float64()), ("quad", quad)),
            *(("model", pa.string()), ("words", pa.list_(word))),
        ]
    )
    rows = pa.list_(pa.list_(line))
    block = pa.struct([("kind", pa.string()), ("text", pa.string()), ("quad", quad), ("rows", rows)])
    return pa.schema(
        [
            *(("path", pa.string()), ("sha256", pa.string()), ("page", pa.int32()), ("pages", pa.int32())),
            *(("width", pa.int32()), ("height", pa.int32()), ("resolution", pa.float64()), ("scale", pa.float64())),
            *(("angle", pa.int32()), ("from_pdf", pa.bool_()), ("text", pa.string())),
            *(("lines", pa.list_(line)), ("blocks", pa.list_(block))),
            ("warnings", pa.list_(pa.string())),
        ]
    )


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a shard."""
    if path.suffix == ".jsonl":
        with path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)
        return
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(ROW_GROUP):
            yield from batch.to_pylist()


def recover(journal: Journal) -> None:
    """Rename the shards that the journal has, and delete parts of others, after a run that was killed."""
    numbers = {number for number, _, _ in journal.shards()}
    for part in (journal.folder / PAGES).glob(f".*{PART}"):
        found = NAME.fullmatch(part.name.removeprefix(".").removesuffix(PART))
        if found is None:
            continue
        if int(found[1]) in numbers:
            part.replace(part.with_name(found[0]))
        else:
            part.unlink()


def digest(path: Path, *, sync: bool = False) -> str:
    """Return the sha256 of a file; with `sync`, after its content is durable."""
    with path.open("rb") as file:
        if sync:
            os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make renamings in a folder durable, if the file system supports it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
