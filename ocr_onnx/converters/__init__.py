"""Paddle inference models to ONNX files that say all that using them needs.

Importing this loads nothing heavy; converting needs the extra `convert` (Paddle and paddle2onnx, about 1 GB) on Python
3.11 or 3.12. What comes out runs anywhere, without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocr_onnx.converters.conversion import Report as Report


def convert(directory: Path, target: Path, *, name: str | None = None, verify: bool = True) -> Report:
    """Convert the Paddle model in `directory` to the file `target`: see conversion.convert."""
    from ocr_onnx.converters import conversion

    return conversion.convert(directory, target, name=name, verify=verify)
