"""The options of `ocr-onnx batch`, each declared once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from ocr_onnx.declarations import OptionRecord, option
from ocr_onnx.runtime.threads import cpu_count

ShardFormat: TypeAlias = Literal["jsonl", "parquet"]

MEGABYTE = 2**20


@dataclass(frozen=True, slots=True)
class BatchOptions(OptionRecord):
    """The options of a batch. Raises OptionError for a value out of range."""

    workers: int | None = option(
        "Number of processes, each of which reads one page at a time. Default: one for each CPU core.",
        default=None,
        minimum=1,
        maximum=1024,
    )
    page_timeout: float = option(
        "Time limit for decoding a page and for reading it, in seconds each. A page beyond it is recorded as failed.",
        default=300,
        minimum=0.1,
        maximum=86_400,
    )
    page_memory: int = option(
        "Memory that a page may take in a worker, and in its decoder, in megabytes, in addition to the models. A page beyond it is "
        "recorded as failed.",
        default=4096,
        minimum=64,
        maximum=2**20,
    )
    shard_pages: int = option("Number of pages of a shard.", default=1000, minimum=1, maximum=1_000_000)

    @property
    def processes(self) -> int:
        """The number of workers."""
        return self.workers or cpu_count()
