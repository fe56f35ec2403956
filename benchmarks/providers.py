"""Compare ONNX Runtime's execution providers with the CPU provider: benchmarks/results/providers.md.

    python -m benchmarks.providers --data FOLDER --provider OpenVINO

The providers take turns at the pictures of the race (benchmarks.peers), with both orientation stages off and detection at most 960
pixels a side. Times are ratios to the CPU provider, of the sums over all pictures, medians of the rounds. The last two columns are the
check of TensorRT engines (ocr_onnx.stages.calibration): the share of decisions on the sample page that differ from the CPU's.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks import records
from benchmarks.machine import circumstances
from benchmarks.modes import without_orientation
from benchmarks.peers import PICTURES, SIDE
from benchmarks.pictures import spread
from benchmarks.versions import VERSION_5
from ocr_onnx import OCR, DetectionOptions, OCROptions
from ocr_onnx.inputs import sources
from ocr_onnx.runtime.provider_specs import CPU_PROVIDER
from ocr_onnx.stages.calibration import difference
from ocr_onnx.types import Page

OPTIONS = without_orientation(OCROptions(detection=DetectionOptions(limit_side_len=SIDE, limit_type="max")))

CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def measure(engines: Mapping[str, OCR], pages: Sequence[Page], rounds: int) -> dict[str, dict[str, Any]]:
    """Of each engine the seconds of every round, and the texts of every page; a first picture is read before all that counts."""
    found: dict[str, dict[str, Any]] = {name: {clock: [0.0] * rounds for clock in CLOCKS} for name in engines}
    for name, ocr in engines.items():
        ocr.read(pages[0], OPTIONS)
        found[name]["texts"] = [[line.text for line in ocr.read(page, OPTIONS).lines] for page in pages]
    for turn in range(rounds):
        for number, page in enumerate(pages):
            names = list(engines)[:: 1 if number % 2 else -1]
            for name in names:
                begun = {clock: now() for clock, now in CLOCKS.items()}
                engines[name].read(page, OPTIONS)
                for clock, now in CLOCKS.items():
                    found[name][clock][turn] += now() - begun[clock]
    return found


def row(found: Mapping[str, Any], reference: Mapping[str, Any]) -> dict[str, Any]:
    """An engine's times as parts of the reference's, and how many of its texts are the reference's."""
    parts = {
        clock: statistics.median(a / b for a, b in zip(found[clock], reference[clock], strict=True)) for clock in CLOCKS
    }
    pairs = list(zip(found["texts"], reference["texts"], strict=True))
    equal = sum(sum(a == b for a, b in zip(mine, others, strict=False)) for mine, others in pairs)
    return parts | {"equal": equal, "texts": sum(len(others) for _, others in pairs)}


def on_sample(ocr: OCR, reference: OCR) -> dict[str, float]:
    """The shares of texts and of pixels of text on the sample page in which two engines differ."""
    texts = difference(ocr.recognize.run, reference.recognize.run, ocr.recognize.metadata)
    pixels = difference(ocr.detect.run, reference.detect.run, ocr.detect.metadata)
    return {"sample_texts": texts.share, "sample_pixels": pixels.share}


def markdown(result: Mapping[str, Any]) -> str:
    """The result as a page."""
    lines = [
        "# Comparison of execution providers",
        "",
        (
            f"Written by `python -m benchmarks.providers`. {result['circumstances']}. {result['pictures']} pictures, "
            f"{result['rounds']} rounds, the providers taking turns, picture by picture; times are ratios to the CPU provider, medians."
        ),
        "",
        "| provider | time | processor time | equal texts | different texts on the sample page | different text pixels |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    for name, each in result["providers"].items():
        shares = " | ".join(f"{100 * each[key]:.2f} %" for key in ("sample_texts", "sample_pixels"))
        equal = f"{each['equal']} of {each['texts']}"
        lines.append(f"| {name} | {each['wall']:.2f} | {each['processor']:.2f} | {equal} | {shares} |")
    return "\n".join(lines) + "\n"


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with the pictures.")
@click.option("--provider", "providers", multiple=True, required=True, help="As `ocr-onnx run --provider` takes it.")
@click.option("--models", "version", type=click.Choice(["v5", "default"]), default="default", show_default=True)
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1))
@click.option("--every", default=1, show_default=True, help="Only every so many-th picture.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/results.")
def main(data: Path, providers: Sequence[str], version: str, rounds: int, every: int, *, write: bool) -> None:
    """Measure, and write what came of it."""
    engines = {
        name: OCR(OPTIONS, models=VERSION_5 if version == "v5" else None, providers=[name])
        for name in (CPU_PROVIDER, *providers)
    }
    pages = [page for path in spread(data, PICTURES)[::every] for page in sources.read_pages(path)]
    found = measure(engines, pages, rounds)
    result = {
        "circumstances": circumstances(),
        "pictures": len(pages),
        "rounds": rounds,
        "providers": {
            name: row(each, found[CPU_PROVIDER]) | on_sample(engines[name], engines[CPU_PROVIDER])
            for name, each in found.items()
        },
    }
    click.echo(markdown(result))
    if write:
        records.keep("providers", result, markdown(result))


if __name__ == "__main__":
    main()
