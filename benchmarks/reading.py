"""Measure the text in reading order on olmOCR-bench and DocLayNet: benchmarks/results/reading.md.

    python -m benchmarks.reading --data FOLDER --cache FOLDER

- olmOCR-bench: assertions about the text of pages, rendered at 200 dpi. Each page is recognized once with each pair of models, and
  its lines are ordered as PaddleOCR does and column by column. Tesseract and RapidOCR, if they are installed, read the same
  images with their default settings.
  A label can differ from the page: the assertions whose texts are in the PDF's own text, in any order, are about all that can
  hold for the pages that have one.
- DocLayNet: the text cells of PDF pages in random order. The order of the cells in the PDF, which is mostly that of reading, is
  the reference; the measure is the share of cells that follow the cell that they follow there.
- The time of ordering pages of 100, 1,000 and 5,000 lines.

Line orientation is off: rendered pages have no upside-down lines.
"""

from __future__ import annotations

import json
import random
import re
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Self

import click
import numpy as np
import pypdfium2

from benchmarks import libraries, olmocr, records
from benchmarks.machine import circumstances
from benchmarks.runners.process import ROOT, Runner
from benchmarks.runners.protocol import Settings
from ocr_onnx import OCR, InputOptions, Models, OCROptions, TextBox, TextLine
from ocr_onnx.inputs import sources
from ocr_onnx.models import store
from ocr_onnx.runtime.threads import cpu_count
from ocr_onnx.stages import geometry
from ocr_onnx.stages.blocks import find_blocks, text_of
from ocr_onnx.types import Columns

PAIRS = {
    "PP-OCRv6 small": Models("PP-OCRv6_small_det", "PP-OCRv6_small_rec"),
    "PP-OCRv5 mobile": Models("PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec"),
}

LEAST_LAYER = 200
"""The least number of characters of a page's own text; scans have a stamp or nothing."""

COUNTS = (100, 1000, 5000)
"""Lines of the pages whose ordering is timed."""

RUNS = 5

ATTRIBUTION = (
    "olmOCR-bench: Allen Institute for AI, https://huggingface.co/datasets/allenai/olmOCR-bench, ODC-BY 1.0; every third page of "
    "the splits named. DocLayNet: IBM, https://github.com/DS4SD/DocLayNet, CDLA-Permissive-1.0; 60 pages of the test set."
)


class Recognized(NamedTuple):
    """The lines of a page."""

    lines: list[TextLine]
    size: tuple[int, int]

    def in_columns(self) -> str:
        """The text column by column, without texts that have a low score."""
        least = OCROptions().recognition.score_thresh
        lines = [line for line in self.lines if line.score >= least]
        return text_of(find_blocks(lines, self.size, [line.columns for line in lines])[0], lines)

    def as_paddle(self) -> str:
        """The text in PaddleOCR's order."""
        return "\n".join(line.text for line in self.lines)


def recognize(ocr: OCR, path: Path) -> dict[str, Any]:
    """The size and the lines of a page, as JSON types."""
    (page,) = sources.read_pages(path, ocr.options.input)
    detected = ocr.detect_page(page, ocr.options)
    texts = ocr.recognize([crop for _, crop in detected.crops], ocr.options.recognition)
    height, width = detected.page.image.shape[:2]
    lines = [
        {
            "text": read.text,
            "score": read.score,
            "quad": box.quad.tolist(),
            "chars": read.columns.characters,
            "pos": read.columns.positions,
            "total": read.columns.total,
        }
        for (box, _), read in zip(detected.crops, texts, strict=True)
    ]
    return {"w": width, "h": height, "lines": lines}


def recognized(content: Mapping[str, Any]) -> Recognized:
    """A page from its JSON types."""
    return Recognized([_recognized_line(line) for line in content["lines"]], (content["w"], content["h"]))


def _recognized_line(line: Mapping[str, Any]) -> TextLine:
    columns = Columns(tuple(line["chars"]), tuple(line["pos"]), line["total"])
    return TextLine(line["text"], line["score"], TextBox(np.array(line["quad"], np.int32), 1.0), columns=columns)


def read_all(paths: Sequence[Path], models: Models, cache: Path) -> Iterator[Recognized]:
    """Recognize pages, each once: the result is kept in `cache`."""
    ocr = None
    cache.mkdir(parents=True, exist_ok=True)
    for path in paths:
        file = cache / libraries.file_name(path, ".json")
        if not file.is_file():
            options = OCROptions(use_textline_orientation=False, input=InputOptions(pdf_scale=libraries.DPI / 72))
            ocr = ocr or OCR(options, models=models)
            file.write_text(json.dumps(recognize(ocr, path), ensure_ascii=False), "utf-8")
        yield recognized(json.loads(file.read_text("utf-8")))


def is_complete(pages: Sequence[olmocr.Page], cache: Path, suffix: str = ".json") -> bool:
    """Whether all pages were read before."""
    return all((cache / libraries.file_name(page.path, suffix)).is_file() for page in pages)


def olmocr_scores(
    data: Path, cache: Path, others: OtherReaders, *, only_cached: bool
) -> dict[str, dict[str, list[int]]]:
    """Assertions that hold, and all, by way of reading and split."""
    scores: dict[str, dict[str, list[int]]] = {}
    for split in olmocr.SPLITS:
        pages = olmocr.pages(data / "olmocr" / split)
        for name, models in PAIRS.items():
            is_here = all(
                store.path_of(str(each)).is_file() for each in (models.text_detection, models.text_recognition)
            )
            if not is_complete(pages, cache / name) and (only_cached or not is_here):
                click.echo(f"SKIPPED: {name}; see ocr-onnx models pull", err=True)
                continue
            for page, found in zip(pages, read_all([p.path for p in pages], models, cache / name), strict=True):
                for order, text in (("columns", found.in_columns()), ("paddle", found.as_paddle())):
                    _add(scores, f"{name}, {order}", split, page, text)
        for name in others.names():
            if not only_cached or is_complete(pages, cache / name, ".txt"):
                for page in pages:
                    _add(scores, name, split, page, others.text(name, page.path))
        _add_own_text(scores, split, pages)
        click.echo(f"{split}: done", err=True)
    return scores


def _add_own_text(scores: dict[str, dict[str, list[int]]], split: str, pages: Sequence[olmocr.Page]) -> None:
    for page in pages:
        if layer := text_layer(page.path):
            _count(scores, "the PDF's own text, in any order", split, page.attainable(layer), len(page.assertions))


def text_layer(path: Path) -> str:
    """The text of a PDF's page with words divided at line ends joined; empty if it is an image."""
    text = pypdfium2.PdfDocument(path)[0].get_textpage().get_text_bounded()
    return "" if len(text) < LEAST_LAYER else re.sub("[-\ufffe\x02]\r\n", "", text)


def _add(scores: dict[str, dict[str, list[int]]], way: str, split: str, page: olmocr.Page, text: str) -> None:
    _count(scores, way, split, page.passed(text), len(page.assertions))


def _count(scores: dict[str, dict[str, list[int]]], way: str, split: str, passed: int, total: int) -> None:
    score = scores.setdefault(way, {}).setdefault(split, [0, 0])
    score[0] += passed
    score[1] += total


class OtherReaders:
    """Tesseract and RapidOCR with their default settings, each started when it has to read; to be used in a `with`."""

    def __init__(self, home: Path, cache: Path) -> None:
        self._cache = cache
        self._peers = libraries.others(home)
        self._runners: dict[str, Runner] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def names(self) -> list[str]:
        """The readers that are installed."""
        return list(self._peers)

    def text(self, name: str, path: Path) -> str:
        """The text of a page; it is kept, and read once."""
        file = self._cache / name / libraries.file_name(path, ".txt")
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._read(name, libraries.rendered(path, self._cache)), "utf-8")
        return file.read_text("utf-8")

    def _read(self, name: str, image: Path) -> str:
        if name not in self._runners:
            settings = Settings(detection="", recognition="", threads=cpu_count(), side=0)
            runner = Runner(self._peers[name], settings, self._cache / f"{name}.log")
            self._runners[name] = self._stack.enter_context(runner)
        return "\n".join(line["text"] for line in self._runners[name].ask(image)["lines"])


def doclaynet_pairs(folder: Path) -> dict[str, float]:
    """The share of cells that follow the same cell as in the PDF, over all pages: column by column, and in PaddleOCR's order."""
    kept: dict[str, int] = {"columns": 0, "paddle": 0}
    total = 0
    for file in sorted(folder.glob("*.json")):
        content = json.loads(file.read_text("utf-8"))
        metadata = content["metadata"]
        scale = np.array([metadata["original_width"], metadata["original_height"]]) / 1025 * libraries.DPI / 72
        cells = [_line(cell, scale) for cell in content["cells"] if cell["text"].strip()]
        numbers = list(range(len(cells)))
        random.Random(0).shuffle(numbers)  # noqa: S311 no secret
        mixed = [cells[i] for i in numbers]
        size = (round(1025 * scale[0]), round(1025 * scale[1]))
        order = [numbers[i] for i in find_blocks(mixed, size)[1]]
        ranks = {id(box): i for box, i in zip((line.box for line in mixed), numbers, strict=True)}
        paddle = [ranks[id(box)] for box in geometry.reading_order([line.box for line in mixed])]
        kept["columns"] += _followers(order)
        kept["paddle"] += _followers(paddle)
        total += max(len(cells) - 1, 0)
    return {name: count / total for name, count in kept.items()}


def _line(cell: Mapping[str, Any], scale: Any) -> TextLine:
    x, y, width, height = cell["bbox"]
    corners = np.array([[x, y], [x + width, y], [x + width, y + height], [x, y + height]]) * scale
    return TextLine(cell["text"], 1.0, TextBox(corners.round().astype(np.int32), 1.0))


def _followers(order: Sequence[int]) -> int:
    return sum(b == a + 1 for a, b in pairwise(order))


def times() -> dict[str, float]:
    """Milliseconds of processor time for a page of two columns, by its number of lines: the median of some runs."""
    return {str(count): statistics.median(_time(count) for _ in range(RUNS)) for count in COUNTS}


def _time(count: int) -> float:
    lines = []
    for i in range(count):
        left, top = (i % 2) * 800, (i // 2) * 34
        quad = np.array([[left, top], [left + 740, top], [left + 740, top + 28], [left, top + 28]], np.int32)
        lines.append(TextLine("the river and its towns were quiet for most of a winter", 1.0, TextBox(quad, 1.0)))
    begun = time.process_time()
    text_of(find_blocks(lines, (1600, 17 * count))[0], lines)
    return (time.process_time() - begun) * 1000


def _share(score: Sequence[int] | None) -> str:
    return "not measured" if score is None else f"{100 * score[0] / score[1]:.1f} % ({score[0]} of {score[1]})"


def markdown(result: Mapping[str, Any]) -> str:
    """reading.md."""
    heads = ["text", *olmocr.SPLITS]
    rows = [[way, *(_share(splits.get(split)) for split in olmocr.SPLITS)] for way, splits in result["olmocr"].items()]
    pairs = ", ".join(f"{name} {100 * share:.1f} %" for name, share in result["doclaynet"].items())
    spent = ", ".join(f"{int(count):,} lines {ms:.0f} ms" for count, ms in result["milliseconds"].items())
    return "\n".join(
        [
            "# Reading order",
            "",
            f"Written by `python -m benchmarks.reading`. {result['circumstances']}.",
            "",
            f"Assertions of olmOCR-bench that hold, pages rendered at {libraries.DPI} dpi:",
            "",
            *(f"| {' | '.join(row)} |" for row in [heads, ["---", *["--:"] * len(olmocr.SPLITS)], *rows]),
            "",
            f"Cells of DocLayNet that follow the same cell as in the PDF: {pairs}.",
            "",
            f"Processor time for ordering and joining a page: {spent}.",
            "",
            ATTRIBUTION,
            "",
        ]
    )


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with olmocr and doclaynet.")
@click.option("--cache", type=click.Path(path_type=Path), required=True, help="The folder for recognized pages.")
@click.option(
    "--peers", type=click.Path(path_type=Path), default=ROOT / ".cache" / "peers", help="RapidOCR's environment."
)
@click.option("--only-cached", is_flag=True, help="Leave out what would have to be recognized.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/results.")
def main(data: Path, cache: Path, peers: Path, *, only_cached: bool, write: bool) -> None:
    """Measure, and write the result."""
    with OtherReaders(peers, cache) as others:
        scores = olmocr_scores(data, cache, others, only_cached=only_cached)
    result = {
        "circumstances": circumstances(),
        "olmocr": scores,
        "doclaynet": doclaynet_pairs(data / "doclaynet"),
        "milliseconds": times(),
        "attribution": ATTRIBUTION,
    }
    if write:
        records.keep("reading", result, markdown(result))
    click.echo(markdown(result))


if __name__ == "__main__":
    main()
