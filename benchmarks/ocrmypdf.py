"""Compare ocr-onnx with Tesseract in OCRmyPDF on a scanned document of 20 pages: benchmarks/results/ocrmypdf.md.

    python -m benchmarks.ocrmypdf --data FOLDER --command .venv-ocrmypdf/bin/ocrmypdf

The document has every third page of DocLayNet as a grayscale JPEG of 200 dpi. OCRmyPDF gets it with each engine and number of jobs,
in turns. The accuracy is F1 of words and of characters, ignoring order and case, between DocLayNet's text and the text that pdftotext extracts from the
result, which must pass qpdf's check. It needs Debian's poppler-utils and tesseract-ocr.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import pikepdf
import PIL.Image

from benchmarks import cold, libraries, records
from benchmarks.copied import pdftotext
from benchmarks.labelled import Labelled, Score, compare_text, layout_pages
from benchmarks.machine import circumstances

EVERY, PAGES = 3, 20
QUALITY = 85
"""Of the JPEG compression of a page."""

OURS = ("--ocr-engine", "ocr-onnx")
BEST = (*OURS, "--ocr-onnx-preset", "default")

ENGINES: Mapping[str, Sequence[str]] = {
    "Tesseract": ("--ocr-engine", "tesseract"),
    "ocr-onnx": OURS,
    "ocr-onnx, preset default": BEST,
    "ocr-onnx, preset default, high-performance mode": (*BEST, "--ocr-onnx-mode", "high-performance"),
}
JOBS = (1, 2)


@dataclass
class Runs:
    """The runs of one engine with one number of jobs."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    """Seconds of all processes."""
    f1: float = 0.0
    """Of words."""
    characters: float = 0.0
    """F1 of characters."""
    megabytes: float = 0.0
    """The size of the result."""


def scan(pages: Sequence[Labelled], target: Path) -> None:
    """Write the document."""
    images = [PIL.Image.open(libraries.rendered(page.path, target.parent)).convert("L") for page in pages]
    images[0].save(target, resolution=libraries.DPI, quality=QUALITY, save_all=True, append_images=images[1:])


def score(pages: Sequence[Labelled], result: Path) -> tuple[float, float]:
    """F1 of the words and of the characters of all pages."""
    with pikepdf.open(result) as document:
        if problems := document.check_pdf_syntax():
            raise click.ClickException(f"{result.name} is damaged: {problems[0]}")
    data, words, characters = result.read_bytes(), Score(), Score()
    for number, page in enumerate(pages, 1):
        text = pdftotext(data, "-f", str(number), "-l", str(number))
        words.add(*compare_text(text, page.text, characters=False))
        characters.add(*compare_text(text, page.text, characters=True))
    return words.f1, characters.f1


def measure(command: Path, pages: Sequence[Labelled], rounds: int) -> tuple[dict[str, Runs], float]:
    """Every engine with every number of jobs, in turns; and the megabytes of the document."""
    measured: dict[str, Runs] = {}
    with tempfile.TemporaryDirectory() as temporary:
        source, target = Path(temporary) / "scan.pdf", Path(temporary) / "searchable.pdf"
        scan(pages, source)
        for turn in range(rounds):
            for jobs in JOBS:
                for name, options in ENGINES.items():
                    runs = measured.setdefault(f"{name}; --jobs {jobs}", Runs())
                    asked = ("--quiet", "--output-type", "pdf", *options, "--jobs", str(jobs))
                    wall, cpu, _ = cold.run([str(command), *asked, str(source), str(target)])
                    runs.wall.append(wall)
                    runs.cpu.append(cpu)
                    runs.f1, runs.characters = score(pages, target)
                    runs.megabytes = target.stat().st_size / 1e6
                    click.echo(
                        f"round {turn + 1}, {name}, {jobs} jobs: {wall:.1f} s, F1 {runs.f1:.3f}, {runs.characters:.3f}",
                        err=True,
                    )
        return measured, source.stat().st_size / 1e6


def markdown(result: Mapping[str, Any]) -> str:
    """ocrmypdf.md."""
    return "\n".join(("# OCRmyPDF with ocr-onnx and with Tesseract", "", *_lines(result), ""))


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    scanned = f"{result['pages']} scanned pages of DocLayNet, {result['megabytes']:.1f} MB"
    yield f"Written by `python -m benchmarks.ocrmypdf`. {result['circumstances']}; {scanned};"
    yield f"runs in turns: {result['rounds']}, medians. F1 ignores order and case, in the text that pdftotext extracts."
    yield ""
    yield "| engine | s | processor s | F1 of words | of characters | MB |"
    yield "|---|--:|--:|--:|--:|--:|"
    for name, runs in result["runs"].items():
        times = " | ".join(f"{statistics.median(runs[clock]):.1f}" for clock in ("wall", "cpu"))
        yield f"| {name} | {times} | {runs['f1']:.3f} | {runs['characters']:.3f} | {runs['megabytes']:.1f} |"
    yield ""
    yield "DocLayNet: IBM, https://github.com/DS4SD/DocLayNet, CDLA-Permissive-1.0."


@click.command(help=__doc__)
@click.option("--data", type=click.Path(path_type=Path), required=True, help="The folder with the labelled sets.")
@click.option(
    "--command", type=click.Path(path_type=Path), required=True, help="ocrmypdf in an environment with ocr-onnx."
)
@click.option("--rounds", default=2, show_default=True, type=click.IntRange(1))
def main(data: Path, command: Path, rounds: int) -> None:
    """Measure and write benchmarks/results/ocrmypdf.md."""
    pages = list(layout_pages(data / "doclaynet"))[::EVERY][:PAGES]
    measured, megabytes = measure(command.absolute(), pages, rounds)
    result = {"circumstances": circumstances(), "pages": len(pages), "megabytes": megabytes, "rounds": rounds}
    result |= {"runs": {name: asdict(runs) for name, runs in measured.items()}}
    records.keep("ocrmypdf", result, markdown(result))
    click.echo(markdown(result))


if __name__ == "__main__":
    main()
