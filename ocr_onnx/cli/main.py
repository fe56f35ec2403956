"""The command `ocr-onnx`: parse, call, print. Results go to standard output, everything else to standard error."""

from __future__ import annotations

import atexit
import gc
import io
import logging
import shlex
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ocr_onnx import __version__
from ocr_onnx.cli.build import build
from ocr_onnx.cli.doctor import doctor
from ocr_onnx.cli.models import confirm, models, yes_option
from ocr_onnx.cli.run import run
from ocr_onnx.cli.serve import serve
from ocr_onnx.errors import OCRError


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
    # Python would look through everything once more before it ends, for nothing.
    atexit.register(gc.freeze)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO if verbose else logging.WARNING)


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="The file to write; default: <name or folder>.onnx here."
)
@click.option("--name", help="The model's name, if its inference.yml gives none or another.")
@click.option("--dict", "dictionary", type=click.Path(path_type=Path), help="The dictionary, a character a line.")
@click.option("--verify/--no-verify", default=True, show_default=True, help="Compare the file with Paddle.")
@click.option("--isolated", is_flag=True, help="Convert in an environment of its own, which is made if there is none.")
@yes_option
@click.option("--opset", type=int, default=17, show_default=True, help="Of the file; from 14 to 17.")
@click.option(
    "--static",
    metavar="SIZE",
    help="The only input it takes, for accelerators: 1x3x48x320, or 320x48 (width x height). The pipeline needs others.",
)
@click.option("--dynamic", is_flag=True, help="Any size that the model can take; the default.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="fp16: half precision, for GPUs; it is made after the comparison with Paddle and compared with fp32.",
)
def convert(directory: Path, output: Path | None, isolated: bool, yes: bool, **settings: Any) -> None:
    """Convert a Paddle inference model to an ONNX file.

    DIRECTORY holds inference.json (or inference.pdmodel), inference.pdiparams and inference.yml; older models have no
    inference.yml and need --name and, for recognition, --dict. This needs Paddle: --isolated, or pip install
    'ocr-onnx[convert,cpu]' on Python 3.11. What it writes runs anywhere, without.

    \b
    Example:
      ocr-onnx convert ./my_finetuned_rec -o my_rec.onnx
    """
    if isolated:
        from ocr_onnx.converters import environment

        given = _given(click.get_current_context(), but={"isolated", "yes"})
        command = shlex.join(["ocr-onnx", "convert", "--isolated", "--yes", *given])
        python = environment.ensure(f"converting {directory}", command, confirm(yes))
        click.echo(environment.run(python, "convert", *given), nl=False)
        return
    from ocr_onnx import converters
    from ocr_onnx.converters.export_options import Form, parse_size

    target = output if output is not None else Path(f"{settings['name'] or directory.resolve().name}.onnx")
    static, dynamic, precision = (settings.pop(name) for name in ("static", "dynamic", "precision"))
    if static is not None and dynamic:
        raise click.UsageError("--static and --dynamic exclude each other.")
    form = Form(settings.pop("opset"), () if static is None else parse_size(static))
    report = converters.convert(directory, target, form=form, **settings)
    click.echo(f"{target}: {report}")
    if precision == "fp16":
        from ocr_onnx.converters.precision import halve

        click.echo(f"{target}: {halve(target, target)}")


@main.command("export-triton")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.argument("names", nargs=-1, metavar="[MODEL]...")
def export_triton(directory: Path, names: tuple[str, ...]) -> None:
    """Write a model repository for Triton's ONNX Runtime backend.

    DIRECTORY gets a folder for each MODEL, a name or an .onnx file; default: the models that the package carries. They
    are the graphs alone: docs/deploying.md shows how the pipeline runs them there.
    """
    from ocr_onnx.converters import triton

    for folder in triton.export(names or triton.embedded(), directory):
        click.echo(folder)


def _given(context: click.Context, but: set[str]) -> list[str]:
    """What a command was given, as it may be given to it again; the arguments come last."""
    given: list[str] = []
    for parameter in sorted(context.command.params, key=lambda p: isinstance(p, click.Argument)):
        value = context.params.get(str(parameter.name))
        if (
            parameter.name in but
            or context.get_parameter_source(str(parameter.name)) is not ParameterSource.COMMANDLINE
        ):
            continue
        if isinstance(parameter, click.Argument):
            given += ["--", str(value)]
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            given.append((parameter.opts if value else parameter.secondary_opts)[0])
        else:
            given += [parameter.opts[0], str(value)]
    return given


main.add_command(run)
main.add_command(serve)
main.add_command(models)
main.add_command(doctor)
main.add_command(build)
