"""The models there are: model_zoo.yaml, and from a name to a file."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml

from ocr_onnx.errors import ModelError, ModelNotFoundError
from ocr_onnx.metadata import Task

PACKAGE = Path(str(resources.files("ocr_onnx")))


@dataclass(frozen=True, slots=True)
class Mirror:
    """A package on the Python index that carries a model's files."""

    package: str
    """The requirement, NAME==VERSION."""
    directory: str
    """The folder in the package that holds the files."""
    files: Mapping[str, str]
    """The files' names and their sha256."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One record of the zoo."""

    name: str
    """The official name."""
    task: Task
    family: str
    """PP-OCRv5, …, or PP-LCNet for the classifiers."""
    licence: str
    """Of the weights, as an SPDX identifier."""
    languages: tuple[str, ...]
    """What recognition reads; empty for the other tasks."""
    embedded: bool
    """Whether this package carries it."""
    official: str
    """Its name on Hugging Face and ModelScope, OWNER/NAME."""
    mirror: Mirror
    """Where its weights can be had on the Python index."""

    @property
    def path(self) -> Path:
        """Where this package keeps the model, if it is embedded."""
        return PACKAGE / "models" / f"{self.name}.onnx"


def data_file(name: str) -> Path:
    """A file that is the repository's in a checkout and the package's in an installation."""
    installed = PACKAGE / name
    return installed if installed.exists() else PACKAGE.parent / name


@functools.cache
def models() -> Mapping[str, ModelSpec]:
    """Every record of model_zoo.yaml, by name; raises ModelError where one is malformed."""
    path = data_file("model_zoo.yaml")
    records = yaml.safe_load(path.read_text("utf-8"))["models"]
    return {name: _spec(name, record) for name, record in records.items()}


def find(name: str) -> Path:
    """The file of a model: its official name, or the path of an .onnx file; raises ModelNotFoundError."""
    if name.endswith(".onnx"):
        if not Path(name).is_file():
            raise ModelNotFoundError(f"{name} does not exist")
        return Path(name)
    spec = models().get(name)
    if spec is None:
        near = difflib.get_close_matches(name, models(), 1)
        hint = f"did you mean {near[0]!r}?" if near else "'ocr-onnx models list' names them"
        raise ModelNotFoundError(f"no model {name!r} in the zoo; {hint}")
    if not spec.path.is_file():
        raise ModelNotFoundError(f"{name} is not on this machine: it belongs at {spec.path}; reinstall ocr-onnx")
    return spec.path


def _spec(name: str, record: dict[str, Any]) -> ModelSpec:
    try:
        mirror = Mirror(**record.pop("mirror"))
        spec = ModelSpec(name=name, languages=tuple(record.pop("languages", ())), mirror=mirror, **record)
    except (KeyError, TypeError) as error:
        raise ModelError(f"model_zoo.yaml: the record of {name} is malformed: {error}") from error
    if spec.task not in get_args(Task):
        raise ModelError(f"model_zoo.yaml: {name} has the task {spec.task!r}; known are {', '.join(get_args(Task))}")
    return spec
