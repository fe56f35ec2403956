"""Cache converted files, keyed by the sha256 of their sources and the versions of the tools."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ocr_onnx import __version__, converters
from ocr_onnx.converters import environment, legacy, toolchain
from ocr_onnx.converters.environment import Confirm
from ocr_onnx.converters.paddle import PaddleModel, installed_versions, is_installed
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
    """Return the ONNX file of the Paddle model in `directory`, converted if it is not in the cache.

    The route (docs/conversion.md): the extra `convert` if it is installed; else, for the older format up to Python 3.12, the core of
    paddle2onnx 1.3.1 without Paddle, and the toolchain; else the isolated environment, created if `confirm` agrees. `command` is
    the command in the error message if it does not. Raises ModelNotFoundError if a file is missing, ConversionError, DownloadError.
    """
    model = PaddleModel.at(directory, dictionary)
    extra = is_installed("paddle") and toolchain.installed()
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
    """Convert the published files of a zoo model in `directory`.

    An official ONNX export goes through toolchain.finish, to `scratch`; Paddle's formats go through `cached`, which documents the
    errors.
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
    """Return the model file of an ONNX export, made if it is not in the cache; see take_in."""
    yml = source.with_name("inference.yml")
    files = [store.sha256(file) for file in (source, yml) if file.is_file()]
    target = _kept([toolchain.ready(fetch=False), installed_versions(), name or source.stem, files])
    return _once(target, lambda made: converters.take_in(source, made, name=name))


def _kept(made_from: list[Any]) -> Path:
    """Return the cache path for a key."""
    key = hashlib.sha256(json.dumps([__version__, *made_from], sort_keys=True).encode()).hexdigest()
    return store.home() / "converted" / f"{key}.onnx"


def _once(target: Path, make: Callable[[Path], None]) -> Path:
    """Return `target`; if it is missing, make it, one process at a time."""
    if target.is_file():
        return target
    with store.locked(target.stem), tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, target.name)
        if target.is_file():
            return target
        make(made)
        return store.move_into_place(made, target)
