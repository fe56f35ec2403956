"""The models there are: model_zoo.yaml's records, and from a name to a file."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from ocr_onnx.errors import ModelError, ModelNotFoundError, OptionError
from ocr_onnx.models.metadata import Task

PACKAGE = Path(__file__).resolve().parents[1]

Verified = Literal["real", "transplanted", "synthetic", "rebuilt", "import", "none"]


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
    """PP-OCRv5, …; PP-LCNet for the classifiers."""
    licence: str
    """Of the weights, as an SPDX identifier."""
    verified: Verified
    """How far its conversion was compared with Paddle; model_zoo.yaml explains the words."""
    languages: tuple[str, ...] = ()
    """The values of `lang` that choose it."""
    size: float | None = None
    """Of the published files, in MB."""
    accuracy: float | None = None
    """As published; each task has a measure of its own."""
    characters: int | None = None
    """In the dictionary."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """What its inference.yml gives for detection."""
    memory: int | None = None
    """Detection: bytes that its working takes for each pixel of its input; None where nobody measured."""
    onnx: bool = False
    """Whether an official ONNX form is published."""
    embedded: bool = False
    """Whether this package carries it."""
    sha256: str | None = None
    """Of the embedded file."""
    mirrors: tuple[Mirror, ...] = ()

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise ValueError(f"task is {self.task!r}; known are {', '.join(get_args(Task))}")
        if self.verified not in get_args(Verified):
            raise ValueError(f"verified is {self.verified!r}; known are {', '.join(get_args(Verified))}")

    @property
    def mirrors_complete(self) -> bool:
        """Whether the mirrors carry the model itself, and not its dictionary alone."""
        return any(name.endswith((".pdiparams", ".onnx")) for mirror in self.mirrors for name in mirror.files)

    @property
    def path(self) -> Path:
        """Where this package keeps the model, if it is embedded."""
        return PACKAGE / "models" / "weights" / f"{self.name}.onnx"


@dataclass(frozen=True, slots=True)
class Version:
    """What a value of `ocr_version` means."""

    text_detection: str
    text_recognition: tuple[str, ...]
    """The first that has a language reads it."""


@dataclass(frozen=True, slots=True)
class Zoo:
    """All of model_zoo.yaml."""

    hosts: Mapping[str, str]
    """Addresses with {name} and {file} to be filled in."""
    versions: Mapping[str, Version]
    models: Mapping[str, ModelSpec]
    wheels: Mapping[str, str]
    """The sha256 of the wheel of each package that a mirror names."""


def data_file(name: str) -> Path:
    """A file that is the repository's in a checkout and the package's in an installation."""
    installed = PACKAGE / name
    return installed if installed.exists() else PACKAGE.parent / name


@functools.cache
def zoo() -> Zoo:
    """What model_zoo.yaml says; raises ModelError where it is malformed."""
    text = data_file("model_zoo.yaml").read_text("utf-8")
    # The loader in C reads it ten times as fast.
    return parse(yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))  # noqa: S506 both are safe


def parse(content: Mapping[str, Any]) -> Zoo:
    """Check the contents of model_zoo.yaml; raises ModelError naming the record that is wrong."""
    models = {name: _spec(name, record) for name, record in content["models"].items()}
    versions = {
        name: Version(record["text_detection"], tuple(record["text_recognition"]))
        for name, record in content["versions"].items()
    }
    for name, version in versions.items():
        for model in (version.text_detection, *version.text_recognition):
            if model not in models:
                raise ModelError(f"model_zoo.yaml: version {name} names {model}, which has no record")
    return Zoo(content["hosts"], versions, models, content["wheels"])


def models() -> Mapping[str, ModelSpec]:
    """Every record, by name."""
    return zoo().models


def spec(name: str) -> ModelSpec:
    """The record of a name; raises ModelNotFoundError with the nearest one."""
    found = models().get(name)
    if found is None:
        raise ModelNotFoundError(f"no model {name!r} in the zoo; {nearest(name, models(), 'ocr-onnx models list')}")
    return found


def checked_name(name: object) -> str:
    """A model's name, which serves as a file's name too; raises OptionError where it cannot."""
    if not isinstance(name, str | os.PathLike) or not os.fspath(name):
        raise OptionError(f"a model is named {name!r}: give an official name, or the path of an .onnx file")
    text = os.fsdecode(name)
    if not text.endswith(".onnx") and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", text):
        raise OptionError(f"a model is named {text!r}: letters, digits, '.', '_' and '-' make a name")
    return text


def nearest(name: str, names: Iterable[str], command: str) -> str:
    """A hint for a name that is unknown: the one most like it, or the command that lists them."""
    import difflib

    near = difflib.get_close_matches(name, list(names), 1)
    return f"did you mean {near[0]!r}?" if near else f"'{command}' names them"


def _spec(name: str, record: Mapping[str, Any]) -> ModelSpec:
    values = dict(record)
    unknown = values.keys() - {f.name for f in fields(ModelSpec)}
    if unknown:
        raise ModelError(f"model_zoo.yaml: the record of {name} has {', '.join(sorted(unknown))}, which nothing reads")
    try:
        mirrors = tuple(Mirror(**mirror) for mirror in values.pop("mirrors", ()))
        return ModelSpec(name=name, languages=tuple(values.pop("languages", ())), mirrors=mirrors, **values)
    except (TypeError, ValueError) as error:
        raise ModelError(f"model_zoo.yaml: the record of {name} is malformed: {error}") from error
