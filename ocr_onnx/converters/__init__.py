"""Paddle inference models to ONNX files that say all that using them needs.

Importing this loads nothing heavy; converting the newer format needs the extra `convert` (Paddle and paddle2onnx, about
1 GB) on Python 3.11, here or in an environment of its own. What comes out runs anywhere, without it.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ocr_onnx import __version__
from ocr_onnx.errors import ConversionError

if TYPE_CHECKING:
    from ocr_onnx.converters.conversion import Report as Report
    from ocr_onnx.metadata import ModelMetadata
    from ocr_onnx.runtime import Session
    from ocr_onnx.zoo import ModelSpec

Confirm = Callable[[str], bool]
"""Is asked whether an environment with Paddle may be made; the question says where, and how large it is."""


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


def cached(
    directory: Path,
    *,
    name: str | None = None,
    dictionary: Path | None = None,
    confirm: Confirm | None = None,
    command: str | None = None,
) -> Path:
    """The ONNX file of the Paddle model in `directory`: converted once, and kept by the sha256 of what it is made from.

    It is converted and compared with Paddle by the extra `convert` where that is installed. Else the older format goes
    through the core of paddle2onnx 1.3.1, which needs no Paddle (up to Python 3.12), and the newer one through an
    environment of its own, which is made if there is none and `confirm` agrees to the question it is asked; `command` is
    what the error tells to run where it does not. Raises ModelNotFoundError where a file is missing, ConversionError and DownloadError.
    """
    from ocr_onnx import store
    from ocr_onnx.converters import environment, simple
    from ocr_onnx.converters.paddle import PaddleModel, installed_versions

    model = PaddleModel.at(directory, dictionary)
    by_core = simple.takes(model)
    extra = find_spec("paddle") is not None and _has_graph_tools()
    by = installed_versions() if extra else {"core": simple.CORE} if by_core else environment.versions()
    key = hashlib.sha256(json.dumps([__version__, by, name, model.checksums], sort_keys=True).encode()).hexdigest()
    target = store.home() / "converted" / f"{key}.onnx"
    if target.is_file():
        return target
    with store.locked(target.stem), tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, target.name)
        if target.is_file():
            return target
        if extra:
            convert(directory, made, name=name, dictionary=dictionary)
        elif by_core:
            simple.convert_old(model, made, name)
        else:
            command = command or f"ocr-onnx convert --isolated --yes {directory}"
            python = environment.ensure(f"converting {name or directory}", command, confirm)
            options = {"--output": made, "--name": name, "--dict": dictionary}
            given = (part for option, value in options.items() if value is not None for part in (option, value))
            environment.run(python, "convert", *given, "--", directory)
        return store.place(made, target)


def make(spec: ModelSpec, directory: Path, scratch: Path, *, confirm: Confirm | None, command: str) -> Path:
    """Make a model of the zoo from its published files in `directory`, with what is installed.

    An official ONNX form is optimized where the tools for that are installed, and lies in `scratch`; Paddle's formats are
    converted as in `cached`, which says what is raised.
    """
    from ocr_onnx.converters.describe import describe_export

    exports = sorted(directory.glob("*.onnx"))
    dictionary = next((path for path in directory.glob("*.txt")), None)
    if not exports:
        return cached(directory, name=spec.name, dictionary=dictionary, confirm=confirm, command=command)
    made = scratch / f"{spec.name}.onnx"
    _finish_export(exports[0], describe_export(spec.name, spec.task, directory / "inference.yml"), made)
    return made


def take_in(spec: ModelSpec, source: Path, dictionary: Path | None, session: Session, target: Path) -> None:
    """Make a model of the zoo from somebody's ONNX export of it; see pull.import_file."""
    from ocr_onnx.converters.describe import charset_of_export, describe_export
    from ocr_onnx.converters.paddle import PaddleModel

    metadata = describe_export(spec.name, spec.task, source.with_name("inference.yml"))
    if spec.task == "text_recognition" and not metadata.charset:
        classes = session.output_shape[-1]
        if dictionary is not None:
            charset = (*PaddleModel(source, source, None, dictionary).charset, " ")
        elif "character" in session.properties and isinstance(classes, int):
            charset = charset_of_export(session.properties["character"], classes)
        else:
            raise ConversionError(f"{source} has no dictionary: say --dict FILE, a character a line")
        metadata = replace(metadata, charset=charset)
    _finish_export(source, metadata, target)


def _finish_export(source: Path, metadata: ModelMetadata, target: Path) -> None:
    """Optimize an ONNX export where the tools for it are installed, else take it as it is."""
    if _has_graph_tools():
        from ocr_onnx.converters.conversion import import_onnx

        import_onnx(source, target, metadata)
    else:
        from ocr_onnx.converters.simple import stamp

        stamp(source, target, metadata)


def _has_graph_tools() -> bool:
    return find_spec("onnx") is not None and find_spec("onnxslim") is not None
