"""Check that memory does not grow over many pages of a folder or a PDF: docs/benchmarks.md.

    python -m benchmarks.memory
    python -m benchmarks.memory --images 300 --pages 100 --no-write

The inputs are made for the run: a folder of pictures with one line each, in up to 200 different sizes; pages of 300 to 1,500
pixels a side, each of another size, read in both modes with detection at most 960 pixels a side; and a PDF of scanned pages with three lines.
The default models are loaded. Peaks are the kernel's (VmHWM), of a process that does nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import click
import cv2
import numpy as np
import PIL.Image

from benchmarks import records
from benchmarks.machine import circumstances
from benchmarks.runners.protocol import peak
from ocr_onnx import OCR, DetectionOptions, OCROptions
from ocr_onnx.runtime.provider_specs import Mode

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- memory: make memory -->\n", "<!-- end of memory -->\n"

WARM = 50
"""Pages after which memory must stay level."""
ALLOWED = 0.05
"""What it may still grow by."""

SIZES = 200
MIXED, SIDE = (300, 1501), 960
HELD = 3
"""Pages in memory at once."""
PDF_PAGE = (400, 300)
"""Pixels of a scanned page; with 144 dots an inch it is rendered at just that."""


@dataclass(frozen=True, slots=True)
class Course:
    """Memory over the pages of one input."""

    name: str
    peaks: tuple[int, ...]
    """KiB, the highest so far, after each page."""

    @property
    def growth(self) -> float:
        """From the peak of the first pages to that of all."""
        return self.peaks[-1] / self.peaks[min(WARM, len(self.peaks)) - 1] - 1

    def row(self) -> str:
        """Its line of the table."""
        points = (self.peaks[0], self.peaks[min(WARM, len(self.peaks)) - 1], self.peaks[-1])
        peaks = " | ".join(f"{peak / 1024:.0f}" for peak in points)
        return f"| {self.name} | {len(self.peaks)} | {peaks} | {self.growth:+.1%} |"


def picture(number: int, size: tuple[int, int], lines: int) -> PIL.Image.Image:
    """A page with its number on each line."""
    page = np.full((size[1], size[0], 3), 255, np.uint8)
    for line in range(lines):
        at = (10, (line + 1) * size[1] // (lines + 1) + 8)
        cv2.putText(page, f"Page {number} line {line}", at, cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 0), 2, cv2.LINE_AA)
    return PIL.Image.fromarray(page)


def make_folder(folder: Path, count: int) -> None:
    """Pictures of one line, 250 to 320 wide and 40 to 100 high."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    sizes = [(int(draw.integers(250, 321)), int(draw.integers(40, 101))) for _ in range(SIZES)]
    for number in range(count):
        picture(number, sizes[number % SIZES], 1).save(folder / f"{number}.png")


def make_mixed(folder: Path, count: int) -> None:
    """Pages of one to eight lines, each of another size; first as many of the largest as predict_iter holds at once."""
    folder.mkdir()
    draw = np.random.default_rng(0)
    largest = MIXED[1] - 1
    for number in range(count):
        size = (int(draw.integers(*MIXED)), int(draw.integers(*MIXED)))
        size, lines = ((largest, largest), 8) if number < HELD else (size, int(draw.integers(1, 9)))
        picture(number, size, lines).save(folder / f"{number}.jpg")


def make_pdf(path: Path, count: int) -> None:
    """A document of scanned pages."""
    pages: Iterator[PIL.Image.Image] = (picture(number, PDF_PAGE, 3) for number in range(count))
    next(pages).save(path, "PDF", resolution=144, save_all=True, append_images=pages)


def measure(path: str, side: int | None, mode: Mode) -> None:
    """Read `path` page by page and print the highest memory after each."""
    options = OCROptions.high_performance() if mode == "high-performance" else OCROptions()
    if side is not None:
        options = replace(options, detection=DetectionOptions(limit_side_len=side, limit_type="max"))
    ocr = OCR(options, mode=mode)
    click.echo(str(ocr.placement), err=True)
    for result in ocr.predict_iter(path):
        if not result.lines:
            raise click.ClickException(f"{result.source.path}: nothing was read")
        click.echo(peak())


def course(name: str, path: Path, *options: str) -> Course:
    """The memory of a process of its own that reads `path`."""
    command = [sys.executable, "-m", "benchmarks.memory", "--measure", str(path), *options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return Course(name, tuple(map(int, done.stdout.split())))


def section(courses: list[Course], options: str) -> str:
    """The part of docs/benchmarks.md."""
    rows = "\n".join(each.row() for each in courses)
    return f"""
`python -m benchmarks.memory{options}` on {circumstances()}:

| input | pages | peak after page 1, MiB | after page {WARM} | at the end | growth after page {WARM} |
|---|--:|--:|--:|--:|--:|
{rows}

"""


@click.command()
@click.option("--images", default=5000, show_default=True, type=click.IntRange(0), help="Pictures in the folder.")
@click.option("--pages", default=600, show_default=True, type=click.IntRange(0), help="Pages of the PDF.")
@click.option("--mixed", default=2000, show_default=True, type=click.IntRange(0), help="Pages of mixed sizes.")
@click.option("--write/--no-write", default=True, help="Write docs/benchmarks.md.")
@click.option("--measure", "path", hidden=True)
@click.option("--side", type=int, hidden=True)
@click.option("--mode", default="standard", hidden=True)
def main(path: str | None, side: int | None, mode: Mode, write: bool, **counts: int) -> None:
    """Measure, print, and fail where memory grows."""
    if path is not None:
        measure(path, side, mode)
        return
    images, mixed, pages = (counts[name] for name in ("images", "mixed", "pages"))
    courses = []
    with tempfile.TemporaryDirectory() as temporary:
        if images:
            make_folder(folder := Path(temporary) / "folder", images)
            courses.append(course("folder of pictures", folder))
        if mixed:
            make_mixed(folder := Path(temporary) / "mixed", mixed)
            for each in get_args(Mode):
                name = f"pages of mixed sizes, detection at most {SIDE}, {each} mode"
                courses.append(course(name, folder, "--side", str(SIDE), "--mode", each))
        if pages:
            make_pdf(document := Path(temporary) / "document.pdf", pages)
            courses.append(course("PDF", document))
    standard = (images, mixed, pages) == (5000, 2000, 600)
    options = "" if standard else f" --images {images} --mixed {mixed} --pages {pages}"
    part = section(courses, options)
    click.echo(part)
    if write:
        TARGET.write_text(records.with_part(TARGET.read_text("utf-8"), BEGIN, part, END), "utf-8")
    sys.exit(any(each.growth > ALLOWED for each in courses))


if __name__ == "__main__":
    main()
