"""The command `ocr-onnx serve`: the options of `run` that make a pipeline, and those of the service."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocr_onnx.cli.options import PipelineCommand, Setting, pipeline_settings
from ocr_onnx.cli.run import pipeline_request
from ocr_onnx.errors import OCRError

if TYPE_CHECKING:
    from ocr_onnx.paddle.assembly import Request
    from ocr_onnx.service.engine import Engine
    from ocr_onnx.service.settings import Settings

MISSING = "the service is not installed: pip install 'ocr-onnx[serve,cpu]'"


def _listening() -> Iterator[Setting]:
    """Where, and for whom."""
    group = "Service"
    yield Setting(
        "host",
        group=group,
        help="Address to listen on; default: 127.0.0.1, for this machine alone. 0.0.0.0 is for other machines too, and "
        "needs --api_key_file.",
    )
    yield Setting("port", group=group, type=int, help="Default: 8080.")
    yield Setting("workers", group=group, type=int, help="Processes, each with an engine of its own; default: 1.")
    yield Setting("threads", group=group, type=int, help="Requests a process works on at a time; default: cores + 1.")
    yield Setting(
        "api_key_file",
        group=group,
        type=click.Path(dir_okay=False, path_type=Path),
        help="A key a line; requests then need one. Default: none is needed.",
    )
    yield Setting(
        "no_keys",
        group=group,
        type=bool,
        help="Listen for other machines without keys: everyone who can reach the port can use the service; default: False.",
    )
    yield Setting(
        "allow_host",
        group=group,
        multiple=True,
        metavar="NAME",
        help="Without keys, answer requests for this name too (ocr.example.com, *.example.com); may be repeated. Default: "
        "localhost and IP addresses.",
    )
    yield Setting(
        "allow_url",
        group=group,
        multiple=True,
        metavar="HOST",
        help="Fetch addresses of this host (example.com, *.example.com, host:8000); may be repeated. Default: fetch none.",
    )
    yield Setting(
        "allow_private", group=group, type=bool, help="Those hosts may be in private networks; default: False."
    )
    yield Setting(
        "visualize", group=group, type=bool, help="Send pictures where a request does not say; default: True."
    )
    yield Setting("page", group=group, type=bool, help="Serve the page at /; default: True.")


def _limits() -> Iterator[Setting]:
    """How much is taken."""
    group = "Limits of the service"
    yield Setting("queue_size", group=group, type=int, help="Requests that may wait; the next gets 503; default: 64.")
    yield Setting("deadline", group=group, type=float, help="Seconds for an answer; default: 120.")
    yield Setting("transfer_timeout", group=group, type=float, help="Seconds for a body or an answer; default: 60.")
    yield Setting("header_timeout", group=group, type=float, help="Seconds for a request's header; default: 10.")
    yield Setting("max_connections", group=group, type=int, help="Of one process; default: 500.")
    yield Setting(
        "max_connections_per_address",
        group=group,
        type=int,
        help="Of one client address; 0: no limit, as behind a reverse proxy; default: 100.",
    )
    yield Setting("max_per_client", group=group, type=int, help="Requests of one client at a time; default: no limit.")
    yield Setting("max_body_megabytes", group=group, type=float, help="Of one request; default: 64.")
    yield Setting(
        "max_waiting_megabytes", group=group, type=float, help="Of all bodies and answers together; default: 512."
    )
    yield Setting(
        "max_memory",
        group=group,
        type=float,
        metavar="MEGABYTES",
        help="Of all pages that a process reads at a time; default: 80 % of what the container or machine has left.",
    )
    yield Setting("max_megapixels", group=group, type=float, help="Of a page; PDFs are rendered smaller; default: 50.")
    yield Setting("max_pages", group=group, type=int, help="Of a document, 0: all; default: the first 10.")
    yield Setting("max_lines", group=group, type=int, help="Regions looked at on a page; default: 1000.")
    yield Setting("max_side", group=group, type=int, help="Pixels that detection is given; default: 4000.")
    yield Setting("pdf_scale", group=group, type=float, help="Of PDFs, times 72 dots an inch; default: 2.0.")


@click.command(cls=PipelineCommand)
def serve(paddlex_config: str | None, **given: Any) -> None:
    """Answer requests over HTTP: POST /ocr as PaddleX serves it, and a page at /.

    The options of the pipeline are those of `ocr-onnx run`. A pipeline file's Serving block is honored; options win.
    Ends on SIGTERM once all that was taken is answered.

    \b
    Examples:
      ocr-onnx serve
      ocr-onnx serve --host 0.0.0.0 --api-key-file keys.txt --workers 2
      ocr-onnx serve --paddlex_config OCR.yaml --allow-url files.example.com
    """
    try:
        from ocr_onnx.service import server, settings
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("ocr_onnx"):
            raise
        raise OCRError(f"{MISSING} ({error.name} is missing)") from error
    from ocr_onnx.paddle import pipeline_yaml

    own = {setting.name: given.pop(str(setting.name)) for setting in SERVICE}
    block = None if paddlex_config is None else pipeline_yaml.parse(Path(paddlex_config)).get("Serving")
    chosen = settings.of_serving_block(block) | {str(n): v for n, v in own.items() if v is not None and v != ()}
    if chosen.get("max_pages") == 0:
        chosen["max_pages"] = None
    known = settings.Settings(**chosen)
    wanted = pipeline_request({**given, "paddlex_config": paddlex_config})
    sys.exit(server.serve(known, partial(make_engine, known, wanted)))


def make_engine(settings: Settings, wanted: Request) -> Engine:
    """Load the models, and warm up a GPU before the service listens; several processes share the cores."""
    from ocr_onnx.paddle.assembly import assemble
    from ocr_onnx.runtime.threads import cpu_count
    from ocr_onnx.service import engine

    if settings.workers > 1 and wanted.cpu_threads is None:
        wanted = replace(wanted, cpu_threads=max(cpu_count() // settings.workers, 1))
    made = assemble(wanted)
    if made.engine.placement.on_gpu:
        made.engine.warm_up()
    return engine.of(made.engine, made.options)


SERVICE = [*_listening(), *_limits()]
serve.params += [*pipeline_settings(), *SERVICE]
