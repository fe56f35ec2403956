"""Check the output of a batch against its journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ocr_onnx.batch import shards
from ocr_onnx.batch.journal import Journal
from ocr_onnx.batch.output import file_of
from ocr_onnx.batch.settings import ShardFormat


def problems(journal: Journal) -> Iterator[str]:
    """Yield a sentence for each difference between the journal and the files; none if each page is there exactly once."""
    if damage := list(journal.damage()):
        yield f"the journal is damaged: {damage[0]}"
        return
    settings = journal.settings()
    counts = journal.counts()
    yield from (
        f"{name} is not complete: run the same command again, with it among the inputs" for name in journal.open()
    )
    if counts.waiting:
        yield f"{counts.waiting} pages are not part of a shard yet: run the same command again"
    yield from (f"{name}: a page is missing" for name in journal.lacking())
    if (kind := settings.get("format")) is not None:
        known = {shards.shard_path(journal.folder, number, kind) for number, _, _ in journal.shards()}
        for number, pages, sha256 in journal.shards():
            yield from _problems_of_shard(journal, number, pages, sha256, kind)
        found = {path for path in (journal.folder / shards.PAGES).glob("*") if shards.NAME.fullmatch(path.name)}
        yield from (f"{path} is no shard of this batch: delete it" for path in sorted(found - known))
    if (file_format := settings.get("files")) is not None:
        for name, sha256 in journal.files():
            path = file_of(journal.folder, name, file_format)
            if not path.is_file() or shards.digest(path) != sha256:
                yield f"{path} is missing or has changed"


def _problems_of_shard(journal: Journal, number: int, pages: int, sha256: str, kind: ShardFormat) -> Iterator[str]:
    path = shards.shard_path(journal.folder, number, kind)
    if not path.is_file() or shards.digest(path) != sha256:
        yield f"{path} is missing or has changed"
        return
    rows = Counter((row["path"], row["sha256"], row["page"] or 1) for row in shards.read_rows(path))
    if rows.total() != pages:
        yield f"{path} has {rows.total()} pages instead of {pages}"
    for (name, content, page), times in rows.items():
        if times != 1 or journal.shard_of(name, content, page) != number:
            yield f"{path}: page {page} of {name} is there twice, or unknown to the journal"
