"""The command `ocr-onnx build`: TensorRT's engines made ahead, with the options that the pipeline will run with."""

from __future__ import annotations

from typing import Any

import click

from ocr_onnx.cli.run import parameters
from ocr_onnx.cli.settings import Run, all_settings

OF_RUN_ALONE = frozenset({"save_path", "pdf_pages", "pdf_password", "pdf_scale", "max_megapixels", "build_missing"})
"""What has no part in making a pipeline, or goes without saying here."""


@click.command(cls=Run)
def build(**given: Any) -> None:
    """Have TensorRT compile the models of a pipeline, for this machine's GPU, and keep what it makes.

    The options are those of 'run': give those that you will run with, as the mode and the limits of detection decide for
    which shapes it compiles. Without --provider it takes the TensorRT that is here. It takes minutes. What decides
    otherwise than the CPU on more than one case in fifty of a sample page is refused.

    \b
    Examples:
      ocr-onnx build --mode high-performance
      ocr-onnx build --device gpu:1 --provider NvTensorRTRTXExecutionProvider
    """
    from ocr_onnx.runtime import tensorrt

    settings = parameters(given)
    providers = tensorrt.on(settings.pop("device", None), settings["providers"])
    before, known = tensorrt.written(), tensorrt.compared()
    _make(settings | {"providers": providers})
    after = tensorrt.written()
    made = [path for path, size in after.items() if before.get(path) != size]
    outcomes = [outcome for folder, outcome in tensorrt.compared().items() if folder not in known]
    for line in [f"{path}  {after[path] / 1e6:.1f} MB" for path in made] + outcomes:
        click.echo(line)
    if not made and not outcomes:
        click.echo(f"Nothing was built: the engines are in {tensorrt.root()}.")
    click.echo("Run with: " + " ".join(f"--provider {provider}" for provider in providers))


def _make(settings: dict[str, Any]) -> None:
    """Make the pipeline and run it on every shape; some is written when it is let go."""
    from ocr_onnx.paddle.paddleocr import PaddleOCR

    PaddleOCR(**settings, build_missing=True).engine.warm_up()


build.params += [setting for setting in all_settings() if setting.name not in OF_RUN_ALONE]
