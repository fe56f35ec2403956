"""Measure how time and memory grow with pixels, decoded pixels, lines and cores: benchmarks/results/growth.md.

    python -m benchmarks.growth

Each point is a separate process, restricted to its cores before anything is loaded. Its time is the median of several calls
after a first one. Its memory is the growth of the peak (VmHWM) from just before the first call to the end. The exponent is the
slope of a least-squares line through the points on logarithmic axes: 1 is linear.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks import charts, records
from benchmarks.machine import circumstances
from benchmarks.runners.protocol import peak

ROOT = Path(__file__).parents[1]

MEGAPIXELS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
DECODED = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
LINES = (1, 3, 10, 30, 100, 300, 1000)
GRID = (50, 20)
"""Rows and columns of words on the page with most lines."""
CELL = (44, 104)
"""Height and width of a word's place, in pixels."""
CALLS = 3


@dataclass(frozen=True, slots=True)
class Point:
    """What one process measures."""

    kind: str
    size: float
    """Megapixels, lines, or cores."""
    cores: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One point's cost."""

    seconds: float
    cpu: float
    grown: float
    """MB."""
    found: int
    """Lines found, where lines are looked for."""


def words(count: int) -> Any:
    """A white page of 2080x2200 pixels with so many words, in as few columns as hold them, the columns far apart."""
    import cv2

    rows, columns = GRID
    height, width = CELL
    apart = columns // math.ceil(count / rows) * width
    page = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for number in range(count):
        at = (8 + number // rows * apart, 30 + number % rows * height)
        cv2.putText(page, f"w{number:03d}", at, cv2.FONT_HERSHEY_SIMPLEX, 0.9, (0, 0, 0), 2, cv2.LINE_AA)
    return page


def detection(size: float, _: Path) -> Callable[[], int]:
    """The detector on a square page of words, given to it in full."""
    import cv2

    from benchmarks.versions import VERSION_5
    from ocr_onnx import OCR, DetectionOptions, OCROptions

    side = round((size * 1e6) ** 0.5 / 32) * 32
    page = cv2.resize(words(GRID[0] * GRID[1]), (side, side), interpolation=cv2.INTER_AREA)
    ocr = OCR(OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False), models=VERSION_5)
    options = DetectionOptions(limit_side_len=side, limit_type="max")
    return lambda: len(ocr.detect(page, options))


def decoding(size: float, folder: Path, suffix: str) -> Callable[[], int]:
    """A file of a noisy gradient, read and decoded."""
    import cv2

    from ocr_onnx.inputs import sources

    height, width = round((size * 1e6 / 1.5) ** 0.5), round((size * 1e6 * 1.5) ** 0.5)
    gradient = np.linspace(0, 200, width)[None, :, None] + np.zeros((height, 1, 3))
    noise = np.random.default_rng(0).integers(0, 40, (height, width, 3))
    cv2.imwrite(path := str(folder / f"picture.{suffix}"), (gradient + noise).astype(np.uint8))
    del gradient, noise
    return lambda: sum(page.image.size > 0 for page in sources.read_pages(path))


def recognition(size: float, _: Path) -> Callable[[], int]:
    """A whole page of so many words, detected at half its size: at its full size neighbors join."""
    from benchmarks.versions import VERSION_5
    from ocr_onnx import OCR, DetectionOptions, OCROptions

    page = words(int(size))
    options = DetectionOptions(limit_side_len=max(page.shape) // 2, limit_type="max")
    ocr = OCR(
        OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False, detection=options),
        models=VERSION_5,
    )
    return lambda: len(ocr.predict(page)[0].lines)


def cores(_: float, __: Path) -> Callable[[], int]:
    """A whole page of 200 words by the default pipeline; the process has as many cores as the point says."""
    from benchmarks.versions import VERSION_5
    from ocr_onnx import OCR, DetectionOptions, OCROptions

    ocr = OCR(OCROptions(detection=DetectionOptions(limit_side_len=960, limit_type="max")), models=VERSION_5)
    page = words(200)
    return lambda: len(ocr.predict(page)[0].lines)


KINDS: dict[str, Callable[[float, Path], Callable[[], int]]] = {
    "detection": detection,
    "decoding PNG": lambda size, folder: decoding(size, folder, "png"),
    "decoding JPEG": lambda size, folder: decoding(size, folder, "jpg"),
    "lines": recognition,
    "cores": cores,
}


def points(available: int) -> Iterator[Point]:
    """All of them."""
    yield from (Point("detection", size, available) for size in MEGAPIXELS)
    yield from (Point(f"decoding {form}", size, available) for form in ("PNG", "JPEG") for size in DECODED)
    yield from (Point("lines", size, available) for size in LINES)
    count = 1
    while count <= available:
        yield Point("cores", count, count)
        count *= 2


def measure(point: Point) -> Measured:
    """In this process, which must be a fresh one."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: point.cores])
    with tempfile.TemporaryDirectory() as folder:
        call = KINDS[point.kind](point.size, Path(folder))
        # Writing 5 makes the kernel take the present memory as the peak.
        Path("/proc/self/clear_refs").write_text("5", "ascii")
        before, found = peak(), call()
        wall, cpu = [], []
        for _ in range(CALLS):
            begun, spent = time.perf_counter(), time.process_time()
            call()
            wall.append(time.perf_counter() - begun)
            cpu.append(time.process_time() - spent)
    return Measured(statistics.median(wall), statistics.median(cpu), (peak() - before) * 1024 / 1e6, found)


def measured_apart(point: Point) -> Measured:
    """By a process of its own."""
    command = [sys.executable, "-m", "benchmarks.growth", "--point", json.dumps(asdict(point))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=ROOT)
    return Measured(**json.loads(done.stdout))


def exponent(xs: Sequence[float], ys: Sequence[float]) -> float:
    """The slope on logarithmic axes."""
    return float(np.polyfit(np.log(xs), np.log(np.maximum(ys, 1e-9)), 1)[0])


def marginal(costs: Sequence[float]) -> list[float]:
    """What lines cost above the page with the fewest of them, whose cost is mostly detection's."""
    return [cost - costs[0] for cost in costs[1:]]


def markdown(result: Mapping[str, Any]) -> str:
    """All tables."""
    sections = []
    for kind in KINDS:
        rows = [row for row in result["points"] if row["kind"] == kind]
        unit = {"lines": "lines", "cores": "cores"}.get(kind, "megapixels")
        heads = f"| {unit} | s | processor s | memory growth MB | lines found |"
        table = [heads, "|--:|--:|--:|--:|--:|"]
        table += [
            f"| {row['size']:g} | {row['seconds']:.3f} | {row['cpu']:.3f} | {row['grown']:.0f} | {row['found']} |"
            for row in rows
        ]
        sections.append(f"## {kind.capitalize()}\n\n" + "\n".join(table) + "\n" + _fitted(kind, rows))
    return (
        f"# Growth of time and memory\n\nWritten by `make bench-growth`. {result['circumstances']}. PP-OCRv5 mobile models. Each\n"
        "row is a separate process: the median of three calls after a first one, and the growth of the peak memory.\n\n"
        + "\n".join(sections)
    )


def _fitted(kind: str, rows: Sequence[Mapping[str, Any]]) -> str:
    if kind == "cores":
        return ""
    sizes, note = [row["size"] for row in rows], ""
    costs = {"processor time": [row["cpu"] for row in rows]}
    if kind == "lines":
        sizes, costs = sizes[1:], {"processor time": marginal(costs["processor time"])}
        note = ", of the time above that of the page with a single line"
    else:
        costs["memory"] = [row["grown"] for row in rows]
    fits = ", ".join(f"{name} {exponent(sizes, values):.2f}" for name, values in costs.items())
    return f"\nFitted exponents{note}: {fits}.\n"


def write(result: Mapping[str, Any]) -> None:
    """growth.json, growth.md and two charts."""
    records.keep("growth", result, markdown(result))
    curves = {
        kind: [(row["size"], row["cpu"]) for row in result["points"] if row["kind"] == kind]
        for kind in KINDS
        if kind != "cores"
    }
    lines = {"lines": curves.pop("lines")}
    pixels = charts.curves("Processor seconds by megapixels", ("megapixels", "processor seconds"), curves)
    records.draw("growth-pixels", pixels)
    by_lines = charts.curves("Processor seconds of a page by its lines", ("lines", "processor seconds"), lines)
    records.draw("growth-lines", by_lines)


@click.command(help=__doc__)
@click.option("--point", hidden=True)
@click.option("--write/--no-write", "keep", default=True, help="Write benchmarks/results.")
def main(point: str | None, keep: bool) -> None:
    """Measure all points and write the tables."""
    if point is not None:
        click.echo(json.dumps(asdict(measure(Point(**json.loads(point))))))
        return
    rows = []
    for each in points(len(os.sched_getaffinity(0))):
        rows.append(asdict(each) | asdict(measured_apart(each)))
        click.echo(f"{each.kind} {each.size:g}: {rows[-1]['seconds']:.3f} s", err=True)
    result = {"circumstances": circumstances(), "points": rows}
    click.echo(markdown(result))
    if keep:
        write(result)


if __name__ == "__main__":
    main()
