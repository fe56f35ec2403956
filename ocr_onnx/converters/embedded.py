"""Build the embedded models from the weights in the zoo's mirrors.

python -m ocr_onnx.converters.embedded            writes ocr_onnx/models/weights/
python -m ocr_onnx.converters.embedded --check    builds them again and compares byte for byte, except the constants of
                                                  blank_bound, which differ between kinds of CPU: these are checked
                                                  against every class
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click
import onnx

from ocr_onnx.converters import convert
from ocr_onnx.converters.describe import describe_export
from ocr_onnx.converters.export import Report, import_onnx
from ocr_onnx.converters.passes.blank_bound import PROOF, check_proof
from ocr_onnx.converters.weights import fetch
from ocr_onnx.models import zoo
from ocr_onnx.runtime.model_file import model_for_device


def build(spec: zoo.ModelSpec, target: Path, cache: Path) -> Report:
    """Fetch a model's weights and convert them to `target`."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = fetch(spec.mirrors, Path(scratch), cache)
        exports = list(directory.glob("*.onnx"))
        if exports:
            return import_onnx(exports[0], target, describe_export(spec.name, spec.task, directory / "inference.yml"))
        return convert(directory, target, name=spec.name)


def on_cpu(model: bytes) -> onnx.ModelProto:
    """Return the model for CPUs without the constants of blank_bound."""
    known = onnx.load_from_string(model_for_device(model))
    proof = [tensor for tensor in known.graph.initializer if tensor.name.startswith(PROOF)]
    for tensor in proof:
        known.graph.initializer.remove(tensor)
    return known


@click.command(help=__doc__)
@click.option("--check", is_flag=True, help="Compare with the existing files instead of replacing them.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path(".cache/weights"), show_default=True)
def main(check: bool, cache: Path) -> None:
    """Build every embedded model."""
    for spec in zoo.models().values():
        if not spec.embedded:
            continue
        with tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch, spec.path.name) if check else spec.path
            click.echo(build(spec, target, cache))
            made, kept = (path.read_bytes() for path in (target, spec.path))
            forms = [
                (model_for_device(each, on_cpu=False), model_for_device(each, masked=True)) for each in (made, kept)
            ]
            if forms[0] != forms[1] or on_cpu(made) != on_cpu(kept):
                raise click.ClickException(
                    f"{spec.path} differs from the file that the converter makes: run make models, and compare"
                )
            if classes := check_proof(kept):
                click.echo(f"{classes} classes: the bound of blank steps holds")


if __name__ == "__main__":
    main()
