"""The command `ocr-onnx batch`: read any number of documents into shards or files; continue after an interruption."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from ocr_onnx.batch.settings import BatchOptions, ShardFormat
from ocr_onnx.cli.main import INTERRUPTED
from ocr_onnx.cli.options import (
    PipelineCommand,
    input_settings,
    pipeline_settings,
    require_linux,
    setting_of_declaration,
)
from ocr_onnx.cli.run import pipeline_request
from ocr_onnx.declarations import declared_fields
from ocr_onnx.errors import OCRError
from ocr_onnx.outputs.formats import FORMATS

if TYPE_CHECKING:
    from ocr_onnx.batch.journal import Journal
    from ocr_onnx.batch.output import Output
    from ocr_onnx.batch.reader import EngineSettings

INPUTS = tuple(str(setting.name) for setting in input_settings())

OPTIONS = [
    setting_of_declaration(declared, each.default, "Workers and shards")
    for each, declared in declared_fields(BatchOptions)
]


class BatchCommand(PipelineCommand):
    """A command whose first argument can be `status` or `verify`."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Return the context of this command, or of `status` or `verify`."""
        if args and args[0] in COMMANDS:
            return COMMANDS[args[0]].make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


def _folder_of_output(_: click.Context, __: click.Parameter, value: str) -> Path:
    """Return the folder. Raises BadParameter for an address: the journal is a database on this machine."""
    from ocr_onnx.inputs.sources import SCHEME

    if SCHEME.match(value):
        raise click.BadParameter(
            f"{value} is not on this machine: give a folder, and copy it when the run is complete."
        )
    return Path(value)


@click.command(cls=BatchCommand)
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(file_okay=False),
    callback=_folder_of_output,
    help="Folder for the results and the journal. If it has those of an interrupted run, the run continues.",
)
@click.option(
    "--format",
    "shard_format",
    type=click.Choice(get_args(ShardFormat)),
    help="Format of the shards, which have one row a page: JSON lines, or Parquet (pip install 'ocr-onnx[batch]'). Default: jsonl.",
)
@click.option(
    "--files",
    "file_format",
    type=click.Choice(list(FORMATS)),
    help="Write a file in this format for each document, instead of shards.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    help="ray: read with --workers actors of Ray Data, on one or several machines (pip install 'ocr-onnx[cpu,ray]'). Default: local.",
)
@click.option("--address", help='Address of a Ray cluster, or "auto". Default: Ray starts on this machine.')
@click.option("--retry-failed", is_flag=True, help="Read the pages again that failed in an earlier run.")
def batch(  # noqa: PLR0913, PLR0917 one for each option
    inputs: tuple[str, ...],
    output: Path,
    shard_format: ShardFormat | None,
    file_format: str | None,
    engine: str,
    address: str | None,
    retry_failed: bool,
    **settings: Any,
) -> None:
    """Read any number of documents, one page on each CPU core, and continue after an interruption.

    INPUT is a file, a folder, a pattern, a list of names (.txt, or .csv with a column "path"), a tar or zip archive
    (pages-{000..123}.tar is a range), an http(s) URL, or an address such as s3://bucket/scans/ (pip install 'ocr-onnx[batch]').
    A page that cannot be read is recorded in failures.jsonl, and the exit code is 1. Names of documents are as they are given:
    give the same ones to continue.

    \b
    Examples:
      ocr-onnx batch scans/ -o result
      ocr-onnx batch scans.csv -o result --format parquet --preset fast
      ocr-onnx batch 'scans/**/*.pdf' -o searchable --files pdf
      ocr-onnx batch status result       pages, failures, shards
      ocr-onnx batch verify result       check that each page is there exactly once
    """
    if shard_format is not None and file_format is not None:
        raise click.UsageError("--format and --files exclude each other: give one of them.")
    if address is not None and engine != "ray":
        raise click.UsageError("--address is for --engine ray: give both.")
    require_linux("ocr-onnx batch")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from ocr_onnx.batch import output as outputs

    workers = _engine_settings(settings, file_format)
    _require_packages(shard_format, file_format)
    kind = shard_format or "jsonl"
    with _ending(output), outputs.opened(output, kind, workers.batch.shard_pages, file_format) as opened:
        _read_all(inputs, opened, workers, (engine, address), retry_failed=retry_failed)
        counts = opened.journal.counts()
        # If nothing was read, one reason usually holds for all.
        first = next(opened.journal.failures(), None) if not counts.pages else None
    if first is not None:
        click.echo(f"Error: {first.error}", err=True)
    reasons = f", see {output / outputs.FAILURES}" if counts.failed else ""
    click.echo(f"{counts.pages} pages, {counts.failed} failed, {counts.documents} documents{reasons}", err=True)
    sys.exit(int(counts.failed > 0))


# PaddleOCR's --engine chooses one of Paddle's.
batch.params += [*OPTIONS, *input_settings(), *(each for each in pipeline_settings() if each.name != "engine")]


def _engine_settings(settings: dict[str, Any], file_format: str | None) -> EngineSettings:
    """Return the settings of the workers, from those of the command line."""
    from ocr_onnx.batch.reader import EngineSettings
    from ocr_onnx.runtime.threads import cpu_count

    own = {str(setting.name): settings.pop(str(setting.name)) for setting in OPTIONS}
    given = {name: settings.pop(name) for name in INPUTS}
    if file_format is not None:
        given["pdf_text"] = FORMATS[file_format].pdf_text(given["pdf_text"])
    inputs = {name: value for name, value in given.items() if value is not None}
    options = BatchOptions(**{name: value for name, value in own.items() if value is not None})
    request = pipeline_request(settings)
    if options.workers is None:
        options = replace(options, workers=max(cpu_count() // (request.cpu_threads or 1), 1))
    return EngineSettings(request, inputs, options)


def _require_packages(shard_format: str | None, file_format: str | None) -> None:
    """Raise OutputError if the packages for a format are missing."""
    if shard_format == "parquet":
        from ocr_onnx.batch.shards import schema

        schema()
    if file_format is not None:
        FORMATS[file_format].require()


@contextmanager
def _ending(output: Path) -> Iterator[None]:
    """End after Ctrl-C, SIGTERM or the end of the terminal with a message that the run can continue."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # nohup ignores it.
        signal.signal(signal.SIGHUP, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        with suppress(OSError):  # The terminal may be gone.
            click.echo(f"\nInterrupted: run the same command again to continue in {output}", err=True)
        sys.exit(INTERRUPTED)


def _read_all(
    inputs: tuple[str, ...],
    output: Output,
    workers: EngineSettings,
    engine: tuple[str, str | None],
    *,
    retry_failed: bool,
) -> None:
    """Read the inputs, and save what is read even if that is interrupted."""
    from ocr_onnx.batch.listing import documents
    from ocr_onnx.batch.pool import Pool
    from ocr_onnx.batch.progress import Progress, Total
    from ocr_onnx.batch.runner import Job, Runner
    from ocr_onnx.inputs.sources import SCHEME
    from ocr_onnx.options import InputOptions

    pool: Pool[Job] = Pool(workers, output.file_format)
    try:
        output.journal.require({**output.described(), **pool.described})
        output.journal.forget_unlisted()
        if retry_failed:
            output.journal.forget_failures(whole_documents=output.file_format is not None)
        options = InputOptions(**pool.described["options"]["input"])
        total, listed = Total(), partial(documents, inputs, options, output.folders())
        if not any(map(SCHEME.match, inputs)):  # Listing on a network a second time would take long.
            total.count(listed())
        progress = Progress(output.journal, sys.stderr, total)
        if engine[0] == "ray":
            from ocr_onnx.integrations.ray import RayEngine

            pool.close()
            RayEngine(workers, options, output.file_format, engine[1]).run(output, listed(), progress.tick)
        else:
            pool.fill()
            Runner(output, pool, options, progress.tick).run(listed())
        output.finish()
        progress.finish()
    except KeyboardInterrupt:
        output.save(now=True)
        output.list_failures()
        raise
    finally:
        pool.close()


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
def status(output: Path) -> None:
    """Print the state of a batch as JSON: documents, pages, failures and shards. It may be running."""
    with _journal(output) as journal:
        click.echo(json.dumps(journal.counts()._asdict(), indent=2))


@click.command()
@click.argument("output", type=click.Path(path_type=Path))
def verify(output: Path) -> None:
    """Check that a batch is complete and that its files have each page exactly once; the exit code is 1 if not."""
    from ocr_onnx.batch.verification import problems

    with _journal(output) as journal:
        found = list(problems(journal))
        if found:
            click.echo("\n".join(found))
            raise OCRError(f"{output} has problems ({len(found)}): see above")
        counts = journal.counts()
    click.echo(f"{output} is complete: {counts.pages} pages, {counts.failed} failed, {counts.documents} documents")


@contextmanager
def _journal(folder: Path) -> Iterator[Journal]:
    """Open the journal of an output folder for reading."""
    from ocr_onnx.batch.journal import Journal, database_errors

    with database_errors(folder):
        journal = Journal(folder, create=False)
        try:
            yield journal
        finally:
            journal.close()


COMMANDS: dict[str, click.Command] = {"status": status, "verify": verify}
