"""Measure the boxes of words against the words of PDFs: benchmarks/results/words.md.

    python -m benchmarks.words --data FOLDER

Pages of DocLayNet and of Chinese reports are rendered at 200 dpi and recognized. A word's reference is the nearest word of the same
text in the PDF, whose box spans the advances of its characters and the height of its font.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pypdfium2

from benchmarks import records
from benchmarks.machine import today
from ocr_onnx import OCR, InputOptions, OCROptions, Word
from ocr_onnx.stages.words import divide

DPI = 200

POINTS = 72
"""Points of a PDF per inch."""

CHINESE_PAGES = {"006.pdf": "9,24", "009.pdf": "3"}
"""Pages with much text of each report."""

NEAR = 4.0
"""The distance to the word in the PDF, relative to the height of the line, up to which the two are the same word."""

TITLES = {"doclaynet": "DocLayNet", "zh_pdf": "Chinese reports"}


class Box(NamedTuple):
    """An upright box, in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def center(self) -> tuple[float, float]:
        """Its center."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def overlap(self, other: Box) -> float:
        """The intersection over the union of two boxes."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        common = max(width, 0) * max(height, 0)
        return common / max(self.area + other.area - common, 1e-9)

    @property
    def area(self) -> float:
        """Its area."""
        return (self.right - self.left) * (self.bottom - self.top)


class Measured(NamedTuple):
    """One word."""

    overlap: float
    centered: bool
    """Whether the centers differ by at most half of the width of a character, along the line."""


def words_of_pdf(page: pypdfium2.PdfPage) -> dict[str, list[Box]]:
    """The words of a page, each with its boxes."""
    scale, height, text = DPI / POINTS, page.get_height(), page.get_textpage()
    count = text.count_chars()
    characters = [text.get_text_range(i, 1) or " " for i in range(count)]
    found: dict[str, list[Box]] = {}
    for members in divide([character[0] for character in characters]):
        boxes = np.array([text.get_charbox(i, loose=True) for i in members]) * scale
        (left, bottom), (right, top) = boxes[:, :2].min(axis=0).tolist(), boxes[:, 2:].max(axis=0).tolist()
        word = "".join(characters[i] for i in members)
        found.setdefault(word, []).append(Box(left, height * scale - top, right, height * scale - bottom))
    return found


def measured(word: Word, candidates: Sequence[Box]) -> Measured | None:
    """Compare a word with the nearest of the PDF's; None if there is none near."""
    box = Box(*word.box.min(axis=0).tolist(), *word.box.max(axis=0).tolist())
    line = box.bottom - box.top
    near = [each for each in candidates if math.dist(box.center, each.center) < NEAR * line]
    if not near:
        return None
    expected = min(near, key=lambda each: math.dist(box.center, each.center))
    character = (expected.right - expected.left) / len(word.text)
    return Measured(box.overlap(expected), abs(box.center[0] - expected.center[0]) <= character / 2)


def words_of(ocr: OCR, path: Path, pages: str | None) -> Iterator[Measured]:
    """The words of a file that are in the PDF too."""
    document = pypdfium2.PdfDocument(path)
    options = OCROptions(
        return_word_box=True,
        use_textline_orientation=False,
        input=InputOptions(pdf_scale=DPI / POINTS, pdf_pages=pages),
    )
    for result in ocr.predict_iter(str(path), options):
        expected = words_of_pdf(document[result.source.index or 0])
        for line in result.lines:
            width, height = np.ptp(line.box.quad, axis=0).tolist()
            if width > height:
                found = (measured(word, expected.get(word.text, ())) for word in line.words or ())
                yield from (each for each in found if each is not None)


def markdown(result: Mapping[str, Any]) -> str:
    """words.md."""
    rows = [
        f"| {TITLES[name]} | {values['words']:.0f} | {values['overlap']:.2f} | {100 * values['centered']:.1f} % |"
        for name, values in result["sets"].items()
    ]
    return "\n".join(
        [
            "# Boxes of words",
            "",
            f"`make bench-words`, {result['date']}: pages of PDFs at {DPI} dpi, read with the default models. Each word is",
            "compared with the nearest word of the same text in the PDF.",
            "",
            "| pages | words | median intersection over union | centers within half a character |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True), required=True, help="Folder with doclaynet and zh_pdf."
)
@click.option("--every", default=7, show_default=True, help="Use every N-th page of DocLayNet.")
def main(data: Path, every: int) -> None:
    """Measure the boxes of words, and store the result."""
    ocr = OCR(OCROptions(use_textline_orientation=False))
    files: dict[str, list[tuple[Path, str | None]]] = {
        "doclaynet": [(path, None) for path in sorted((data / "doclaynet").glob("*.pdf"))[::every]],
        "zh_pdf": [(data / "zh_pdf" / name, pages) for name, pages in CHINESE_PAGES.items()],
    }
    result = {}
    for name, paths in files.items():
        words = [word for path, pages in paths for word in words_of(ocr, path, pages)]
        result[name] = {
            "words": float(len(words)),
            "overlap": statistics.median(word.overlap for word in words),
            "centered": statistics.fmean(word.centered for word in words),
        }
        click.echo(f"{name}: {result[name]}")
    content = {"date": today(), "sets": result}
    records.keep("words", content, markdown(content))


if __name__ == "__main__":
    main()
