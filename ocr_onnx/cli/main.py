"""The command `ocr-onnx`, a group of the commands in this package.

Results are written to standard output, everything else to standard error.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import io
import logging
import sys
from pathlib import Path

import click

from ocr_onnx import __version__
from ocr_onnx.errors import OCRError, shortened

NOTES = "ocr_onnx.notes"
"""The logger of messages about choices that a user of the command line should see."""

VERBOSE = ("-v", "--verbose")

COMMANDS = {
    "batch": "batch",
    "build": "build",
    "convert": "convert",
    "doctor": "doctor",
    "export-triton": "triton",
    "mcp": "mcp",
    "models": "models",
    "run": "run",
    "serve": "serve",
}
"""The module of this package that defines each command, in a function of the command's name."""


INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 and the number of the signal, as a shell reports it."""


class Commands(click.Group):
    """Imports a command when it is used, so that `run` does not wait for the imports of `serve`.

    Prints an OCRError as one line and exits with code 1, and with code 130 after Ctrl-C; other exceptions are bugs and keep their traceback.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands."""
        return sorted({*COMMANDS, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of this name."""
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module = importlib.import_module(f"ocr_onnx.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command; raise UsageError with the full command for a file or a folder in place of a command."""
        if args and args[0] not in COMMANDS and (Path(args[0]).exists() or "://" in args[0]):
            raise click.UsageError(
                f"{shortened(args[0])} is no command: did you mean 'ocr-onnx run {shortened(args[0])}'?", ctx
            )
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        """Run a command, with UTF-8 output if it is redirected to a file."""
        for stream in (sys.stdout, sys.stderr):
            # The default encoding of redirected output lacks most characters on some systems.
            if isinstance(stream, io.TextIOWrapper) and not stream.isatty():
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except click.NoSuchOption as error:
            if error.option_name in VERBOSE:
                raise click.UsageError(
                    f"{error.option_name} precedes the command: ocr-onnx -v COMMAND ...", ctx
                ) from error
            raise
        except OCRError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            # click would exit with 1, like a failure.
            click.echo("Interrupted", err=True)
            ctx.exit(INTERRUPTED)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="ocr-onnx")
@click.option(*VERBOSE, is_flag=True, help="Log what the command does.")
def main(verbose: bool) -> None:
    """Recognize text in images and PDFs with PaddleOCR's models on ONNX Runtime."""
    # Skips the last garbage collection at exit, which would free nothing that matters.
    atexit.register(gc.freeze)
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO if verbose else logging.WARNING)
    logging.getLogger(NOTES).setLevel(logging.INFO)
