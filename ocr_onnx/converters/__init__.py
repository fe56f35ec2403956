"""Convert Paddle inference models to ONNX files with metadata.

Importing this package is cheap. Converting the newer format (inference.json) needs the extra `convert` (Paddle and paddle2onnx,
about 1 GB) on Python 3.11, in this environment or in an isolated one: docs/conversion.md. A converted file needs none of it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ocr_onnx.declarations import checked_path
from ocr_onnx.errors import ConversionError

if TYPE_CHECKING:
    from ocr_onnx.converters.export import Report as Report
    from ocr_onnx.converters.export_options import ExportOptions


def convert(
    directory: Path,
    target: Path,
    *,
    name: str | None = None,
    dictionary: Path | None = None,
    verify: bool = True,
    options: ExportOptions | None = None,
) -> Report:
    """Convert the Paddle model in `directory` to the ONNX file `target`; the same input gives the same bytes.

    `name` overrides the name in inference.yml, and `dictionary`, a file with one character a line, the dictionary there; a model of
    the older format may have neither. `options` sets the opset and a fixed input size. `verify` compares the file with Paddle on
    real and on random inputs. Raises ModelNotFoundError if a file is missing. Raises ConversionError, and leaves no file, if
    packages are missing or the conversion fails.
    """
    from ocr_onnx.converters.paddle import PaddleModel, versions

    target = checked_path("target", target)
    model = PaddleModel.at(checked_path("directory", directory), dictionary)
    versions()
    from ocr_onnx.converters.export import convert_model

    return convert_model(model, target, name=name, verify=verify, options=options)


def take_in(source: Path, target: Path, *, name: str | None = None, dictionary: Path | None = None) -> None:
    """Make a model file from an ONNX export, described by the inference.yml beside it, else by the zoo's record of `name`.

    The characters of a recognizer come from `dictionary`, else from inference.yml or from the file's metadata. Raises
    ConversionError if there are none, ModelNotFoundError if the zoo has no such model.
    """
    from ocr_onnx.converters import toolchain
    from ocr_onnx.converters.describe import describe_yml, usual
    from ocr_onnx.converters.paddle import PaddleModel, characters
    from ocr_onnx.models import zoo
    from ocr_onnx.runtime.session import Session
    from ocr_onnx.stages.tasks import TASKS

    yml = source.with_name("inference.yml")
    if yml.is_file():
        metadata = describe_yml(yml, name, dictionary)
    else:
        spec = zoo.spec(name or source.stem)
        metadata = usual(spec.name, spec.task)
    if TASKS[metadata.task].output == "steps" and not metadata.charset:
        if dictionary is not None:
            charset = PaddleModel(source, source, None, dictionary).charset
        elif (text := Session(source).properties.get("character")) is not None:
            # Other projects write the dictionary into the file, some with the space.
            charset = characters(text)
        else:
            raise ConversionError(
                f"{source} has no dictionary: put its inference.yml beside it, or give --dict FILE (one character a line) to ocr-onnx models import"
            )
        metadata = replace(metadata, charset=(*charset, " "))
    toolchain.finish(source, target, metadata)
