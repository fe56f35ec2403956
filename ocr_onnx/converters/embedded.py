"""Make the models this package carries from the weights that the zoo's mirrors hold.

python -m ocr_onnx.converters.embedded            writes ocr_onnx/models/
python -m ocr_onnx.converters.embedded --check    makes them anew and compares byte for byte; but what is for a CPU alone,
                                                  which no two kinds of CPU compute alike, is checked to be right
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from ocr_onnx import zoo
from ocr_onnx.converters import convert
from ocr_onnx.converters.blanks import check_proof
from ocr_onnx.converters.conversion import Report, import_onnx
from ocr_onnx.converters.describe import describe_export
from ocr_onnx.converters.weights import fetch
from ocr_onnx.modelfile import for_loading


def build(spec: zoo.ModelSpec, target: Path, cache: Path) -> Report:
    """Fetch a model's weights and convert them to `target`."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = fetch(spec.mirrors, Path(scratch), cache)
        exports = list(directory.glob("*.onnx"))
        if exports:
            return import_onnx(exports[0], target, describe_export(spec.name, spec.task, directory / "inference.yml"))
        return convert(directory, target, name=spec.name)


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Compare with the files that are there instead of replacing them.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path(".cache/weights"), show_default=True)
def main(check: bool, cache: Path) -> None:
    """Build every embedded model."""
    for spec in zoo.models().values():
        if not spec.embedded:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch, spec.path.name) if check else spec.path
            click.echo(build(spec, target, cache))
            made, kept = (for_loading(path.read_bytes(), on_cpu=False) for path in (target, spec.path))
            if made != kept:
                raise click.ClickException(f"{spec.path} is not what the converter makes: make models, and see why")
            if classes := check_proof(spec.path.read_bytes()):
                click.echo(f"{classes} classes are rightly left out where a step is blank")


if __name__ == "__main__":
    main()
