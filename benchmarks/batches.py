"""Count what the input shapes for GPUs cost: recognition runs and columns, and texts equal to single lines.

    python -m benchmarks.batches --data FOLDER

Reads the pictures of the race (benchmarks.peers) in standard mode, with both orientation stages off and detection at most 960
pixels a side. The shapes for GPUs are forced on the CPU, where they take longer. Writes benchmarks/results/batches.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks import records
from benchmarks.machine import circumstances
from benchmarks.peers import PICTURES, SIDE
from benchmarks.pictures import spread
from benchmarks.providers import OPTIONS
from benchmarks.versions import VERSION_5
from ocr_onnx import OCR, OCRResult
from ocr_onnx.inputs import sources
from ocr_onnx.models import store
from ocr_onnx.runtime.batching import CPU_SHAPES, EXACT_SHAPES, MASKED_SHAPES, PADDED_SHAPES, Shapes
from ocr_onnx.runtime.session import Session
from ocr_onnx.runtime.threads import cpu_count
from ocr_onnx.types import Run, Tensor

WAYS: Mapping[str, Shapes] = {
    "one line per run, as on a CPU": CPU_SHAPES,
    "batches of one width, at most 6 lines": replace(EXACT_SHAPES, sizes=tuple(range(1, 7))),
    "batches of one width, at most 16 lines (models without a mask)": EXACT_SHAPES,
    "few shapes, black padding (the same models in high-performance mode)": PADDED_SHAPES,
    "few shapes, masked padding (both modes)": MASKED_SHAPES,
}


def forced(ocr: OCR, shapes: Shapes) -> OCR:
    """An engine whose models are given these shapes on the CPU."""
    find, read = (
        Session(store.find(stage.metadata.name), threads=cpu_count(), masked=True) if shapes.masked else stage.run
        for stage in (ocr.detect, ocr.recognize)
    )
    return ocr.with_stages(
        detect=replace(ocr.detect, run=find, shapes=shapes),
        recognize=replace(ocr.recognize, run=read, shapes=shapes),
        classify_lines=ocr.classify_lines and replace(ocr.classify_lines, shapes=shapes),
    )


def measure(data: Path, every: int) -> list[dict[str, Any]]:
    """Each way's runs, columns of pixels, and lines that are as the first way's."""
    pages = [page for path in spread(data, PICTURES)[::every] for page in sources.read_pages(path)]
    rows: list[dict[str, Any]] = []
    wanted: list[list[tuple[str, list[list[int]]]]] = []
    for way, shapes in WAYS.items():
        ocr, seen = forced(OCR(OPTIONS, models=VERSION_5), shapes), [0, 0]
        ocr = ocr.with_stages(recognize=replace(ocr.recognize, run=_counted(ocr.recognize.run, seen)))
        found = [lines(ocr.read(page, OPTIONS)) for page in pages]
        wanted = wanted or found
        equal = sum(line in page for one, page in zip(wanted, found, strict=True) for line in one)
        rows.append({"way": way, "runs": seen[0], "columns": seen[1], "equal": equal})
        rows[-1] |= {"lines": sum(map(len, wanted)), "pictures": len(pages)}
    return rows


def _counted(run: Run, seen: list[int]) -> Run:
    def counted(tensor: Tensor) -> tuple[NDArray[Any], ...]:
        seen[0] += 1
        seen[1] += int(np.prod(tensor.shape[::3]))
        return run(tensor)

    return counted


def lines(result: OCRResult) -> list[tuple[str, list[list[int]]]]:
    """Each line's text and box."""
    return [(line.text, line.box.quad.tolist()) for line in result.lines]


def markdown(result: Mapping[str, Any]) -> str:
    """batches.md."""
    first = result["rows"][0]
    page = [
        "# Input shapes for GPUs",
        "",
        (
            f"Written by `python -m benchmarks.batches`. {result['circumstances']}. {first['pictures']} pictures, detection at most "
            f"{SIDE} pixels a side, standard mode; columns of pixels as ratios to the lines' own. Measured on the CPU, so without times of a GPU."
        ),
        "",
        "| shapes | recognition runs per picture | columns | texts and boxes equal to single lines |",
        "|---|--:|--:|--:|",
    ]
    for row in result["rows"]:
        runs, columns = row["runs"] / row["pictures"], row["columns"] / first["columns"]
        page.append(f"| {row['way']} | {runs:.1f} | {columns:.2f} | {row['equal']} of {row['lines']} |")
    return "\n".join(page) + "\n"


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with the pictures.")
@click.option("--every", default=1, show_default=True, help="Only every so many-th picture.")
def main(data: Path, every: int) -> None:
    """Count, and write what came of it."""
    result = {"circumstances": circumstances(), "rows": measure(data, every)}
    records.keep("batches", result, markdown(result))
    click.echo(markdown(result))


if __name__ == "__main__":
    main()
