"""Convert the models whose weights cannot be downloaded, with made-up weights, for `make bench`: latency does not depend on them.

    python -m benchmarks.made_up_models --reference FOLDER --to FOLDER

The graphs are the official ones, or rebuilt from PaddleOCR's training code (benchmarks.verify_models). A model that exists in the
target folder is not converted again. Requires the environment of `ocr-onnx convert`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from benchmarks.verify_models import sources
from ocr_onnx.converters.export import convert_model
from ocr_onnx.converters.paddle import PaddleModel
from ocr_onnx.models import zoo

MADE_UP = ("synthetic", "rebuilt")


@click.command(help=__doc__)
@click.option("--reference", type=click.Path(path_type=Path), required=True, help="The folder with models/graphs.")
@click.option("--cache", type=click.Path(path_type=Path), default=Path(".cache/weights"), help="Downloads.")
@click.option("--to", "target", type=click.Path(path_type=Path), required=True, help="The folder for the ONNX files.")
def main(reference: Path, cache: Path, target: Path) -> None:
    """Convert."""
    target.mkdir(parents=True, exist_ok=True)
    real = {path.stem for path in (reference / "models" / "onnx").glob("*.onnx")}
    wanted = [
        spec
        for spec in zoo.models().values()
        if not spec.mirrors_complete and spec.name not in real and not (target / f"{spec.name}.onnx").is_file()
    ]
    with tempfile.TemporaryDirectory() as scratch:
        for spec, weights, source in sources(wanted, reference, cache, Path(scratch)):
            if weights in MADE_UP and isinstance(source, PaddleModel):
                convert_model(source, target / f"{spec.name}.onnx", name=spec.name, verify=False)
                click.echo(f"{spec.name}: {weights}", err=True)


if __name__ == "__main__":
    main()
