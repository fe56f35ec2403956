"""Choose pictures of a folder; imports no package that the environment of `ocr-onnx convert` lacks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click


def spread(data: Path, counts: Mapping[str, int]) -> list[Path]:
    """So many files of each pattern, by name and evenly spread."""
    chosen: list[Path] = []
    for pattern, count in counts.items():
        paths = sorted(data.glob(pattern))
        if len(paths) < count:
            raise click.ClickException(f"{data} has {len(paths)} of {pattern}, and {count} are needed")
        chosen += paths[:: len(paths) // count][:count]
    return chosen
