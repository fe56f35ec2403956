"""The command `ocr-onnx run`: read the inputs, print the results, save them."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocr_onnx.cli.options import Run, input_settings, pipeline_settings, save_path_setting
from ocr_onnx.errors import InputError, OutputError
from ocr_onnx.options import PRESETS
from ocr_onnx.outputs.formats import FORMATS
from ocr_onnx.paddle.parameters import DEPRECATED, WITHOUT_EFFECT

if TYPE_CHECKING:
    from ocr_onnx.options import OCROptions
    from ocr_onnx.paddle.assembly import Request
    from ocr_onnx.pipeline import OCR
    from ocr_onnx.results import OCRResult

INPUTS = tuple(str(setting.name) for setting in input_settings())


@click.command(cls=Run)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...", type=click.Path())
@click.option(
    "-i", "--input", "more", multiple=True, metavar="INPUT", type=click.Path(), help="As INPUT; may be repeated."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    default="text",
    help=f"{'; '.join(f'{writer.name}: {writer.help}' for writer in FORMATS.values())}. Default: text.",
)
@click.option(
    "--profile",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Print the time of each step on standard error, and write a trace (JSON) for chrome://tracing or Perfetto.",
)
def run(inputs: tuple[str, ...], more: tuple[str, ...], form: str, save_path: Path | None, **settings: Any) -> None:
    """Read the text of images, PDFs, folders, file patterns and web addresses.

    An input that cannot be read is reported, the others are still read, and the exit code is 1. Options may be
    written with dashes as well: --save-path is --save_path. PaddleOCR's old option names are accepted, and those of
    its options that have no effect here.

    \b
    Examples:
      ocr-onnx run page.png
      ocr-onnx run scans/ invoice.pdf --format jsonl > pages.jsonl
      ocr-onnx run report.pdf --pdf_pages 1-3,7 --save_path output
      ocr-onnx run -i page.png --use_textline_orientation False --preset fast
    """
    # NumPy would otherwise start threads for linear algebra at its import; no array here is large enough for them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ocr_onnx.paddle.assembly import assemble, with_values

    if not inputs and not more:
        raise click.UsageError("Missing INPUT: name an image, a PDF or a folder.")
    reading = {name: settings.pop(name) for name in INPUTS}
    trace = settings.pop("profile")
    made = assemble(request(settings))
    options = with_values(made.options, reading)
    failures: list[InputError] = []
    with _profiled(trace):
        results = _succeeding(_read_all(made.engine, options, (*inputs, *more)), failures)
        for piece in FORMATS[form].write(_saved(results, save_path)):
            _print(piece)
    sys.exit(int(bool(failures)))


run.params += [save_path_setting(), *input_settings(), *pipeline_settings()]


def request(given: Mapping[str, Any]) -> Request:
    """The pipeline that the options of the command line ask for; those that are None or empty were not given."""
    from ocr_onnx.paddle import pipeline_yaml
    from ocr_onnx.paddle.assembly import PARAMETERS, Request
    from ocr_onnx.paddle.parameters import take_without_effect

    values = _present_names({name: value for name, value in given.items() if value is not None})
    mode, hpi = values.pop("mode", None), values.pop("enable_hpi", None)
    if mode is not None and hpi is not None:
        raise click.UsageError("--mode and --enable_hpi are the same option: use --mode only.")
    take_without_effect({name: values.pop(name) for name in values.keys() & WITHOUT_EFFECT.keys()})
    values = {**PRESETS.get(values.pop("preset", ""), {}), **values}
    options = {name: values.pop(name) for name in values.keys() & PARAMETERS}
    config = values.pop("paddlex_config", None)
    return Request(
        options,
        None if config is None else pipeline_yaml.load(config),
        high_performance=hpi if mode is None else mode == "high-performance",
        providers=values.pop("provider", ()),
        **values,
    )


def _present_names(given: dict[str, Any]) -> dict[str, Any]:
    """The same without PaddleOCR's old names."""
    for old in sorted(given.keys() & DEPRECATED.keys()):
        new = DEPRECATED[old]
        click.echo(f"WARNING: --{old} is deprecated: its name is --{new}", err=True)
        if new in given:
            raise click.UsageError(f"--{old} and --{new} are the same option: use --{new} only.")
        given[new] = given.pop(old)
    return given


@contextmanager
def _profiled(trace: Path | None) -> Iterator[None]:
    """Write a trace and print the table, if a file for the trace is given."""
    if trace is None:
        yield
        return
    from ocr_onnx.runtime import profiling

    with profiling.record() as profile:
        yield
    profile.save(trace)
    click.echo(profile.table(), err=True)


def _print(text: str) -> None:
    """Print to standard output; raises OutputError if the disk is full. click handles a closed pipe."""
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        raise
    except OSError as error:
        # The rest would be written when Python ends, which would fail again, with a message of Python's.
        with Path(os.devnull).open("w") as nowhere, suppress(OSError, ValueError):
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise OutputError(f"standard output cannot be written: {error.strerror}") from error


def _succeeding(outcomes: Iterable[OCRResult | InputError], failures: list[InputError]) -> Iterator[OCRResult]:
    """The results; errors are reported on standard error and added to `failures`."""
    for outcome in outcomes:
        if isinstance(outcome, InputError):
            failures.append(outcome)
            click.echo(f"Error: {outcome}", err=True)
        else:
            yield outcome


def _saved(results: Iterable[OCRResult], folder: Path | None) -> Iterator[OCRResult]:
    """The results, each written into the folder first if there is one."""
    taken: dict[Path, str] = {}
    for result in results:
        if folder is not None:
            _save(result, folder, taken)
        yield result


def _save(result: OCRResult, folder: Path, taken: dict[Path, str]) -> None:
    """Write a page's files; if another input has written files of that name, into a numbered subfolder."""
    from ocr_onnx.outputs.saving import file_stem

    source, name = str(result.source.path), file_stem(result.source)
    places = itertools.chain([folder], (folder / str(number) for number in itertools.count(2)))
    place = next(place for place in places if taken.setdefault(place / name, source) == source)
    if place != folder:
        click.echo(
            f"{source} is written to {place}: {folder} has files of that name from {taken[folder / name]}", err=True
        )
    result.save_to_json(place)
    result.save_to_img(place)


def _read_all(engine: OCR, options: OCROptions, inputs: Sequence[str]) -> Iterator[OCRResult | InputError]:
    """Every page of every input, or the error of an input, with progress on a terminal."""
    from ocr_onnx.inputs import sources

    paths: list[str] = []
    for name in inputs:
        try:
            paths += sources.expand_path(name)
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
    """Overwrite the progress line, if standard error is a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{text}", err=True, nl=False)
