"""The command `ocr-onnx mcp`: tools of the Model Context Protocol for files in named folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ocr_onnx.cli.options import PipelineCommand, pipeline_settings
from ocr_onnx.cli.run import pipeline_request
from ocr_onnx.errors import OCRError
from ocr_onnx.installation import requirement

MISSING = "the MCP server is not installed: pip install"

LAST_PORT = 65_535


@click.command(cls=PipelineCommand)
@click.argument(
    "folders",
    nargs=-1,
    required=True,
    metavar="FOLDER...",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
)
@click.option(
    "--port",
    type=click.IntRange(1, LAST_PORT),
    help="Serve over HTTP on this port of 127.0.0.1, at /mcp, instead of standard input and output.",
)
def mcp(folders: tuple[Path, ...], port: int | None, **settings: Any) -> None:
    """Serve the tools `ocr` and `searchable_pdf` over the Model Context Protocol, for files in FOLDER.

    Files outside of the folders cannot be read or written, and existing files are not replaced. Options of the pipeline are the
    same as for `ocr-onnx run`.

    \b
    Examples:
      ocr-onnx mcp scans/
      ocr-onnx mcp scans/ letters/ --port 8765
    """
    try:
        from ocr_onnx.integrations.mcp import make_server
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("ocr_onnx"):
            raise
        raise OCRError(f"{MISSING} {requirement('mcp,cpu')} ({error.name} is missing)") from error
    from ocr_onnx.paddle.assembly import assemble

    server = make_server(assemble(pipeline_request(settings)).engine, folders)
    if port is None:
        server.run("stdio")
    else:
        server.run("streamable-http", host="127.0.0.1", port=port)


mcp.params += pipeline_settings()
