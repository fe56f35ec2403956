"""Measure chains on pages in two scripts: docs/chains.md.

python -m benchmarks.scripts --data FOLDER

Each page consists of images in one script above images in another. Its lines are detected once and read with each single
recognizer and with their chain. For each script, the best single recognizer is the one with the highest mean calibrated score; the
measure is the share of the characters it read that the chain read too, in the same order, line by line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import cv2
import numpy as np
from rapidfuzz.distance import LCSseq

from benchmarks import records
from ocr_onnx import OCR, Models, OCROptions
from ocr_onnx.inputs import sources
from ocr_onnx.models import store
from ocr_onnx.stages.recognizer_chain import calibrated
from ocr_onnx.types import Image, Page, Text

TARGET = Path(__file__).parents[1] / "docs" / "chains.md"
BEGIN, END = "<!-- figures of pages: make calibration -->\n", "<!-- end of figures of pages -->\n"

WIDTH = 1200
"""Pixels, of each image on a page."""


class Mixed(NamedTuple):
    """A page in two scripts."""

    scripts: Mapping[str, Sequence[str]]
    """The images of each script, from top to bottom."""
    models: tuple[str, ...]
    """The chain."""


PAGES = (
    Mixed(
        {"Chinese": ("1.jpg", "11.jpg", "12.jpg"), "Korean": ("korean_1.jpg",)},
        ("PP-OCRv6_small_rec", "korean_PP-OCRv3_mobile_rec"),
    ),
    Mixed(
        {"Latin": ("french_0.jpg", "ger_1.jpg", "ger_2.jpg"), "Japanese": ("japan_1.jpg", "japan_2.jpg")},
        ("latin_PP-OCRv3_mobile_rec", "japan_PP-OCRv3_mobile_rec"),
    ),
    Mixed(
        {"Latin": ("french_0.jpg", "ger_1.jpg", "ger_2.jpg"), "Japanese": ("japan_1.jpg", "japan_2.jpg")},
        ("latin_PP-OCRv3_mobile_rec", "PP-OCRv6_small_rec"),
    ),
)


def compose(folder: Path, mixed: Mixed) -> tuple[Image, list[int]]:
    """Return the page, and the row at which each script ends."""
    images: list[Image] = []
    ends: list[int] = []
    for names in mixed.scripts.values():
        for name in names:
            (page,) = sources.read_pages(folder / name)
            height = round(page.image.shape[0] * WIDTH / page.image.shape[1])
            images.append(np.asarray(cv2.resize(page.image, (WIDTH, height)), np.uint8))
        ends.append(sum(image.shape[0] for image in images))
    return np.concatenate(images), ends


def measure(folder: Path, mixed: Mixed) -> Iterator[list[str]]:
    """Yield a row for each script of a page."""
    image, ends = compose(folder, mixed)
    options = OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False)
    ocr = OCR(options, models=Models(text_recognition=mixed.models))
    found = ocr.detect_page(Page(image), options)
    rows = [int(box.quad[:, 1].mean()) for box, _ in found.crops]
    crops = [crop for _, crop in found.crops]
    chain = ocr.recognize(crops, options.recognition)
    singles = {
        name: OCR(options, models=Models(text_recognition=name)).recognize(crops, options.recognition)
        for name in mixed.models
    }
    for script, begin, end in zip(mixed.scripts, [0, *ends], ends, strict=False):
        members = [i for i, row in enumerate(rows) if begin <= row < end]
        name = best(singles, members)
        read = [(singles[name][i].text, chain[i].text) for i in members]
        same = sum(LCSseq.similarity(*pair) for pair in read)
        total = sum(len(text) for text, _ in read)
        yield [", then ".join(mixed.models), script, name, f"{100 * same / total:.1f} % of {total}"]


def best(singles: Mapping[str, Sequence[Text]], members: Sequence[int]) -> str:
    """The model that reads some lines with the highest calibrated scores."""
    return max(singles, key=lambda name: sum(calibrated(singles[name][i].score, name) for i in members))


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with the labelled sets.")
def main(data: Path) -> None:
    """Measure the pages whose models are on this machine, and write the table."""
    head = ["chain", "script", "best single model", "characters of its text that the chain read"]
    rows = [head, ["---", "---", "---", "--:"]]
    for mixed in PAGES:
        missing = [name for name in mixed.models if store.is_missing(name)]
        if missing:
            click.echo(f"SKIPPED: ocr-onnx models pull {' '.join(missing)}", err=True)
            continue
        rows += measure(data / "paddleocr_docimgs" / "doc" / "imgs", mixed)
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    TARGET.write_text(records.with_part(TARGET.read_text("utf-8"), BEGIN, f"\n{table}\n\n", END), "utf-8")
    click.echo(table)


if __name__ == "__main__":
    main()
