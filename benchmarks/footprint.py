"""Measure the memory of one page: large pages, and each installed detector by itself: docs/benchmarks.md.

    python -m benchmarks.footprint

Peaks are the kernel's (VmHWM), of a process that does nothing else. The bytes per pixel of a detector are what three runs
add to the peak.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import click
import cv2
import numpy as np

from benchmarks import records
from benchmarks.machine import circumstances
from benchmarks.runners.protocol import peak
from benchmarks.versions import VERSION_5
from ocr_onnx import OCR
from ocr_onnx.inputs import sources
from ocr_onnx.models import store, zoo
from ocr_onnx.runtime import memory
from ocr_onnx.runtime.session import Session
from ocr_onnx.runtime.threads import cpu_count

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- footprint: python -m benchmarks.footprint -->\n", "<!-- end of footprint -->\n"

DENSE = ROOT / "tests" / "pages" / "dense.png"
PAGES = {"A4 at 200 dpi": (1654, 2339), "A4 at 300 dpi": (2480, 3508), "10000 x 10000": (10000, 10000)}
"""Width and height."""

SIDES = (2048, 4000)
"""Of the squares on which a detector is measured: one whose memory is kept for the next run, and the largest."""

RESET_PEAK = "5"
"""What makes Linux count a process's peak from what it holds: proc(5), clear_refs."""


def make_page(path: Path, size: tuple[int, int]) -> None:
    """A page full of text, as a file."""
    tile = next(iter(sources.read_pages(DENSE))).image
    height, width = tile.shape[:2]
    whole = np.tile(tile, (size[1] // height + 1, size[0] // width + 1, 1))
    cv2.imwrite(str(path), whole[: size[1], : size[0]])


def measure_page(path: str) -> None:
    """Read a page with all default models and print the peak in KiB."""
    lines = sum(len(result.lines) for result in OCR(models=VERSION_5).predict_iter(path))
    click.echo(f"{peak()} {lines}")


def measure_detector(name: str, side: int) -> None:
    """Run a detector on squares of so many pixels a side and print the bytes that a pixel took."""
    run = Session(store.find(name), threads=cpu_count())
    run(np.zeros((1, 3, 64, 64), np.float32))
    tensor = np.zeros((1, 3, side, side), np.float32)
    tensor += 0.5
    # What loading left behind would be taken again, and not be counted.
    memory.trim_heap()
    Path("/proc/self/clear_refs").write_text(RESET_PEAK)
    before = peak()
    for _ in range(3):
        run(tensor)
    click.echo(f"{(peak() - before) * 1024 / side**2:.0f}")


def measured(*arguments: str) -> str:
    """What a process of its own prints."""
    command = [sys.executable, "-m", "benchmarks.footprint", *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT).stdout.strip()


def section() -> str:
    """The part of docs/benchmarks.md."""
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        for name, size in PAGES.items():
            make_page(path := Path(temporary) / "page.png", size)
            kilobytes, lines = measured("--page", str(path)).split()
            megapixels = size[0] * size[1] / 1e6
            rows.append(f"| {name} | {megapixels:.1f} | {lines} | {int(kilobytes) / 1024:.0f} |")
    detectors = [s for s in zoo.models().values() if s.task == "text_detection" and store.path_of(s.name).is_file()]
    found = [
        f"| {s.name} | {' | '.join(measured('--detector', s.name, str(side)) for side in SIDES)} | {s.memory} |"
        for s in detectors
    ]
    return "\n".join(
        [
            "",
            f"`python -m benchmarks.footprint` on {circumstances()}:",
            "",
            "| page | megapixels | lines | peak, MiB |",
            "|---|--:|--:|--:|",
            *rows,
            "",
            f"| detector | bytes per pixel at {' | at '.join(f'{side} x {side}' for side in SIDES)} | estimate used |",
            "|---|--:|--:|--:|",
            *found,
            "",
        ]
    )


@click.command(help=__doc__)
@click.option("--page", hidden=True)
@click.option("--detector", type=(str, int), hidden=True)
def main(page: str | None, detector: tuple[str, int] | None) -> None:
    """Measure and write."""
    if page is not None:
        measure_page(page)
    elif detector is not None:
        measure_detector(*detector)
    else:
        part = section()
        click.echo(part)
        TARGET.write_text(records.with_part(TARGET.read_text("utf-8"), BEGIN, part, END), "utf-8")


if __name__ == "__main__":
    main()
