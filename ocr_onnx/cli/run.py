"""The command `ocr-onnx run`: every parameter of PaddleOCR as an option, and what becomes of each page."""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ocr_onnx.cli.settings import READING, Run, all_settings
from ocr_onnx.errors import InputError, OutputError

if TYPE_CHECKING:
    from ocr_onnx.inputs.options import InputOptions
    from ocr_onnx.pipeline import OCR, OCROptions
    from ocr_onnx.results import OCRResult

Format = Literal["text", "json", "jsonl"]

FAST = {"text_det_limit_side_len": 960, "text_det_limit_type": "max"}
"""What `--preset fast` means."""


@click.command(cls=Run)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...", type=click.Path())
@click.option(
    "-i", "--input", "more", multiple=True, metavar="INPUT", type=click.Path(), help="As INPUT; may be repeated."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "jsonl"]),
    default="text",
    help="text: line by line (default); json: one list of all pages; jsonl: one page a line, as it is done.",
)
@click.option(
    "--profile",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Print where the time went, on standard error, and write a trace (JSON) for chrome://tracing or Perfetto.",
)
def run(inputs: tuple[str, ...], more: tuple[str, ...], form: Format, save_path: Path | None, **settings: Any) -> None:
    """Read pictures, PDFs, folders and patterns of them, and addresses.

    An input that cannot be read is reported, and the others are still read; the exit code is then 1. Options may be
    written with dashes as well: --save-path is --save_path. PaddleOCR's old names, and those of its parameters that
    mean nothing here, are taken too.

    \b
    Examples:
      ocr-onnx run page.png
      ocr-onnx run scans/ invoice.pdf --format jsonl > pages.jsonl
      ocr-onnx run report.pdf --pdf_pages 1-3,7 --save_path output
      ocr-onnx run -i page.png --use_textline_orientation False --preset fast
    """
    # NumPy would otherwise start threads for linear algebra when it is imported, and nothing here is large enough for them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ocr_onnx.paddle.paddleocr import PaddleOCR

    if not inputs and not more:
        raise click.UsageError("Missing INPUT: name a picture, a PDF or a folder.")
    reading = _input_options(settings)
    trace = settings.pop("profile")
    ocr = PaddleOCR(**parameters(settings))
    options = replace(ocr.options, input=reading)
    failed = False
    pages: list[dict[str, object]] = []
    taken: dict[Path, str] = {}
    with _profiled(trace):
        for result in _read_all(ocr.engine, options, (*inputs, *more)):
            if isinstance(result, InputError):
                failed = True
                click.echo(f"Error: {result}", err=True)
                continue
            if save_path is not None:
                _save(result, save_path, taken)
            if form == "text":
                _print(result.text)
            elif form == "jsonl":
                _print(json.dumps(result.json["res"], ensure_ascii=False))
            else:
                pages.append(result.json["res"])
    if form == "json":
        _print(json.dumps(pages, ensure_ascii=False, indent=4))
    sys.exit(int(failed))


run.params += all_settings()


def _input_options(settings: dict[str, Any]) -> InputOptions:
    """What was given of how inputs are read, taken out of the settings."""
    from ocr_onnx.inputs.options import InputOptions

    given = {name: settings.pop(name) for name in READING}
    return InputOptions(**{name: value for name, value in given.items() if value is not None})


def parameters(settings: dict[str, Any]) -> dict[str, Any]:
    """PaddleOCR's parameters: what was given, under its present names, and what the preset says where nothing was."""
    from ocr_onnx.paddle.parameters import DEPRECATED

    given = {name: value for name, value in settings.items() if value is not None}
    given["providers"] = given.pop("provider")
    for old in sorted(given.keys() & DEPRECATED.keys()):
        new = DEPRECATED[old]
        click.echo(f"WARNING: --{old} is deprecated: its name is --{new}", err=True)
        if new in given:
            raise click.UsageError(f"--{old} and --{new} are one option: give --{new} alone.")
        given[new] = given.pop(old)
    mode = given.pop("mode", None)
    if mode is not None:
        if "enable_hpi" in given:
            raise click.UsageError("--mode and --enable_hpi are one option: give --mode alone.")
        given["enable_hpi"] = mode == "high-performance"
    return (FAST if given.pop("preset", None) == "fast" else {}) | given


@contextmanager
def _profiled(trace: Path | None) -> Iterator[None]:
    """Where a trace is asked for, write it and print the table."""
    if trace is None:
        yield
        return
    from ocr_onnx.runtime import profiling

    with profiling.record() as profile:
        yield
    profile.save(trace)
    click.echo(profile.table(), err=True)


def _print(text: str) -> None:
    """Print to standard output; raises OutputError where it is full. A closed pipe is click's to handle."""
    try:
        click.echo(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is left of it would be written at the end of the program, which would fail again, with a message of Python's.
        with Path(os.devnull).open("w") as nowhere, suppress(OSError, ValueError):
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error


def _save(result: OCRResult, folder: Path, taken: dict[Path, str]) -> None:
    """Write a page's files; where another input of that name was written before, into a numbered folder beside it."""
    from ocr_onnx.outputs.saving import stem

    source, name = str(result.source.path), stem(result.source)
    places = itertools.chain([folder], (folder / str(number) for number in itertools.count(2)))
    place = next(place for place in places if taken.setdefault(place / name, source) == source)
    if place != folder:
        click.echo(
            f"{source} is written to {place}: {folder} has files of that name from {taken[folder / name]}", err=True
        )
    result.save_to_json(place)
    result.save_to_img(place)


def _read_all(engine: OCR, options: OCROptions, inputs: Sequence[str]) -> Iterator[OCRResult | InputError]:
    """Every page of every input, or why it cannot be read, with progress on a terminal."""
    from ocr_onnx.inputs import sources

    paths: list[str] = []
    for name in inputs:
        try:
            paths += sources.files(name)
        except InputError as error:
            yield error
    begin = 0
    _progress(f"1 of {len(paths)}: {paths[0]}" if len(paths) > 1 else "")
    for outcome in engine.predict_iter(paths, options, return_exceptions=True):
        _progress("")
        yield outcome
        if isinstance(outcome, InputError):
            continue
        page = outcome.source
        place = paths.index(str(page.path), begin)
        # A path may be given twice.
        begin = place + (page.index is None)
        of_file = "" if page.index is None else f", {page.index + 1} of {page.count} pages"
        _progress(f"{place + 1} of {len(paths)}: {page.path}{of_file}")
    _progress("")


def _progress(text: str) -> None:
    """Show on a terminal what is being done, in one line that is written over; nothing takes it away."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{text}", err=True, nl=False)
