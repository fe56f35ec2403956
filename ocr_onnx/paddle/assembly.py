"""Create a pipeline from PaddleOCR's parameters, for `PaddleOCR`, `ocr-onnx run`, `serve` and `build`."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocr_onnx import options as declared
from ocr_onnx.declarations import checked_path
from ocr_onnx.errors import ModelError, OptionError, shortened
from ocr_onnx.models import languages, presets, store, zoo
from ocr_onnx.models.metadata import ModelMetadata, Task
from ocr_onnx.options import DetectionOptions, Models, OCROptions
from ocr_onnx.paddle import pipeline_yaml
from ocr_onnx.paddle.parameters import plain
from ocr_onnx.paddle.pipeline_yaml import Choices, Config, ModelChoice
from ocr_onnx.pipeline import OCR
from ocr_onnx.runtime.provider_specs import Mode
from ocr_onnx.runtime.providers import ProviderLike
from ocr_onnx.runtime.selection import choose_placement
from ocr_onnx.stages.detection import with_model_defaults
from ocr_onnx.stages.tasks import TASKS

if TYPE_CHECKING:
    from ocr_onnx.converters import pull

logger: logging.Logger = logging.getLogger(__name__)
notes: logging.Logger = logging.getLogger("ocr_onnx.notes")
"""Messages about choices; the command line shows them."""

THRESHOLDS = ("thresh", "box_thresh", "unclip_ratio")
"""Detection options that the model determines, unless the caller gives a value; in PaddleOCR's defaults, only a model given by
directory does."""

PARAMETER_PREFIXES: Mapping[Task, str] = {spec.name: spec.parameter for spec in TASKS.values()}
"""The prefix of the parameters of each task's model."""

MODEL_PARAMETERS = tuple(f"{prefix}_model_{what}" for prefix in PARAMETER_PREFIXES.values() for what in ("name", "dir"))

PARAMETERS = frozenset({*MODEL_PARAMETERS, *(p.declaration.name for p in declared.places() if p.group != "input")})
"""The allowed keys of `Request.values`."""


@dataclass(frozen=True, slots=True)
class Request:
    """The parameters of a pipeline."""

    values: Mapping[str, Any]
    """Values of parameters in PARAMETERS; None means not given."""
    config: Config | None = None
    """The content of a pipeline file."""
    high_performance: object = None
    """Whether to use high-performance mode; None: the value of the pipeline file, or else standard mode."""
    device: str | None = None
    providers: Sequence[ProviderLike] = ()
    build_missing: bool = False
    cpu_threads: int | None = None
    lang: str | None = None
    ocr_version: str | None = None
    preset: str | None = None
    compatible: bool = False
    """Whether the defaults are PaddleOCR's, `OCROptions.paddleocr()`, instead of `OCROptions()`."""
    downloads: pull.Policy | None = None
    """Which missing models are downloaded; None: as the environment variables say."""


@dataclass(frozen=True, slots=True)
class Assembly:
    """A pipeline with its options and models."""

    engine: OCR
    options: OCROptions
    """The default options of a call: those of the engine, with the thresholds of a detection model given by directory."""
    choices: Choices
    config: Config
    """The content of a pipeline file for the same pipeline."""


def assemble(request: Request) -> Assembly:
    """Create the pipeline. Raises a subclass of OCRError for a value out of range, a missing model or a missing device."""
    config, values = _given(request)
    options = _options(request, config, values)
    choices, following = _choices(pipeline_yaml.choices(config), values, request)
    # The placement is checked before models are downloaded.
    mode: Mode = "high-performance" if pipeline_yaml.high_performance(config) else "standard"
    placement = choose_placement(request.device, request.providers, mode, build_missing=request.build_missing)
    models = _models(choices, options, request.downloads, following)
    engine = OCR(options, models=models, device=placement, cpu_threads=plain(request.cpu_threads))
    choices = _with_model_names(choices, engine)
    options = _with_thresholds(options, values, engine.detect.metadata)
    return Assembly(engine, options, choices, pipeline_yaml.updated(config, options, choices))


def models_and_options(request: Request) -> tuple[Models, OCROptions]:
    """Return the models and the options of the pipeline; download missing models. Raises the same as `assemble`."""
    config, values = _given(request)
    options = _options(request, config, values)
    choices, following = _choices(pipeline_yaml.choices(config), values, request)
    return _models(choices, options, request.downloads, following), options


def _given(request: Request) -> tuple[Config, dict[str, Any]]:
    """Return the content of the pipeline file, or the default one, with the mode of the request, and the parameters that are set."""
    config = pipeline_yaml.default() if request.config is None else request.config
    if request.high_performance is not None:
        if not isinstance(request.high_performance, bool):
            raise OptionError(f"enable_hpi is {shortened(repr(request.high_performance))}: it must be True or False")
        config = config | {"use_hpip": request.high_performance}
    return config, {name: plain(value) for name, value in request.values.items() if value is not None}


def _options(request: Request, config: Config, values: Mapping[str, Any]) -> OCROptions:
    """Return the options: those given, else those of the pipeline file, else the defaults."""
    given = {name: value for name, value in values.items() if name not in MODEL_PARAMETERS}
    if request.config is None:
        base = OCROptions.paddleocr() if request.compatible else OCROptions()
        base = base.at_high_performance() if request.high_performance else base
    else:
        # As in PaddleOCR, either of these two parameters overrides use_doc_preprocessor of the file.
        preprocessor_given = bool(given.keys() & {"use_doc_orientation_classify", "use_doc_unwarping"})
        base = pipeline_yaml.options(config, ignore_preprocessor_switch=preprocessor_given)
    base = base if request.preset is None else presets.preset(request.preset).apply(base)
    return with_values(base, given)


def _with_thresholds(options: OCROptions, values: Mapping[str, Any], detector: ModelMetadata) -> OCROptions:
    """Return the options with the detector's thresholds: all if it was given by directory, else those that are None."""
    if "text_detection_model_dir" in values:
        own = {f"text_det_{key}": detector.postprocess.get(key) for key in THRESHOLDS}
        options = declared.changed(options, {name: value for name, value in own.items() if name not in values})
    detection = with_model_defaults(options.detection, detector)
    return declared.changed(options, {f"text_det_{key}": getattr(detection, key) for key in THRESHOLDS})


def with_values(options: OCROptions, given: Mapping[str, Any]) -> OCROptions:
    """Return the options with new values, by declared names. Lists and NumPy numbers are converted to tuples and Python numbers."""
    values = {name: plain(value) for name, value in given.items()}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    limit = (options.detection.limit_side_len, options.detection.limit_type)
    if limit == declared.HIGH_PERFORMANCE_LIMIT and values.get("text_det_limit_side_len") is not None:
        # A side has the usual meaning, not the one of the limit that it replaces.
        values = {"text_det_limit_type": DetectionOptions().limit_type} | values
    return declared.changed(options, values)


def _choices(
    before: Choices, values: Mapping[str, Any], request: Request
) -> tuple[dict[Task, ModelChoice], tuple[str, ...]]:
    """Return the models of the file, with those replaced that are given by name, directory, language or version.

    Also returns the recognition models after the first one, if several languages are given.
    """
    values = dict(values)
    following: list[str] = []
    if any(each is not None for each in (request.lang, request.ocr_version, request.preset)):
        detection, recognizers = languages.chain_for(request.lang, request.ocr_version, request.preset)
        text = [name for name in MODEL_PARAMETERS if name.startswith(("text_detection", "text_recognition"))]
        if any(name in values for name in text):
            logger.warning(
                "lang, ocr_version and preset are ignored because text models are given by name or directory"
            )
        else:
            first, *following = recognizers
            values |= {"text_detection_model_name": detection, "text_recognition_model_name": first}
            if request.lang is not None and zoo.spec(first).embedded:
                notes.info("lang=%r is read by %s, which is part of the package", request.lang, first)
    choices = dict(before)
    for task, prefix in PARAMETER_PREFIXES.items():
        name, directory = values.get(f"{prefix}_model_name"), values.get(f"{prefix}_model_dir")
        if directory is not None:
            choices[task] = ModelChoice(name, directory)
        elif name is not None:
            choices[task] = ModelChoice(name, before[task].directory)
    return choices, tuple(following)


def _models(choices: Choices, options: OCROptions, downloads: pull.Policy | None, following: tuple[str, ...]) -> Models:
    """Return the model files of all enabled stages; download and convert them if necessary."""
    used = {task: choice for task, choice in choices.items() if TASKS[task].is_on(options)}
    names = [choice.name for choice in used.values() if choice.directory is None and choice.name is not None]
    names += following
    if missing := [name for name in names if store.is_missing(name)]:
        from ocr_onnx.converters import pull

        pull.obtain_all(missing, downloads)
    files: dict[str, Any] = {TASKS[task].model_field: _model_file(choice) for task, choice in used.items()}
    if following:
        files["text_recognition"] = (files["text_recognition"], *map(store.find, following))
    return replace(Models(), **files)


def _model_file(choice: ModelChoice) -> str | Path:
    """Return the model file of a stage."""
    if choice.directory is not None:
        from ocr_onnx.converters import pull

        return pull.from_directory(checked_path("model_dir", choice.directory), choice.name)
    if choice.name is None:
        raise ModelError("a stage of the pipeline file has neither model_name nor model_dir: add one of them")
    return store.find(choice.name)


def _with_model_names(choices: Choices, engine: OCR) -> dict[Task, ModelChoice]:
    """Return the choices with the names of the loaded models. Raises ModelError if a given name differs."""
    named = dict(choices)
    for task, metadata in engine.metadata().items():
        given = choices[task].name
        if given is not None and given != metadata.name:
            raise ModelError(
                f"{PARAMETER_PREFIXES[task]}_model_name is {given!r}, but the name of the loaded model is {metadata.name!r}: correct the name or the directory"
            )
        named[task] = choices[task]._replace(name=metadata.name)
    return named
