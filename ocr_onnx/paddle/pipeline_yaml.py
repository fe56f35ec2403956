"""Convert PaddleX's pipeline file, OCR.yaml, to options and models, and back."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import yaml

from ocr_onnx import options as declared
from ocr_onnx.declarations import checked_path
from ocr_onnx.errors import InputNotFoundError, OptionError, OutputError, shortened
from ocr_onnx.models.metadata import Task
from ocr_onnx.models.yaml_text import load_yaml
from ocr_onnx.options import (
    DetectionOptions,
    LineOrientationOptions,
    Models,
    OCROptions,
    RecognitionOptions,
)
from ocr_onnx.paddle.parameters import plain

logger: logging.Logger = logging.getLogger(__name__)

Config: TypeAlias = dict[str, Any]
"""The content of a pipeline file."""

Keys: TypeAlias = tuple[str, ...]
"""The keys that lead to a value in the file."""

DOCUMENT = ("SubPipelines", "DocPreprocessor")
DETECTION = ("SubModules", "TextDetection")
RECOGNITION = ("SubModules", "TextRecognition")
LINES = ("SubModules", "TextLineOrientation")
PAGES = (*DOCUMENT, "SubModules", "DocOrientationClassify")
UNWARPING = (*DOCUMENT, "SubModules", "DocUnwarping")

STAGES: Mapping[Task, Keys] = {
    "text_detection": DETECTION,
    "text_recognition": RECOGNITION,
    "doc_orientation": PAGES,
    "image_unwarping": UNWARPING,
    "textline_orientation": LINES,
}
"""The keys of each stage's model in the file."""

GROUPS: Mapping[str, Keys] = {
    "page_orientation": PAGES,
    "detection": DETECTION,
    "line_orientation": LINES,
    "recognition": RECOGNITION,
    "input": ("Input",),
}
"""The keys of the options in each field of OCROptions; PaddleX ignores `Input`."""

PIPELINE_OPTIONS: Mapping[str, Keys] = {
    "use_doc_orientation_classify": DOCUMENT,
    "use_doc_unwarping": DOCUMENT,
    "use_textline_orientation": (),
    "return_word_box": RECOGNITION,
    "reading_order": (),
}
"""The keys of the options of OCROptions itself."""

PLACES: Mapping[str, Keys] = {
    place.declaration.name: (*(GROUPS[place.group] if place.group else PIPELINE_OPTIONS[place.field]), place.field)
    for place in declared.places()
    if place.declaration.name != "pdf_password"
}
"""The keys of each option, by its declared name. Passwords are not stored in files."""

HIGH_PERFORMANCE = ("use_hpip",)
PREPROCESSOR = ("use_doc_preprocessor",)

IGNORED: Mapping[Keys, frozenset[str]] = {
    (): frozenset({"Serving", "batch_size", "device", "engine", "engine_config", "hpi_config"}),
    DOCUMENT: frozenset({"batch_size"}),
    DETECTION: frozenset({"batch_size"}),
    PAGES: frozenset({"batch_size"}),
    UNWARPING: frozenset({"batch_size"}),
}
"""Keys of PaddleX that have no effect here, except that `ocr-onnx serve` reads `Serving`."""

WITHOUT_EFFECT: Mapping[str, str] = {
    "device": "give device to PaddleOCR, or --device",
    "engine_config": "the engine is ONNX Runtime",
    "hpi_config": "give enable_hpi to PaddleOCR, or --mode high-performance",
}
"""Keys whose value a user expects to act, and the reason."""

MODEL_KEYS = frozenset({"module_name", "model_name", "model_dir", "hpi_config", "engine", "engine_config"})

PADDLEX_DEFAULTS = replace(
    OCROptions.paddleocr(),
    use_doc_orientation_classify=False,
    use_textline_orientation=False,
    detection=DetectionOptions(960, "max", thresh=0.3, box_thresh=0.6, unclip_ratio=2.0, tiles=False),
    line_orientation=LineOrientationOptions(batch_size=1, score_thresh=0),
    recognition=RecognitionOptions(batch_size=1, cut_wide_lines=False),
)
"""The values that PaddleX 3.7 uses for keys that a file lacks. The values in its own file differ."""

WRITTEN_DETECTION = ("limit_side_len", "limit_type", "max_side_limit", "thresh", "box_thresh", "unclip_ratio")
"""The keys of detection options in PaddleX's own file."""


class ModelChoice(NamedTuple):
    """The model that a stage uses."""

    name: str | None
    """Its official name; None accepts any model in `directory`."""
    directory: str | None = None
    """A Paddle directory or an .onnx file, instead of the official model."""


Choices: TypeAlias = Mapping[Task, ModelChoice]


def default_choices() -> dict[Task, ModelChoice]:
    """Return the default models, `Models()`."""
    models = Models()
    return {
        "text_detection": ModelChoice(str(models.text_detection)),
        "text_recognition": ModelChoice(str(models.text_recognition)),
        "doc_orientation": ModelChoice(str(models.doc_orientation)),
        "image_unwarping": ModelChoice(str(models.doc_unwarping)),
        "textline_orientation": ModelChoice(str(models.textline_orientation)),
    }


def default() -> Config:
    """Return the pipeline file for `Models()` and PaddleOCR's options, `OCROptions.paddleocr()`."""
    options = OCROptions.paddleocr()
    modules = {"doc_orientation": "doc_text_orientation"}
    models = {
        task: {"module_name": modules.get(task, task), "model_name": choice.name, "model_dir": None}
        for task, choice in default_choices().items()
    }
    return {
        "pipeline_name": "OCR",
        "text_type": "general",
        "use_doc_preprocessor": True,
        "use_textline_orientation": options.use_textline_orientation,
        "SubPipelines": {
            "DocPreprocessor": {
                "pipeline_name": "doc_preprocessor",
                "use_doc_orientation_classify": options.use_doc_orientation_classify,
                "use_doc_unwarping": options.use_doc_unwarping,
                "SubModules": {
                    "DocOrientationClassify": models["doc_orientation"],
                    "DocUnwarping": models["image_unwarping"],
                },
            }
        },
        "SubModules": {
            "TextDetection": {
                **models["text_detection"],
                **{key: getattr(options.detection, key) for key in WRITTEN_DETECTION},
            },
            "TextLineOrientation": {
                **models["textline_orientation"],
                "batch_size": options.line_orientation.batch_size,
            },
            "TextRecognition": {
                **models["text_recognition"],
                "batch_size": options.recognition.batch_size,
                "score_thresh": options.recognition.score_thresh,
            },
        },
    }


def load(source: str | os.PathLike[str] | Mapping[str, Any]) -> Config:
    """Read and check a pipeline file, or a mapping with its content; log a warning for unknown keys.

    Raises InputNotFoundError if the file does not exist, OptionError if it is not a pipeline file for OCR.
    """
    config = (
        copy.deepcopy(dict(source)) if isinstance(source, Mapping) else parse(checked_path("paddlex_config", source))
    )
    if config.get("pipeline_name", "OCR") != "OCR":
        raise OptionError(f"pipeline_name is {shortened(repr(config['pipeline_name']))}: it must be 'OCR'")
    if config.get("text_type", "general") != "general":
        raise OptionError(f"text_type is {shortened(repr(config['text_type']))}: it must be 'general'")
    for stage in (DETECTION, RECOGNITION):
        if not isinstance(_value_at(config, stage), Mapping):
            raise OptionError(
                f"the pipeline file lacks {'.'.join(stage)}: see export_paddlex_config_to_yaml for an example"
            )
    for place in sorted({full[:depth] for full in _known_paths() for depth in range(1, len(full))}):
        if not isinstance(_value_at(config, place), Mapping | None):
            raise OptionError(
                f"{'.'.join(place)} of the pipeline file is not a mapping: see export_paddlex_config_to_yaml for an example"
            )
    if unknown := sorted(".".join(path) for path in _unknown(config)):
        logger.warning("unknown keys of the pipeline file are ignored: %s", ", ".join(unknown))
    _warn_without_effect(config)
    return config


def _warn_without_effect(config: Config) -> None:
    for place in [(), *STAGES.values()]:
        for key, reason in WITHOUT_EFFECT.items():
            if _value_at(config, (*place, key)) is not None:
                logger.warning("%s of the pipeline file has no effect here: %s", ".".join((*place, key)), reason)


def parse(file: Path) -> Config:
    """Parse a YAML file without checking its keys. Raises InputNotFoundError, or OptionError if it cannot be parsed."""
    try:
        config = load_yaml(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputNotFoundError(f"{file} does not exist: check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise OptionError(
            f"{file} is not a pipeline file: {error}; see export_paddlex_config_to_yaml for an example"
        ) from error
    if not isinstance(config, dict):
        raise OptionError(
            f"{file} is not a pipeline file: its content is not a mapping; see export_paddlex_config_to_yaml for an example"
        )
    return config


def save(config: Config, file: str | os.PathLike[str]) -> None:
    """Write a pipeline file, which PaddleX can read as well. Raises OutputError if it cannot be written."""
    try:
        checked_path("yaml_path", file).write_text(yaml.safe_dump(config, allow_unicode=True), "utf-8")
    except OSError as error:
        raise OutputError(f"{file} cannot be written: {error.strerror}; choose a writable path") from error


def high_performance(config: Config) -> bool:
    """Return whether the file selects high-performance mode."""
    return _switch(config, HIGH_PERFORMANCE, default=False)


def options(config: Config, *, ignore_preprocessor_switch: bool = False) -> OCROptions:
    """Return the options of a pipeline file. Raises OptionError for a value out of range.

    `use_doc_preprocessor: False` disables page orientation and unwarping, unless `ignore_preprocessor_switch`.
    """
    values = {name: _value_at(config, place) for name, place in PLACES.items()}
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
    if not ignore_preprocessor_switch and not _switch(config, PREPROCESSOR, default=True):
        values |= {"use_doc_orientation_classify": False, "use_doc_unwarping": False}
    if values["text_rec_padding"] is None and high_performance(config):
        values["text_rec_padding"] = "own"
    return declared.changed(PADDLEX_DEFAULTS, values)


def choices(config: Config) -> dict[Task, ModelChoice]:
    """Return the models of a pipeline file."""
    nodes = {task: _value_at(config, place) or {} for task, place in STAGES.items()}
    return {task: ModelChoice(node.get("model_name"), node.get("model_dir")) for task, node in nodes.items()}


def updated(config: Config, wanted: OCROptions, models: Choices) -> Config:
    """Return the file with these options and models; keys whose value does not change are not added or rewritten."""
    config = copy.deepcopy(config)
    for task, place in STAGES.items():
        if choices(config)[task] != models[task]:
            _set_value(config, (*place, "model_name"), models[task].name)
            _set_value(config, (*place, "model_dir"), models[task].directory)
    before = options(config)
    known = [option for option in declared.places() if option.declaration.name in PLACES]
    changes = {option.declaration.name: option.of(wanted) for option in known if option.of(before) != option.of(wanted)}
    for name, value in changes.items():
        _set_value(config, PLACES[name], plain(value))
    if changes.keys() & {"use_doc_orientation_classify", "use_doc_unwarping"}:
        _set_value(config, (*DOCUMENT, "use_doc_orientation_classify"), wanted.use_doc_orientation_classify)
        _set_value(config, (*DOCUMENT, "use_doc_unwarping"), wanted.use_doc_unwarping)
        _set_value(config, PREPROCESSOR, wanted.use_doc_orientation_classify or wanted.use_doc_unwarping)
    return config


def _set_value(config: Config, path: Keys, value: Any) -> None:
    """Set the value at a path; create missing mappings."""
    *way, key = path
    node = config
    for step in way:
        if node.get(step) is None:
            node[step] = {}
        node = node[step]
    node[key] = value


def _switch(config: Config, place: Keys, *, default: bool) -> bool:
    """Return the boolean at a path. Raises OptionError for another type, such as the string "False"."""
    value = _value_at(config, place)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise OptionError(f"{place[-1]} is {shortened(repr(value))}: it must be True or False")
    return value


def _value_at(config: Config, path: Keys) -> Any:
    """Return the value at a path; None if it does not exist."""
    node: Any = config
    for key in path:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _known_paths() -> set[Keys]:
    models = {(*place, key) for place in STAGES.values() for key in MODEL_KEYS}
    return {*PLACES.values(), *models, HIGH_PERFORMANCE, PREPROCESSOR}


def _unknown(config: Config, path: Keys = ()) -> Iterator[Keys]:
    """Yield the paths of keys that neither this package nor PaddleX has."""
    places = _known_paths()
    known = set(_value_at(default(), path) or ()) | IGNORED.get(path, frozenset())
    known |= {place[len(path)] for place in places if place[: len(path)] == path and len(place) > len(path)}
    for key, value in _value_at(config, path).items():
        here = (*path, str(key))
        if key not in known:
            yield here
        elif isinstance(value, Mapping) and any(place[: len(here)] == here != place for place in places):
            yield from _unknown(config, here)
