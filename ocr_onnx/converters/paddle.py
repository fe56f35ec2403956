"""A Paddle inference model on disk: its files, its inference.yml, and Paddle in a child process."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml
from numpy.typing import NDArray

from ocr_onnx import python_process
from ocr_onnx.converters.paddle_params import check_weights
from ocr_onnx.errors import ConversionError, ModelNotFoundError
from ocr_onnx.installation import requirement
from ocr_onnx.models.store import MAX_BYTES, refuse_lfs_pointer, sha256
from ocr_onnx.models.yaml_text import load_yaml
from ocr_onnx.types import Tensor

PROCESS = "ocr_onnx.converters.paddle_process"

PACKAGES = ("paddlepaddle", "paddle2onnx", "onnx", "onnxslim")
"""Packages that a conversion depends on, pinned by the extra `convert`; their versions are written into each file."""


MAX_GRAPH = 2**26
"""The maximum size of a graph or an inference.yml, in bytes. The graph of Multilingual_PP-OCRv3_det has 1.4 MB."""

DOUBLE, SINGLE = "0.a_f64", "0.a_f32"
"""Attribute types in inference.json."""


@dataclass(frozen=True, slots=True)
class PaddleModel:
    """The files of a Paddle inference model."""

    graph: Path
    """inference.json, or inference.pdmodel of the older format."""
    params: Path
    yml: Path | None
    """inference.yml; models of the older format may lack it."""
    dictionary: Path | None = None
    """A file with one character a line, which overrides the dictionary in inference.yml."""

    @classmethod
    def at(cls, directory: Path, dictionary: Path | None = None) -> PaddleModel:
        """Find the files in `directory`. Raises ModelNotFoundError that names the missing file."""
        graphs = [directory / name for name in ("inference.json", "inference.pdmodel")]
        graph = next((g for g in graphs if g.is_file()), None)
        params, yml = directory / "inference.pdiparams", directory / "inference.yml"
        if not directory.is_dir():
            raise ModelNotFoundError(
                f"{directory} is not a directory: give the directory with inference.json or inference.pdmodel"
            )
        if graph is None:
            raise ModelNotFoundError(
                f"{directory} has neither inference.json nor inference.pdmodel: export the trained model with PaddleOCR's tools/export_model.py"
            )
        if not params.is_file():
            raise ModelNotFoundError(
                f"{directory} has no inference.pdiparams (the weights): export the model with them"
            )
        if not yml.is_file() and graph.suffix == ".json":
            raise ModelNotFoundError(
                f"{directory} has no inference.yml (the preprocessing and the dictionary): export the model with it"
            )
        for file, limit in ((graph, MAX_GRAPH), (params, MAX_BYTES), (yml, MAX_GRAPH)):
            if file.is_file() and file.stat().st_size > limit:
                raise ConversionError(
                    f"{file} has {file.stat().st_size} bytes, more than {limit}: it does not belong to a model for text recognition"
                )
        refuse_lfs_pointer(graph)
        refuse_lfs_pointer(params)
        if dictionary is not None and not dictionary.is_file():
            raise ModelNotFoundError(f"{dictionary} does not exist")
        return cls(graph, params, yml if yml.is_file() else None, dictionary)

    @property
    def config(self) -> dict[str, Any]:
        """The content of inference.yml; empty if there is none."""
        config = self._load("SafeLoader")
        if not isinstance(config, dict):
            raise ConversionError(f"{self.yml} is not a valid inference.yml: its content is not a mapping")
        return config

    @property
    def charset(self) -> tuple[str, ...]:
        """The characters of the dictionary, as strings: YAML would parse `y` as a boolean and `1` as a number."""
        if self.dictionary is not None:
            return characters(_text(self.dictionary))
        return tuple((self._load("BaseLoader").get("PostProcess") or {}).get("character_dict", ()))

    def _load(self, loader: Literal["SafeLoader", "BaseLoader"]) -> Any:
        """Parse inference.yml; return an empty mapping without one."""
        if self.yml is None:
            return {}
        try:
            return load_yaml(self.yml.read_text("utf-8"), loader)
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConversionError(f"{self.yml} is not valid YAML: {error}") from error

    @property
    def checksums(self) -> dict[str, str]:
        """The sha256 of each file."""
        files = (self.graph, self.params, self.yml, self.dictionary)
        return {path.name: sha256(path) for path in files if path is not None}

    def export(self, target: Path, opset: int) -> None:
        """Export to `target` with paddle2onnx. Raises ConversionError if a file is damaged or an operator is not supported."""
        check_weights(self.params)
        with tempfile.TemporaryDirectory() as scratch:
            graph = self.graph
            if graph.suffix == ".json" and DOUBLE in (text := graph.read_text("utf-8", errors="replace")):
                graph = Path(scratch, self.graph.name)
                graph.write_text(in_single_precision(text), "utf-8")
            log = run_paddle("export", graph, self.params, target, opset)
        # On some failures paddle2onnx prints an error and exits with 0.
        if not target.is_file() or target.stat().st_size == 0:
            raise ConversionError(f"paddle2onnx wrote nothing for {self.graph}: {log[-2000:]}")

    def infer(self, inputs: Mapping[str, Tensor]) -> dict[str, tuple[NDArray[np.float32], ...]]:
        """Run Paddle Inference on each of `inputs`."""
        with tempfile.TemporaryDirectory() as scratch:
            given, answered = Path(scratch, "inputs.npz"), Path(scratch, "outputs.npz")
            np.savez(given, allow_pickle=False, **inputs)
            run_paddle("infer", self.graph, self.params, given, answered)
            with np.load(answered) as outputs:
                return {name: (output,) for name, output in outputs.items()}


def in_single_precision(text: str) -> str:
    """Change the attributes of an inference.json from double to float, as Paddle wrote them before 3.3.

    paddle2onnx rejects doubles (PaddlePaddle/Paddle2ONNX#1618), except in `full`, whose value is a double in all versions.
    """

    def narrowed(value: Any) -> Any:
        if isinstance(value, list):
            return [narrowed(item) for item in value]
        if not isinstance(value, dict):
            return value
        if str(value.get("#", "")).endswith(".full"):
            return value
        return {k: SINGLE if k == "#" and v == DOUBLE else narrowed(v) for k, v in value.items()}

    try:
        return json.dumps(narrowed(json.loads(text)), separators=(",", ":"))
    except (RecursionError, ValueError) as error:
        raise ConversionError(
            f"inference.json is damaged ({error}): download it again, or export the model again"
        ) from error


def characters(text: str) -> tuple[str, ...]:
    """Parse a dictionary: one character a line, which may be a space. Lines may end with CR LF, and a byte order mark is ignored."""
    return tuple(line.rstrip("\r") for line in text.removeprefix("\ufeff").rstrip("\r\n").split("\n"))


def is_installed(name: str) -> bool:
    """Return whether a package can be imported. A folder of this name without __init__.py, on the path, is not the package."""
    spec = find_spec(name)
    return spec is not None and spec.origin is not None


def _text(file: Path) -> str:
    """Return the content of a dictionary. Raises ConversionError if it cannot be read or is not UTF-8."""
    try:
        return file.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConversionError(
            f"{file} is not a text in UTF-8 ({error.reason}): save it with the encoding UTF-8"
        ) from error
    except OSError as error:
        raise ConversionError(f"{file} cannot be read: {error.strerror}; check the path and its permissions") from error


def installed_versions() -> dict[str, str]:
    """Return the versions of the installed packages that a conversion depends on."""
    found = {}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def versions() -> dict[str, str]:
    """Return the versions of the packages that a conversion depends on. Raises ConversionError if one is missing."""
    missing = [name for name in ("paddle", "paddle2onnx", "onnx", "onnxslim") if not is_installed(name)]
    if missing:
        raise ConversionError(
            f"converting needs {', '.join(missing)}: run 'ocr-onnx convert --isolated', which creates an environment for it, "
            f"or pip install {requirement('convert,cpu')} in an environment of Python 3.11 (about 1 GB)"
        )
    return installed_versions()


def run_paddle(*arguments: object, python: str | None = None) -> str:
    """Run paddle_process and return its output; with another `python`, which needs no packages. Raises ConversionError if it fails."""
    if python is None:
        command = python_process.function(PROCESS, *arguments)
    else:
        file = Path(__file__).with_name(f"{PROCESS.rpartition('.')[2]}.py")
        command = python_process.isolated(file, *arguments, python=python)
    environment = {**os.environ, **python_process.SAFE_PATH, "FLAGS_cpu_deterministic": "1"}
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)
    log = done.stdout + done.stderr
    if done.returncode != 0:
        how = f"was killed by signal {-done.returncode}" if done.returncode < 0 else f"exited with {done.returncode}"
        raise ConversionError(f"Paddle {how} on '{arguments[0]} {arguments[1]}':\n{log[-2000:]}")
    return log
