"""The command `ocr-onnx run`: recognize the text of inputs, print the results, and save them."""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click

from ocr_onnx.cli.options import PipelineCommand, input_settings, pipeline_settings, save_path_setting
from ocr_onnx.errors import InputError, OutputError
from ocr_onnx.outputs.formats import FORMATS, Writer, find
from ocr_onnx.outputs.saving import save_parts
from ocr_onnx.paddle.parameters import DROPPED, OLD_NAMES, WITHOUT_EFFECT

if TYPE_CHECKING:
    from ocr_onnx.converters.pull import Policy
    from ocr_onnx.options import OCROptions
    from ocr_onnx.paddle.assembly import Request
    from ocr_onnx.pipeline import OCR
    from ocr_onnx.results import OCRResult

STANDARD_INPUT, STANDARD_INPUT_NAME = "-", "stdin"

DEFAULT_FORMAT = "text"

TYPED = 0.75
"""The least similarity of a mistyped True or False: `true.png` is a file."""

INPUTS = tuple(str(setting.name) for setting in input_settings())


@click.command(cls=PipelineCommand)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...", type=click.Path())
@click.option(
    "-i", "--input", "more", multiple=True, metavar="INPUT", type=click.Path(), help="Same as INPUT; can be repeated."
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(list(FORMATS)),
    help=f"{'; '.join(f'{writer.name}: {writer.help}' for writer in FORMATS.values())}. Default: that of --output, else text.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(),
    help="Write the text of all inputs to this file instead of standard output, or a file for each input to this folder, which exists or is "
    "written with a slash at its end. "
    "The suffix of the file chooses the format: "
    f"{', '.join(dict.fromkeys(writer.suffix for writer in FORMATS.values()))}.",
)
@click.option("--lines", "format_name", flag_value="lines", help="Same as --format lines.")
@click.option("--layout", "format_name", flag_value="layout", help="Same as --format layout.")
@click.option(
    "--profile",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Print the time of each step to standard error, and write a trace (JSON) for chrome://tracing or Perfetto.",
)
def run(
    inputs: tuple[str, ...],
    more: tuple[str, ...],
    format_name: str | None,
    output: str | None,
    save_path: Path | None,
    **settings: Any,
) -> None:
    """Recognize the text of images, PDFs, folders, file patterns and http(s) URLs; - is standard input.

    An input that cannot be read is reported on standard error; the other inputs are still read, and the exit code is
    1. Option names may also be written with dashes: --save-path is --save_path. PaddleOCR's deprecated option names
    and its options without effect here are accepted.

    \b
    Examples:
      ocr-onnx run page.png
      ocr-onnx run scans/ invoice.pdf --format jsonl > pages.jsonl
      ocr-onnx run report.pdf -o report.hocr
      ocr-onnx run report.pdf --pdf_pages 1-3,7 --save_path output
      ocr-onnx run -i page.png --use_textline_orientation False --preset fast
    """
    # Otherwise NumPy starts threads for linear algebra at its import; no array here is large enough to need them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Pillow's; --max_megapixels decides.
    warnings.filterwarnings("ignore", "Image size .* exceeds limit")
    from ocr_onnx.paddle.assembly import assemble, with_values

    if not inputs and not more:
        raise click.UsageError("Missing INPUT: give an image, a PDF or a folder.")
    writer = _writer(format_name, output)
    _refuse_mistyped_booleans((*inputs, *more))
    input_values = {name: settings.pop(name) for name in INPUTS}
    trace = settings.pop("profile")
    if trace is not None and not trace.absolute().parent.is_dir():
        raise OutputError(f"{trace} cannot be written: its folder does not exist; create it, or choose another file")
    assembly = assemble(pipeline_request(settings))
    input_values["pdf_text"] = writer.pdf_text(input_values["pdf_text"])
    options = with_values(assembly.options, input_values)
    failures: list[InputError] = []
    with _profile(trace):
        files, missing = _expanded((*inputs, *more))
        outcomes = itertools.chain(missing, _read_inputs(assembly.engine, options, files))
        pages = _save_each(_without_failures(outcomes, failures), save_path)
        _write(writer, pages, output, several_files=len(files) > 1)
    sys.exit(int(bool(failures)))


run.params += [save_path_setting(), *input_settings(), *pipeline_settings()]


def _refuse_mistyped_booleans(inputs: Sequence[str]) -> None:
    """Raise UsageError for an input such as Flase, which follows a boolean option."""
    for name in inputs:
        if get_close_matches(name.lower(), ("true", "false"), 1, TYPED) and not Path(name).exists():
            raise click.UsageError(f"{name!r} is no file: the value of a boolean option is True or False.")


def pipeline_request(given: Mapping[str, Any]) -> Request:
    """Convert command-line options to the request of a pipeline; None and empty values are options that were not given."""
    from ocr_onnx.paddle import pipeline_yaml
    from ocr_onnx.paddle.assembly import PARAMETERS, Request
    from ocr_onnx.paddle.parameters import take_tensorrt, take_use_gpu, take_without_effect

    values = _current_names({name: value for name, value in given.items() if value is not None})
    mode, hpi = values.pop("mode", None), values.pop("enable_hpi", None)
    if mode is not None and hpi is not None:
        raise click.UsageError("--mode and --enable_hpi are the same option: use --mode only.")
    take_without_effect({name: values.pop(name) for name in values.keys() & WITHOUT_EFFECT.keys()})
    for name in values.keys() & DROPPED:
        del values[name]
    device = take_use_gpu(values, values.get("device"))
    values["device"], values["provider"] = take_tensorrt(values, device, values.get("provider") or ())
    downloads = _policy(values)
    options = {name: values.pop(name) for name in values.keys() & PARAMETERS}
    config = values.pop("paddlex_config", None)
    return Request(
        options,
        None if config is None else pipeline_yaml.load(config),
        high_performance=hpi if mode is None else mode == "high-performance",
        providers=values.pop("provider", ()),
        compatible=values.pop("compatible", None) is not None,
        downloads=downloads,
        **values,
    )


def _policy(values: dict[str, Any]) -> Policy | None:
    """Take the options for downloads out of `values`; None: as the environment variables say."""
    never, known = values.pop("no_download", False), values.pop("require_checksum", False)
    return "never" if never else "known" if known else None


def _current_names(given: dict[str, Any]) -> dict[str, Any]:
    """Replace PaddleOCR's deprecated names by current ones, with a warning."""
    for old in sorted(given.keys() & OLD_NAMES.keys()):
        new = OLD_NAMES[old]
        click.echo(f"WARNING: --{old} is deprecated: use --{new}", err=True)
        if new in given:
            raise click.UsageError(f"--{old} and --{new} are the same option: use --{new} only.")
        given[new] = given.pop(old)
    return given


@contextmanager
def _profile(trace: Path | None) -> Iterator[None]:
    """Record a profile, then write the trace and print the table; do nothing if `trace` is None."""
    if trace is None:
        yield
        return
    from ocr_onnx.runtime import profiling

    with profiling.record() as profile:
        yield
    profile.save(trace)
    click.echo(profile.table(), err=True)


def _is_folder(output: str) -> bool:
    return output.endswith(("/", os.sep)) or Path(output).is_dir()


def _writer(format_name: str | None, output: str | None) -> Writer:
    """Return the format of the output. Raises UsageError, OptionError, or OutputError if it needs a package."""
    if output is not None and format_name is None and _is_folder(output):
        raise click.UsageError(f"--output {output} is a folder: give --format too.")
    writer = FORMATS[format_name or DEFAULT_FORMAT] if output is None else find(format_name, Path(output))
    if writer.document is not None and output is None and sys.stdout.isatty():
        raise click.UsageError(f"--format {writer.name} is not text: give --output FILE.")
    writer.require()
    return writer


def _write(writer: Writer, pages: Iterable[OCRResult], output: str | None, *, several_files: bool) -> None:
    """Write the output as it is made: to standard output, to a file, or to a file in a folder for each input. Raises OutputError."""
    if output is None:
        write = writer.write if writer.document is None else writer.encoded
        for part in write(pages, several_files=several_files):
            _print(part)
    elif _is_folder(output):
        _write_each(writer, pages, Path(output))
    else:
        save_parts(writer.encoded(pages, several_files=several_files), Path(output))


def _write_each(writer: Writer, pages: Iterable[OCRResult], folder: Path) -> None:
    """Write a file for each input, named after it."""
    from ocr_onnx.outputs.saving import file_stem

    taken: set[str] = set()
    for _, of_input in itertools.groupby(pages, key=lambda result: result.source.path):
        first = next(of_input)
        stem = file_stem(replace(first.source, index=None))
        names = (f"{stem}_{n}{writer.suffix}" if n > 1 else f"{stem}{writer.suffix}" for n in itertools.count(1))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        save_parts(writer.encoded(itertools.chain([first], of_input)), folder / name)  # noqa: B031 once for each input


def _print(text: str | bytes) -> None:
    """Print to standard output. Raises OutputError if the disk is full; click handles a closed pipe."""
    try:
        click.echo(text, nl=False)
    except BrokenPipeError:
        raise
    except OSError as error:
        # At exit, Python would try to write the rest, fail again, and print its own message.
        with Path(os.devnull).open("w") as nowhere, suppress(OSError, ValueError):
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        raise OutputError(
            f"standard output cannot be written: {error.strerror}; free disk space or redirect it elsewhere"
        ) from error


def _without_failures(outcomes: Iterable[OCRResult | InputError], failures: list[InputError]) -> Iterator[OCRResult]:
    """Yield the results; print errors to standard error and add them to `failures`."""
    for outcome in outcomes:
        if isinstance(outcome, InputError):
            failures.append(outcome)
            click.echo(f"Error: {outcome}", err=True)
        else:
            yield outcome


def _save_each(results: Iterable[OCRResult], folder: Path | None) -> Iterator[OCRResult]:
    """Yield the results; write the files of each into `folder` first, if given."""
    taken: dict[Path, str] = {}
    for result in results:
        if folder is not None:
            _save_page(result, folder, taken)
        yield result


def _save_page(result: OCRResult, folder: Path, taken: dict[Path, str]) -> None:
    """Write the files of a page; into a numbered subfolder if another input has already written files of that name."""
    from ocr_onnx.outputs.saving import file_stem

    source, name = str(result.source.path), file_stem(result.source)
    places = itertools.chain([folder], (folder / str(number) for number in itertools.count(2)))
    place = next(place for place in places if taken.setdefault(place / name, source) == source)
    if place != folder:
        click.echo(
            f"The files of {source} are written to {place}: {folder} has files of the same name from {taken[folder / name]}",
            err=True,
        )
    result.save_to_json(place)
    result.save_to_img(place)


def _expanded(inputs: Sequence[str]) -> tuple[list[str], list[InputError]]:
    """Return the files and URLs of the inputs, and the errors of those that have none."""
    from ocr_onnx.inputs import sources

    files: list[str] = []
    errors: list[InputError] = []
    for name in inputs:
        try:
            files += [name] if name == STANDARD_INPUT else sources.expand_path(name)
        except InputError as error:
            errors.append(error)
    return files, errors


def _read_standard_input(size: int) -> bytes:
    """Read as many bytes; sys.stdin is looked up here, because it is None in a program that has none."""
    return sys.stdin.buffer.read(size)


def _read_inputs(engine: OCR, options: OCROptions, files: Sequence[str]) -> Iterator[OCRResult | InputError]:
    """Yield the result of every page of every file, or the error of a file, and show progress on a terminal."""
    paths = [STANDARD_INPUT_NAME if name == STANDARD_INPUT else name for name in files]
    stdin = SimpleNamespace(name=STANDARD_INPUT_NAME, read=_read_standard_input)
    given = [stdin if name == STANDARD_INPUT else name for name in files]
    begin = 0
    _show_progress(f"1 of {len(paths)}: {paths[0]}" if len(paths) > 1 else "")
    for outcome in engine.predict_iter(given, options, return_exceptions=True):
        _show_progress("")
        yield outcome
        if isinstance(outcome, InputError):
            continue
        page = outcome.source
        place = paths.index(str(page.path), begin)
        # The same path can be given twice.
        begin = place + (page.index is None)
        of_file = "" if page.index is None else f", {page.index + 1} of {page.count} pages"
        _show_progress(f"{place + 1} of {len(paths)}: {page.path}{of_file}")
    _show_progress("")


def _show_progress(text: str) -> None:
    """Replace the progress line, if standard error is a terminal."""
    if sys.stderr.isatty():
        click.echo(f"\r\x1b[K{text}", err=True, nl=False)
