"""The command `ocr-onnx build`: prepare this machine for high-performance mode, for given pipeline options."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from ocr_onnx.cli.options import PipelineCommand, pipeline_settings
from ocr_onnx.cli.run import pipeline_request

if TYPE_CHECKING:
    from ocr_onnx.paddle.assembly import Request


@click.command(cls=PipelineCommand)
def build(**given: Any) -> None:
    """Build TensorRT engines of the pipeline's models for this machine's GPU, or choose the faster library on its CPU, and store that.

    Give the options that you will use with 'run': the mode and the size limits of detection determine the input shapes
    of the engines. Without --provider, the installed TensorRT is used. Building takes minutes. An engine whose results
    differ from the CPU's on more than 2 % of the sample page's lines, pixels or orientations is rejected.

    With --device cpu, each model runs on ONNX Runtime and on OpenVINO; high-performance mode then uses the faster one, if not
    more than 2 % of the same results differ.

    \b
    Examples:
      ocr-onnx build --mode high-performance
      ocr-onnx build --device cpu
      ocr-onnx build --device gpu:1 --provider NvTensorRTRTXExecutionProvider
    """
    from ocr_onnx.models import store
    from ocr_onnx.runtime import tensorrt

    pipeline = pipeline_request(given)
    if pipeline.device == "cpu" and not pipeline.providers:
        _choose_backends(pipeline)
        return
    providers = tensorrt.build_providers(pipeline.device, pipeline.providers)
    before, known = tensorrt.engine_files(), tensorrt.comparisons()
    _build_engines(replace(pipeline, device=None, providers=providers, build_missing=True))
    after = tensorrt.engine_files()
    made = [path for path, size in after.items() if before.get(path) != size]
    outcomes = [outcome for folder, outcome in tensorrt.comparisons().items() if folder not in known]
    for line in [f"{path}  {after[path] / 1e6:.1f} MB" for path in made] + outcomes:
        click.echo(line)
    if not made and not outcomes:
        click.echo(f"No engine was built: all engines exist already, in {store.engines_folder()}.")
    click.echo("Run with: " + " ".join(f"--provider {provider}" for provider in providers))


def _choose_backends(pipeline: Request) -> None:
    """Measure the models on the CPU, print and store the figures."""
    from ocr_onnx.paddle.assembly import models_and_options
    from ocr_onnx.runtime import cpu_backends
    from ocr_onnx.runtime.threads import cpu_count
    from ocr_onnx.stages import calibration

    models, options = models_and_options(pipeline)
    measured = []
    for each in calibration.compare_backends(models, options, pipeline.cpu_threads or cpu_count()):
        click.echo(str(each))
        measured.append(each)
    click.echo(f"Stored in {cpu_backends.keep(measured)}. Run with: --mode high-performance")


def _build_engines(pipeline: Request) -> None:
    """Load the pipeline and run it on every input shape. ONNX Runtime writes some engines when the pipeline is freed."""
    from ocr_onnx.paddle.assembly import assemble

    assemble(pipeline).engine.warm_up()


build.params += [setting for setting in pipeline_settings() if setting.name != "build_missing"]
