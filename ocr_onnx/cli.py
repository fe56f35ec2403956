"""The command `ocr-onnx`: parse, call, print. Results go to standard output, everything else to standard error."""

from __future__ import annotations

import io
import itertools
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ocr_onnx import __version__
from ocr_onnx.cli_models import models
from ocr_onnx.errors import InputError, OCRError, OutputError

if TYPE_CHECKING:
    from ocr_onnx.pipeline import OCR
    from ocr_onnx.results import OCRResult

Format = Literal["text", "json", "jsonl"]


class Commands(click.Group):
    """Prints an error of ours as one line and exits with 1; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command."""
        for stream in (sys.stdout, sys.stderr):
            # Where output goes to a file, some systems would write in an alphabet that lacks most of what is read.
            if isinstance(stream, io.TextIOWrapper) and not stream.isatty():
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except OCRError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ocr-onnx")
@click.option("-v", "--verbose", is_flag=True, help="Say what is being done.")
def main(verbose: bool) -> None:
    """Read text in pictures and PDFs with PaddleOCR's models, on ONNX Runtime."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO if verbose else logging.WARNING)


@main.command()
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "jsonl"]),
    default="text",
    show_default=True,
    help="text: line by line; json: one list of all pages; jsonl: one page a line, as it is done.",
)
@click.option(
    "--save-path",
    "--save_path",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write each page's <stem>_res.json and its pictures into this folder.",
)
@click.option("--lang", help="A language ('ocr-onnx models langs'): its models are used instead of the embedded ones.")
@click.option("--ocr-version", "--ocr_version", help="PP-OCRv6, PP-OCRv5, PP-OCRv4 or PP-OCRv3.")
@click.option("--text-detection-model-name", "--text_detection_model_name", help="A model's name, or an .onnx file.")
@click.option(
    "--text-recognition-model-name", "--text_recognition_model_name", help="A model's name, or an .onnx file."
)
@click.option("--device", default="cpu", show_default=True, help="cpu, gpu or gpu:N.")
@click.option("--cpu-threads", "--cpu_threads", type=click.IntRange(1), help="Cores for detection; default: all.")
def run(inputs: tuple[str, ...], form: Format, save_path: Path | None, **settings: Any) -> None:
    """Read pictures, PDFs, and folders of them.

    An input that cannot be read is reported, and the others are still read; the exit code is then 1.

    \b
    Examples:
      ocr-onnx run page.png
      ocr-onnx run scans/ invoice.pdf --format jsonl > pages.jsonl
      ocr-onnx run page.png --save-path output
    """
    ocr = _engine(**settings)
    failures: list[InputError] = []
    pages: list[dict[str, object]] = []
    taken: dict[Path, str] = {}
    for result in _read_all(ocr, inputs, failures):
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
    sys.exit(1 if failures else 0)


def _engine(
    *,
    lang: str | None,
    ocr_version: str | None,
    text_detection_model_name: str | None,
    text_recognition_model_name: str | None,
    device: str,
    cpu_threads: int | None,
) -> OCR:
    """The engine that the options ask for: a model's name wins over language and version."""
    from ocr_onnx.languages import models_for
    from ocr_onnx.pipeline import OCR, Models

    models = Models()
    if lang is not None or ocr_version is not None:
        detection, recognition = models_for(lang, ocr_version)
        models = replace(models, text_detection=detection, text_recognition=recognition)
    if text_detection_model_name is not None:
        models = replace(models, text_detection=text_detection_model_name)
    if text_recognition_model_name is not None:
        models = replace(models, text_recognition=text_recognition_model_name)
    return OCR(models=models, device=device, cpu_threads=cpu_threads)


def _print(text: str) -> None:
    """Print to standard output; raises OutputError where it is full. A closed pipe is click's to handle."""
    try:
        click.echo(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error


def _save(result: OCRResult, folder: Path, taken: dict[Path, str]) -> None:
    """Write a page's files; where another input of that name was written before, into a numbered folder beside it."""
    from ocr_onnx.exporting import stem

    source, name = str(result.source.path), stem(result.source)
    places = itertools.chain([folder], (folder / str(number) for number in itertools.count(2)))
    place = next(place for place in places if taken.setdefault(place / name, source) == source)
    if place != folder:
        click.echo(
            f"{source} is written to {place}: {folder} has files of that name from {taken[folder / name]}", err=True
        )
    result.save_to_json(place)
    result.save_to_img(place)


def _read_all(ocr: OCR, inputs: tuple[str, ...], failures: list[InputError]) -> Iterator[OCRResult]:
    """Every page of every input, with progress on a terminal; what cannot be read is reported and noted."""
    from ocr_onnx import images

    paths: list[Path] = []
    for name in inputs:
        try:
            paths += images.files(name)
        except InputError as error:
            _report(error, failures)
    for number, path in enumerate(paths, 1):
        place = f"{number} of {len(paths)}: {path}"
        _progress(place if len(paths) > 1 else "")
        try:
            for result in ocr.predict_iter(path):
                _progress("")
                yield result
                if result.source.count is not None and result.source.index is not None:
                    _progress(f"{place}, {result.source.index + 1} of {result.source.count} pages")
        except InputError as error:
            _progress("")
            _report(error, failures)
    _progress("")


def _progress(text: str) -> None:
    """Show on a terminal what is being done, in one line that is written over; nothing takes it away."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{text}", err=True, nl=False)


def _report(error: InputError, failures: list[InputError]) -> None:
    failures.append(error)
    click.echo(f"Error: {error}", err=True)


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The file to write; default: <name or folder>.onnx here."
)
@click.option("--name", help="The model's name, if its inference.yml gives none or another.")
@click.option("--dict", "dictionary", type=click.Path(path_type=Path), help="The dictionary, a character a line.")
@click.option("--verify/--no-verify", default=True, show_default=True, help="Compare the file with Paddle.")
@click.option("--opset", type=int, default=17, show_default=True, help="Of the file; from 14 to 17.")
@click.option(
    "--static",
    metavar="SIZE",
    help="The only input it takes, for accelerators: 1x3x48x320, or 320x48 (width x height). The pipeline needs others.",
)
@click.option("--dynamic", "static", flag_value=None, help="Any size that the model can take (the default).")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="fp16: half precision, for GPUs; it is made after the comparison with Paddle and compared with fp32.",
)
def convert(
    directory: Path, output: Path | None, opset: int, static: str | None, precision: str, **settings: Any
) -> None:
    """Convert a Paddle inference model to an ONNX file.

    DIRECTORY holds inference.json (or inference.pdmodel), inference.pdiparams and inference.yml; older models have no
    inference.yml and need --name and, for recognition, --dict. This needs Paddle: pip install 'ocr-onnx[convert,cpu]' on
    Python 3.11. What it writes runs anywhere, without.

    \b
    Example:
      ocr-onnx convert ./my_finetuned_rec -o my_rec.onnx
    """
    from ocr_onnx import converters
    from ocr_onnx.converters.form import Form, parse_size

    target = output if output is not None else Path(f"{settings['name'] or directory.resolve().name}.onnx")
    form = Form(opset, () if static is None else parse_size(static))
    report = converters.convert(directory, target, form=form, **settings)
    click.echo(f"{target}: {report}")
    if precision == "fp16":
        from ocr_onnx.converters.precision import halve

        click.echo(f"{target}: {halve(target, target)}")


main.add_command(models)
