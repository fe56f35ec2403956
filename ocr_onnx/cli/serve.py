"""The command `ocr-onnx serve`: the pipeline options of `run`, and those declared in service.settings."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocr_onnx.cli.options import PipelineCommand, pipeline_settings, require_linux, setting_of_declaration
from ocr_onnx.cli.run import pipeline_request
from ocr_onnx.declarations import declared_fields
from ocr_onnx.errors import OCRError
from ocr_onnx.installation import requirement
from ocr_onnx.service.settings import Settings, from_serving_block

if TYPE_CHECKING:
    from ocr_onnx.paddle.assembly import Request
    from ocr_onnx.service.engine import Engine

MISSING = "the service is not installed: pip install"

SERVICE, LIMITS = "Service", "Limits of the service"
"""The titles in the help."""


@click.command(cls=PipelineCommand)
def serve(paddlex_config: str | None, **given: Any) -> None:
    """Serve OCR over HTTP: POST /ocr with PaddleX's protocol, and a web page at /.

    Options of the pipeline are the same as for `ocr-onnx run`. Options take precedence over the Serving block of a
    pipeline file. On SIGTERM the server finishes accepted requests, refuses new ones, then exits.

    \b
    Examples:
      ocr-onnx serve
      ocr-onnx serve --host 0.0.0.0 --api-key-file keys.txt --workers 2
      ocr-onnx serve --paddlex_config OCR.yaml --allow-url files.example.com
    """
    require_linux("the service")
    try:
        from ocr_onnx.service import server
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("ocr_onnx"):
            raise
        raise OCRError(f"{MISSING} {requirement('serve,cpu')} ({error.name} is missing)") from error
    from ocr_onnx.paddle import pipeline_yaml

    own = {str(setting.name): given.pop(str(setting.name)) for setting in OPTIONS}
    block = None if paddlex_config is None else pipeline_yaml.parse(Path(paddlex_config)).get("Serving")
    chosen = from_serving_block(block) | {name: value for name, value in own.items() if value not in (None, ())}
    settings = Settings(**chosen)
    models = pipeline_request({**given, "paddlex_config": paddlex_config})
    sys.exit(server.serve(settings, partial(make_engine, settings, models)))


def make_engine(settings: Settings, models: Request) -> Engine:
    """Load the models and warm up a GPU. Several workers share the CPU cores."""
    from ocr_onnx.paddle.assembly import assemble
    from ocr_onnx.runtime.threads import cpu_count
    from ocr_onnx.service import engine

    if settings.workers > 1 and models.cpu_threads is None:
        models = replace(models, cpu_threads=max(cpu_count() // settings.workers, 1))
    made = assemble(models)
    if made.engine.placement.on_gpu:
        made.engine.warm_up()
    return engine.from_pipeline(made.engine, made.options)


OPTIONS = [
    setting_of_declaration(declared, each.default, LIMITS if declared.beyond else SERVICE)
    for each, declared in declared_fields(Settings)
]
serve.params += [*pipeline_settings(), *OPTIONS]
