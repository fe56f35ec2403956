"""Paddle inference models to ONNX files that say all that using them needs.

Importing this loads nothing heavy; converting the newer format needs the extra `convert` (Paddle and paddle2onnx, about
1 GB) on Python 3.11. What comes out runs anywhere, without it.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ocr_onnx.converters.conversion import Report as Report
    from ocr_onnx.zoo import ModelSpec


def convert(
    directory: Path, target: Path, *, name: str | None = None, dictionary: Path | None = None, verify: bool = True
) -> Report:
    """Convert the Paddle model in `directory` to the file `target`; the same input gives the same bytes.

    `name` wins over the name in its inference.yml, and `dictionary`, a file with a character a line, over the dictionary
    there; a model of the older format may have neither there. With `verify` the file is compared with Paddle on real and
    on random inputs. Raises ModelNotFoundError where a file is missing; ConversionError, and leaves no file, where the
    packages are not installed or anything is amiss.
    """
    from ocr_onnx.converters.paddle import PaddleModel, versions

    model = PaddleModel.at(directory, dictionary)
    versions()
    from ocr_onnx.converters.conversion import convert_model

    return convert_model(model, target, name=name, verify=verify)


def make(spec: ModelSpec, directory: Path, target: Path) -> None:
    """Make a model of the zoo from its published files in `directory`, with what is installed.

    With the extra `convert` this is the conversion that was compared with Paddle. Without it, an official ONNX form is
    taken as it is, and the older Paddle format goes through the core of paddle2onnx 1.3.1, which needs no Paddle; the
    newer Paddle format needs the extra, or an environment made for it. Raises ConversionError with the cure.
    """
    from ocr_onnx.converters import simple
    from ocr_onnx.converters.describe import describe_export
    from ocr_onnx.converters.paddle import PaddleModel

    exports = sorted(directory.glob("*.onnx"))
    dictionary = next((path for path in directory.glob("*.txt")), None)
    graph_tools = find_spec("onnx") is not None and find_spec("onnxslim") is not None
    if exports:
        metadata = describe_export(spec.name, spec.task, directory / "inference.yml")
        if graph_tools:
            from ocr_onnx.converters.conversion import import_onnx

            import_onnx(exports[0], target, metadata)
        else:
            simple.stamp(exports[0], target, metadata)
    elif find_spec("paddle") is not None and graph_tools:
        convert(directory, target, name=spec.name, dictionary=dictionary)
    else:
        simple.convert_old(PaddleModel.at(directory, dictionary), target, spec.name)
