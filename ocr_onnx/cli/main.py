"""The command `ocr-onnx`, a group of the commands in this package.

Results are written to standard output, everything else to standard error.
"""

from __future__ import annotations

import atexit
import gc
import io
import logging
import sys

import click

from ocr_onnx import __version__
from ocr_onnx.cli.build import build
from ocr_onnx.cli.convert import convert
from ocr_onnx.cli.doctor import doctor
from ocr_onnx.cli.models import models
from ocr_onnx.cli.run import run
from ocr_onnx.cli.serve import serve
from ocr_onnx.cli.triton import export_triton
from ocr_onnx.errors import OCRError


class Commands(click.Group):
    """Prints an OCRError as one line and exits with code 1; other exceptions are bugs and keep their traceback."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command, with UTF-8 output if it is redirected to a file."""
        for stream in (sys.stdout, sys.stderr):
            # The default encoding of redirected output lacks most characters on some systems.
            if isinstance(stream, io.TextIOWrapper) and not stream.isatty():
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except OCRError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ocr-onnx")
@click.option("-v", "--verbose", is_flag=True, help="Log what the command does.")
def main(verbose: bool) -> None:
    """Recognize text in images and PDFs with PaddleOCR's models on ONNX Runtime."""
    # Skips the last garbage collection at exit, which would free nothing that matters.
    atexit.register(gc.freeze)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO if verbose else logging.WARNING)


for _command in (run, serve, models, convert, doctor, build, export_triton):
    main.add_command(_command)
