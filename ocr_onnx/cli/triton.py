"""The command `ocr-onnx export-triton`: write a model repository for NVIDIA's Triton Inference Server."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("export-triton")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.argument("names", nargs=-1, metavar="[MODEL]...")
def export_triton(directory: Path, names: tuple[str, ...]) -> None:
    """Write a model repository for Triton's ONNX Runtime backend.

    Each MODEL, a name or an .onnx file, becomes a folder in DIRECTORY. Default: the models included in the package. The
    repository contains only the graphs: docs/deploying.md shows how the pipeline uses them on the server.
    """
    from ocr_onnx.converters import triton

    for folder in triton.export(names or triton.embedded(), directory):
        click.echo(folder)
