"""The known models: the records of model_zoo.yaml, looked up by name."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from ocr_onnx.declarations import checked_path
from ocr_onnx.errors import ModelError, ModelNotFoundError, OptionError, shortened
from ocr_onnx.models.metadata import NAME, Task

PACKAGE = Path(__file__).resolve().parents[1]

Verified = Literal["real", "transplanted", "synthetic", "rebuilt", "import", "none"]


@dataclass(frozen=True, slots=True)
class Mirror:
    """A package on the Python index that contains a model's files."""

    package: str
    """The requirement, NAME==VERSION."""
    directory: str
    """The folder in the package that contains the files."""
    files: Mapping[str, str]
    """The names of the files and their sha256."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One record of the zoo."""

    name: str
    """The official name."""
    task: Task
    family: str
    """PP-OCRv5, …; PP-LCNet for the classifiers."""
    licence: str
    """The license of the weights, as an SPDX identifier."""
    verified: Verified
    """How its conversion was compared with Paddle; model_zoo.yaml defines the values."""
    languages: tuple[str, ...] = ()
    """The values of `lang` that select it."""
    size: float | None = None
    """The size of the published files, in MB."""
    accuracy: float | None = None
    """The published accuracy, in the metric of its task (see model_zoo.yaml)."""
    characters: int | None = None
    """The number of characters in the dictionary."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """Detection: the options in its inference.yml."""
    tuned: Mapping[str, float] = field(default_factory=dict)
    """Detection: the options with the best accuracy on labelled images, if they were measured; docs/defaults.md."""
    calibration: tuple[float, ...] = ()
    """Recognition: (slope, offset) of the logistic curve that makes a line's score the probability that the line is right;
    docs/chains.md."""
    memory: int | None = None
    """Detection: working memory per pixel of the input, in bytes; None if not measured."""
    fp16: bool = True
    """Whether it keeps its accuracy in half precision, as far as is known."""
    bf16: bool = False
    """Whether it was measured to keep its accuracy in bfloat16; docs/performance.md."""
    onnx: bool = False
    """Whether an official ONNX export is published."""
    embedded: bool = False
    """Whether this package contains it."""
    sha256: str | None = None
    """The sha256 of the embedded file."""
    mirrors: tuple[Mirror, ...] = ()

    def __post_init__(self) -> None:
        if self.task not in get_args(Task):
            raise ValueError(f"task is {self.task!r}; it must be one of {', '.join(get_args(Task))}")
        if self.verified not in get_args(Verified):
            raise ValueError(f"verified is {self.verified!r}; it must be one of {', '.join(get_args(Verified))}")

    @property
    def mirrors_complete(self) -> bool:
        """Whether the mirrors contain the model itself, and not only its dictionary."""
        return any(name.endswith((".pdiparams", ".onnx")) for mirror in self.mirrors for name in mirror.files)

    @property
    def pull_command(self) -> str:
        """The command that downloads it; --accept-new is needed if no sha256 of it is published."""
        return f"ocr-onnx models pull{'' if self.mirrors_complete else ' --accept-new'} {self.name}"

    @property
    def path(self) -> Path:
        """The path of the embedded model in this package."""
        return PACKAGE / "models" / "weights" / f"{self.name}.onnx"


@dataclass(frozen=True, slots=True)
class Version:
    """The models of a value of `ocr_version`."""

    text_detection: str
    text_recognition: tuple[str, ...]
    """Recognition models; the first one that supports the language is used."""


@dataclass(frozen=True, slots=True)
class Zoo:
    """The contents of model_zoo.yaml."""

    hosts: Mapping[str, str]
    """URL templates with {name} and {file}."""
    versions: Mapping[str, Version]
    models: Mapping[str, ModelSpec]
    wheels: Mapping[str, str]
    """The sha256 of the wheel of each package in the mirrors."""


def data_file(name: str) -> Path:
    """Return the path of a data file: in the package if it is installed, in the repository for a checkout."""
    installed = PACKAGE / name
    return installed if installed.exists() else PACKAGE.parent / name


@functools.cache
def zoo() -> Zoo:
    """Read model_zoo.yaml; raise ModelError if it is missing or malformed."""
    file = data_file("model_zoo.yaml")
    if not file.is_file():
        raise ModelError(
            f"{file} is missing, which belongs to the package: reinstall ocr-onnx; for a program frozen with PyInstaller, give "
            "--collect-data ocr_onnx"
        )
    text = file.read_text("utf-8")
    # The C loader is ten times as fast.
    return parse(yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))  # noqa: S506 both are safe


def parse(content: Mapping[str, Any]) -> Zoo:
    """Check the contents of model_zoo.yaml; raise ModelError, naming the wrong record, if it is malformed."""
    try:
        return _parsed(content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(
            f"model_zoo.yaml is malformed ({type(error).__name__}: {error}): reinstall ocr-onnx"
        ) from error


def _parsed(content: Mapping[str, Any]) -> Zoo:
    models = {name: _spec(name, record) for name, record in content["models"].items()}
    versions = {
        name: Version(record["text_detection"], tuple(record["text_recognition"]))
        for name, record in content["versions"].items()
    }
    for name, version in versions.items():
        for model in (version.text_detection, *version.text_recognition):
            if model not in models:
                raise ModelError(
                    f"model_zoo.yaml: version {name} contains {model}, which has no record: add it below models"
                )
    return Zoo(content["hosts"], versions, models, content["wheels"])


def models() -> Mapping[str, ModelSpec]:
    """Return all records by name."""
    return zoo().models


def spec(name: str) -> ModelSpec:
    """Return the record of a model; raise ModelNotFoundError, with the most similar name, if there is none."""
    found = models().get(name)
    if found is None:
        raise ModelNotFoundError(
            f"unknown model {shortened(repr(name))}; {nearest(name, models(), 'ocr-onnx models list')}"
        )
    return found


def checked_name(name: object) -> str:
    """Check a model's name, which is also used as a file name; raise OptionError if it is invalid."""
    if not isinstance(name, str | os.PathLike) or not os.fspath(name):
        raise OptionError(
            f"the model's name is {shortened(repr(name))}: give an official name, or the path of an .onnx file"
        )
    text = os.fsdecode(name)
    if text.endswith(".onnx"):
        return str(checked_path("the model's path", text))
    if not NAME.fullmatch(text):
        raise OptionError(
            f"the model's name is {shortened(repr(text))}: it may contain only letters, digits, '.', '_' and '-', and at most 200"
        )
    return text


def nearest(name: str, names: Iterable[str], command: str) -> str:
    """Return a hint for an unknown name: the most similar one, or the command that lists all."""
    import difflib

    near = difflib.get_close_matches(name, list(names), 1)
    return f"did you mean {near[0]!r}?" if near else f"run '{command}' for the list"


def _spec(name: str, record: Mapping[str, Any]) -> ModelSpec:
    values = dict(record)
    unknown = values.keys() - {f.name for f in fields(ModelSpec)}
    if unknown:
        raise ModelError(
            f"model_zoo.yaml: the record of {name} has the unknown keys {', '.join(sorted(unknown))}: remove them"
        )
    try:
        mirrors = tuple(Mirror(**mirror) for mirror in values.pop("mirrors", ()))
        values |= {key: tuple(values.get(key, ())) for key in ("languages", "calibration")}
        return ModelSpec(name=name, mirrors=mirrors, **values)
    except (TypeError, ValueError) as error:
        raise ModelError(f"model_zoo.yaml: the record of {name} is malformed: {error}") from error
