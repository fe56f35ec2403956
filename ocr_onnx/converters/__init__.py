"""Convert Paddle inference models to ONNX files that contain their metadata.

Importing this package is cheap. Converting the newer format requires the extra `convert` (Paddle and paddle2onnx, about 1 GB)
on Python 3.11, in the present environment or in a separate one. The ONNX files run on any machine without it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ocr_onnx.errors import ConversionError

if TYPE_CHECKING:
    from ocr_onnx.converters.export import Report as Report
    from ocr_onnx.converters.export_options import Form


def convert(
    directory: Path,
    target: Path,
    *,
    name: str | None = None,
    dictionary: Path | None = None,
    verify: bool = True,
    form: Form | None = None,
) -> Report:
    """Convert the Paddle model in `directory` to the file `target`; the same input gives the same bytes.

    `name` wins over the name in its inference.yml, and `dictionary`, a file with a character a line, over the dictionary
    there; a model of the older format may have neither there. `form` says the opset and a fixed input size. With `verify` the file is compared with Paddle on real and
    on random inputs. Raises ModelNotFoundError where a file is missing; ConversionError, and leaves no file, where the
    packages are not installed or anything is amiss.
    """
    from ocr_onnx.converters.paddle import PaddleModel, versions

    model = PaddleModel.at(directory, dictionary)
    versions()
    from ocr_onnx.converters.export import convert_model

    return convert_model(model, target, name=name, verify=verify, form=form)


def take_in(source: Path, target: Path, *, name: str | None = None, dictionary: Path | None = None) -> None:
    """Make a model of somebody's ONNX export: described by the inference.yml beside it, else by the zoo's record of `name`.

    Recognition takes its characters from the yml, from `dictionary` or from the file's own metadata. Raises
    ConversionError where there are none, ModelNotFoundError where nobody knows what it is.
    """
    from ocr_onnx.converters import toolchain
    from ocr_onnx.converters.describe import charset_of_export, describe_yml, usual
    from ocr_onnx.converters.paddle import PaddleModel
    from ocr_onnx.models import zoo
    from ocr_onnx.runtime.session import Session

    yml = source.with_name("inference.yml")
    if yml.is_file():
        metadata = describe_yml(yml, name)
    else:
        spec = zoo.spec(name or source.stem)
        metadata = usual(spec.name, spec.task)
    if metadata.task == "text_recognition" and not metadata.charset:
        session = Session(source)
        classes = session.output_shape[-1]
        if dictionary is not None:
            charset = (*PaddleModel(source, source, None, dictionary).charset, " ")
        elif "character" in session.properties and isinstance(classes, int):
            charset = charset_of_export(session.properties["character"], classes)
        else:
            raise ConversionError(
                f"{source} has no dictionary: give it an inference.yml, or say --dict FILE (a character a line) to ocr-onnx models import"
            )
        metadata = replace(metadata, charset=charset)
    toolchain.finish(source, target, metadata)
