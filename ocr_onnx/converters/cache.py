"""What was converted before is not converted again: files kept by the sha256 of what they were made from."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ocr_onnx import __version__, converters
from ocr_onnx.converters import environment, legacy, toolchain
from ocr_onnx.converters.environment import Confirm
from ocr_onnx.converters.paddle import PaddleModel, installed_versions
from ocr_onnx.models import store
from ocr_onnx.models.zoo import ModelSpec


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
    through the core of paddle2onnx 1.3.1, which needs no Paddle (up to Python 3.12), and graph_tools; the newer one through an
    environment of its own, which is made if there is none and `confirm` agrees to the question it is asked; `command` is
    what the error tells to run where it does not. Raises ModelNotFoundError where a file is missing, ConversionError and DownloadError.
    """
    model = PaddleModel.at(directory, dictionary)
    extra = find_spec("paddle") is not None and toolchain.installed()
    by_core = not extra and legacy.takes(model)
    checksums = model.checksums

    def kept() -> Path:
        if extra:
            by: Mapping[str, Any] = installed_versions()
        elif by_core:
            by = {"core": legacy.CORE, "rewritten": toolchain.ready(fetch=False), **installed_versions()}
        else:
            by = environment.versions()
        return _kept([by, name, checksums])

    def convert(made: Path) -> None:
        if extra:
            converters.convert(directory, made, name=name, dictionary=dictionary)
        elif by_core:
            raw = made.with_name("raw.onnx")
            toolchain.finish(raw, made, legacy.export_old(model, raw, name))
        else:
            retry = command or f"ocr-onnx convert --isolated --yes {directory}"
            python = environment.ensure(f"converting {name or directory}", retry, confirm)
            options = {"--output": made, "--name": name, "--dict": dictionary}
            given = (part for option, value in options.items() if value is not None for part in (option, value))
            environment.run(python, "convert", *given, "--", directory)

    if by_core and not kept().is_file():
        toolchain.ready(fetch=True)
    return _once(kept(), convert)


def make(spec: ModelSpec, directory: Path, scratch: Path, *, confirm: Confirm | None, command: str) -> Path:
    """Make a model of the zoo from its published files in `directory`, with what is installed.

    An official ONNX form is rewritten as in graph_tools.finish, and lies in `scratch`; Paddle's formats are converted as in
    `cached`, which says what is raised.
    """
    exports = sorted(directory.glob("*.onnx"))
    dictionary = next((path for path in directory.glob("*.txt")), None)
    if not exports:
        return cached(directory, name=spec.name, dictionary=dictionary, confirm=confirm, command=command)
    made = scratch / f"{spec.name}.onnx"
    toolchain.ready(fetch=True)
    from ocr_onnx.converters.describe import describe_export

    toolchain.finish(exports[0], made, describe_export(spec.name, spec.task, directory / "inference.yml"))
    return made


def cached_export(source: Path, name: str | None = None) -> Path:
    """The file that says what it is, made of somebody's ONNX export once; see take_in."""
    yml = source.with_name("inference.yml")
    files = [store.sha256(file) for file in (source, yml) if file.is_file()]
    target = _kept([toolchain.ready(fetch=False), installed_versions(), name or source.stem, files])
    return _once(target, lambda made: converters.take_in(source, made, name=name))


def _kept(made_from: list[Any]) -> Path:
    """Where the file that is made from this is kept."""
    key = hashlib.sha256(json.dumps([__version__, *made_from], sort_keys=True).encode()).hexdigest()
    return store.home() / "converted" / f"{key}.onnx"


def _once(target: Path, make: Callable[[Path], None]) -> Path:
    """The file `target`; made if it is not there, by one process at a time."""
    if target.is_file():
        return target
    with store.locked(target.stem), tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, target.name)
        if target.is_file():
            return target
        make(made)
        return store.move_into_place(made, target)
