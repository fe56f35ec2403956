"""The command `ocr-onnx convert`: convert a Paddle model to an ONNX file."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ocr_onnx.cli.models import confirm, dictionary_option, yes_option


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="The file to write. Default: the name, or the folder's name, with suffix .onnx in the current folder.",
)
@click.option("--name", help="The model's name, if inference.yml has none or another.")
@dictionary_option
@click.option(
    "--verify/--no-verify", default=True, show_default=True, help="Compare the results of the ONNX file with Paddle's."
)
@click.option(
    "--isolated",
    is_flag=True,
    help="Convert in a separate Python environment with Paddle, which is created if necessary.",
)
@yes_option
@click.option("--opset", type=int, default=17, show_default=True, help="ONNX opset version of the file, from 14 to 17.")
@click.option(
    "--static",
    metavar="SIZE",
    help="Fix the input shape, for accelerators that need one: 1x3x48x320, or 320x48 (width x height). The pipeline cannot use "
    "such a file, because its input shapes vary.",
)
@click.option("--dynamic", is_flag=True, help="Allow all input shapes that the model supports; this is the default.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="fp16: half precision, for GPUs. The fp32 file is compared with Paddle first, then fp16 with fp32.",
)
def convert(directory: Path, output: Path | None, isolated: bool, yes: bool, **settings: Any) -> None:
    """Convert a Paddle inference model to an ONNX file.

    DIRECTORY contains inference.json (or inference.pdmodel), inference.pdiparams and inference.yml. Older models have no
    inference.yml and need --name and, for recognition, --dict. Conversion needs Paddle: use --isolated, or pip install
    'ocr-onnx[convert,cpu]' on Python 3.11. The ONNX file does not need Paddle.

    \b
    Example:
      ocr-onnx convert ./my_finetuned_rec -o my_rec.onnx
    """
    if isolated:
        from ocr_onnx.converters import environment

        arguments = _command_line(click.get_current_context(), without={"isolated", "yes"})
        command = shlex.join(["ocr-onnx", "convert", "--isolated", "--yes", *arguments])
        python = environment.ensure(f"converting {directory}", command, confirm(yes))
        click.echo(environment.run(python, "convert", *arguments), nl=False)
        return
    from ocr_onnx import converters
    from ocr_onnx.converters.export_options import ExportOptions, parse_size

    target = output if output is not None else Path(f"{settings['name'] or directory.resolve().name}.onnx")
    static, dynamic, precision = (settings.pop(name) for name in ("static", "dynamic", "precision"))
    if static is not None and dynamic:
        raise click.UsageError("--static and --dynamic cannot be combined: use one of them.")
    options = ExportOptions(settings.pop("opset"), () if static is None else parse_size(static))
    report = converters.convert(directory, target, options=options, **settings)
    click.echo(f"{target}: {report}")
    if precision == "fp16":
        from ocr_onnx.converters.precision import halve

        click.echo(f"{target}: {halve(target, target)}")


def _command_line(context: click.Context, without: set[str]) -> list[str]:
    """Return the command line of a command, without the parameters `without`; arguments come last."""
    arguments: list[str] = []
    for parameter in sorted(context.command.params, key=lambda p: isinstance(p, click.Argument)):
        value = context.params.get(str(parameter.name))
        if (
            parameter.name in without
            or context.get_parameter_source(str(parameter.name)) is not ParameterSource.COMMANDLINE
        ):
            continue
        if isinstance(parameter, click.Argument):
            arguments += ["--", str(value)]
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            arguments.append((parameter.opts if value else parameter.secondary_opts)[0])
        else:
            arguments += [parameter.opts[0], str(value)]
    return arguments
