"""Paddle inference models to ONNX files that say all that using them needs.

Importing this loads nothing heavy; converting needs the extra `convert` (Paddle and paddle2onnx, about 1 GB) on Python
3.11. What comes out runs anywhere, without it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocr_onnx.converters.conversion import Report as Report


def convert(
    directory: Path, target: Path, *, name: str | None = None, dictionary: Path | None = None, verify: bool = True
) -> Report:
    """Convert the Paddle model in `directory` to the file `target`; the same input gives the same bytes.

    `name` wins over the name in its inference.yml, and `dictionary`, a file with a character a line, over the dictionary
    there; a model of the older format may have neither there. With `verify` the file is compared with Paddle on real and on random
    inputs. Raises ModelNotFoundError where a file is missing; ConversionError, and leaves no file, where the packages
    are not installed or anything is amiss.
    """
    from ocr_onnx.converters.paddle import PaddleModel, versions

    model = PaddleModel.at(directory, dictionary)
    versions()
    from ocr_onnx.converters.conversion import convert_model

    return convert_model(model, target, name=name, verify=verify)
