"""PaddleX's pipeline file, OCR.yaml, in and out: a tree of settings, and the options and models that it stands for."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import yaml

from ocr_onnx.errors import InputNotFoundError, OptionError, OutputError
from ocr_onnx.models.metadata import Task
from ocr_onnx.paddle.parameters import plain
from ocr_onnx.pipeline import Models, OCROptions
from ocr_onnx.stages.detection import DetectionOptions
from ocr_onnx.stages.orientation import LineOrientationOptions
from ocr_onnx.stages.recognition import RecognitionOptions

logger = logging.getLogger(__name__)

Config: TypeAlias = dict[str, Any]
"""The tree, as YAML holds it."""

DOCUMENT = ("SubPipelines", "DocPreprocessor")
DETECTION = ("SubModules", "TextDetection")
RECOGNITION = ("SubModules", "TextRecognition")
LINES = ("SubModules", "TextLineOrientation")
PAGES = (*DOCUMENT, "SubModules", "DocOrientationClassify")
UNWARPING = (*DOCUMENT, "SubModules", "DocUnwarping")

STAGES: Mapping[Task, tuple[str, ...]] = {
    "text_detection": DETECTION,
    "text_recognition": RECOGNITION,
    "doc_orientation": PAGES,
    "image_unwarping": UNWARPING,
    "textline_orientation": LINES,
}
"""Where each stage's model stands in the tree."""

PLACES: Mapping[str, tuple[str, ...]] = {
    "doc_orientation_classify_model_name": (*PAGES, "model_name"),
    "doc_orientation_classify_model_dir": (*PAGES, "model_dir"),
    "doc_unwarping_model_name": (*UNWARPING, "model_name"),
    "doc_unwarping_model_dir": (*UNWARPING, "model_dir"),
    "text_detection_model_name": (*DETECTION, "model_name"),
    "text_detection_model_dir": (*DETECTION, "model_dir"),
    "textline_orientation_model_name": (*LINES, "model_name"),
    "textline_orientation_model_dir": (*LINES, "model_dir"),
    "textline_orientation_batch_size": (*LINES, "batch_size"),
    "text_recognition_model_name": (*RECOGNITION, "model_name"),
    "text_recognition_model_dir": (*RECOGNITION, "model_dir"),
    "text_recognition_batch_size": (*RECOGNITION, "batch_size"),
    "use_doc_orientation_classify": (*DOCUMENT, "use_doc_orientation_classify"),
    "use_doc_unwarping": (*DOCUMENT, "use_doc_unwarping"),
    "use_textline_orientation": ("use_textline_orientation",),
    "text_det_limit_side_len": (*DETECTION, "limit_side_len"),
    "text_det_limit_type": (*DETECTION, "limit_type"),
    "text_det_thresh": (*DETECTION, "thresh"),
    "text_det_box_thresh": (*DETECTION, "box_thresh"),
    "text_det_unclip_ratio": (*DETECTION, "unclip_ratio"),
    "text_det_input_shape": (*DETECTION, "input_shape"),
    "text_rec_score_thresh": (*RECOGNITION, "score_thresh"),
    "text_rec_input_shape": (*RECOGNITION, "input_shape"),
    "text_rec_padding": (*RECOGNITION, "padding"),
    "return_word_box": (*RECOGNITION, "return_word_box"),
    "enable_hpi": ("use_hpip",),
}
"""Where each parameter of PaddleOCR stands in the tree; `text_rec_padding` is ours."""

ELSEWHERE: Mapping[tuple[str, ...], frozenset[str]] = {
    (): frozenset({"Serving", "batch_size", "device", "engine", "engine_config", "hpi_config"}),
    DOCUMENT: frozenset({"batch_size"}),
    (*DETECTION,): frozenset({"batch_size"}),
    (*PAGES,): frozenset({"batch_size"}),
    (*UNWARPING,): frozenset({"batch_size"}),
}
"""Keys that PaddleX knows and that mean nothing to this pipeline, or are read by the service."""

OF_ANY_MODEL = frozenset({"module_name", "model_name", "model_dir", "hpi_config", "engine", "engine_config"})

WITHOUT_DETECTION: Mapping[str, Any] = {
    "limit_side_len": 960,
    "limit_type": "max",
    "max_side_limit": 4000,
    "thresh": 0.3,
    "box_thresh": 0.6,
    "unclip_ratio": 2.0,
}
"""What PaddleX 3.7 takes where a file does not say: not the values of its own file."""

WITHOUT_BATCH = 1


class Stage(NamedTuple):
    """Which model a stage uses."""

    name: str | None
    """Its official name; None: whatever the directory says."""
    directory: str | None
    """A Paddle directory, or an .onnx file, in place of the official model."""


def default(*, high_performance: bool = False) -> Config:
    """The tree that stands for `OCROptions()`, or `OCROptions.high_performance()`, and `Models()`."""
    options, models = OCROptions.high_performance() if high_performance else OCROptions(), Models()
    detection = options.detection
    return {
        "pipeline_name": "OCR",
        "text_type": "general",
        **({"use_hpip": True} if high_performance else {}),
        "use_doc_preprocessor": True,
        "use_textline_orientation": options.use_textline_orientation,
        "SubPipelines": {
            "DocPreprocessor": {
                "pipeline_name": "doc_preprocessor",
                "use_doc_orientation_classify": options.use_doc_orientation_classify,
                "use_doc_unwarping": options.use_doc_unwarping,
                "SubModules": {
                    "DocOrientationClassify": _model("doc_text_orientation", models.doc_orientation),
                    "DocUnwarping": _model("image_unwarping", models.doc_unwarping),
                },
            }
        },
        "SubModules": {
            "TextDetection": {
                **_model("text_detection", models.text_detection),
                **{key: getattr(detection, key) for key in WITHOUT_DETECTION},
            },
            "TextLineOrientation": {
                **_model("textline_orientation", models.textline_orientation),
                "batch_size": options.line_orientation.batch_size,
            },
            "TextRecognition": {
                **_model("text_recognition", models.text_recognition),
                "batch_size": options.recognition.batch_size,
                "score_thresh": options.recognition.score_thresh,
            },
        },
    }


def _model(module: str, name: str | Path) -> Config:
    return {"module_name": module, "model_name": str(name), "model_dir": None}


def load(source: str | os.PathLike[str] | Mapping[str, Any]) -> Config:
    """The tree of a file or of a mapping; keys that nobody knows are named in the log.

    Raises InputNotFoundError where the file is not there, OptionError where it is no pipeline file for OCR.
    """
    tree = copy.deepcopy(dict(source)) if isinstance(source, Mapping) else parse(Path(source))
    if tree.get("pipeline_name", "OCR") != "OCR":
        raise OptionError(f"pipeline_name is {tree['pipeline_name']!r}: this is the pipeline 'OCR'")
    if tree.get("text_type", "general") != "general":
        raise OptionError(f"text_type is {tree['text_type']!r}: only 'general' is read here")
    for stage in (DETECTION, RECOGNITION):
        if not isinstance(_at(tree, stage), Mapping):
            raise OptionError(f"the pipeline file lacks {'.'.join(stage)}: export one to see what belongs there")
    for place in sorted({full[:depth] for full in PLACES.values() for depth in range(1, len(full))}):
        if not isinstance(_at(tree, place), Mapping | None):
            raise OptionError(
                f"{'.'.join(place)} of the pipeline file is no mapping: export one to see what belongs there"
            )
    if unknown := sorted(".".join(path) for path in _unknown(tree)):
        logger.warning("of the pipeline file these keys are not known and have no effect: %s", ", ".join(unknown))
    return tree


def parse(file: Path) -> Config:
    """The tree of a YAML file, unchecked. Raises InputNotFoundError or OptionError where it is none."""
    try:
        tree = yaml.safe_load(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise InputNotFoundError(f"{file} does not exist") from error
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise OptionError(f"{file} is no pipeline file: {error}") from error
    if not isinstance(tree, dict):
        raise OptionError(f"{file} is no pipeline file: it holds no mapping")
    return tree


def save(config: Config, file: str | os.PathLike[str]) -> None:
    """Write the tree as YAML, which PaddleX reads as well; raises OutputError where it cannot be written."""
    try:
        Path(file).write_text(yaml.safe_dump(config, allow_unicode=True), "utf-8")
    except OSError as error:
        raise OutputError(f"{file} cannot be written: {error.strerror}") from error


def changed(config: Config, parameters: Mapping[str, Any]) -> Config:
    """The tree with PaddleOCR's `parameters` in their places; None leaves what is there."""
    tree = copy.deepcopy(config)
    for name, value in parameters.items():
        if value is None:
            continue
        *path, key = PLACES[name]
        node = tree
        for step in path:
            if node.get(step) is None:
                node[step] = {}
            node = node[step]
        node[key] = plain(value)
    if any(parameters.get(name) is not None for name in ("use_doc_orientation_classify", "use_doc_unwarping")):
        tree["use_doc_preprocessor"] = any(
            _at(tree, PLACES[name]) for name in ("use_doc_orientation_classify", "use_doc_unwarping")
        )
    return tree


def high_performance(config: Config) -> bool:
    """Whether the tree asks for that mode."""
    return _switch(config, PLACES["enable_hpi"])


def options(config: Config) -> OCROptions:
    """What the tree says of the pages' way; raises OptionError where a value is out of its range."""
    before = _switch(config, ("use_doc_preprocessor",), default=True)
    detection, recognition = _at(config, DETECTION), _at(config, RECOGNITION)
    lines = _at(config, LINES) or {}
    return OCROptions(
        use_doc_orientation_classify=before and _switch(config, PLACES["use_doc_orientation_classify"]),
        use_doc_unwarping=before and _switch(config, PLACES["use_doc_unwarping"]),
        use_textline_orientation=_switch(config, PLACES["use_textline_orientation"]),
        return_word_box=_switch(config, PLACES["return_word_box"]),
        detection=DetectionOptions(
            **{key: detection.get(key, value) for key, value in WITHOUT_DETECTION.items()},
            input_shape=_shape(detection),
        ),
        line_orientation=LineOrientationOptions(lines.get("batch_size", WITHOUT_BATCH)),
        recognition=RecognitionOptions(
            batch_size=recognition.get("batch_size", WITHOUT_BATCH),
            padding=recognition.get("padding", "own" if high_performance(config) else "batch"),
            score_thresh=recognition.get("score_thresh", 0.0),
            input_shape=_shape(recognition),
        ),
    )


def _switch(config: Config, place: tuple[str, ...], *, default: bool = False) -> bool:
    """Whether a stage is on; raises OptionError for what is neither True nor False, such as the word "False"."""
    value = _at(config, place)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise OptionError(f"{place[-1]} is {value!r}: it must be True or False")
    return value


def _shape(module: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """(channel, height, width) where the tree fixes it; its range is for the options to check."""
    shape = module.get("input_shape")
    return tuple(shape) if isinstance(shape, list) else shape


def stage(config: Config, task: Task) -> Stage:
    """The model that the tree has for a task."""
    node = _at(config, STAGES[task]) or {}
    return Stage(node.get("model_name"), node.get("model_dir"))


def forget_name(config: Config, task: Task) -> None:
    """Leave it to a stage's model to say what it is."""
    if (node := _at(config, STAGES[task])) is not None:
        node["model_name"] = None


def _at(config: Config, path: tuple[str, ...]) -> Any:
    """What stands at a place; None where nothing does."""
    node: Any = config
    for key in path:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _unknown(config: Config, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The places of keys that neither this pipeline nor PaddleX's knows."""
    known = set(_at(default(), path) or ()) | ELSEWHERE.get(path, frozenset())
    known |= {place[-1] for place in PLACES.values() if place[:-1] == path}
    if path in STAGES.values():
        known |= OF_ANY_MODEL
    node = _at(config, path)
    for key, value in node.items():
        here = (*path, str(key))
        if key not in known:
            yield here
        elif isinstance(value, Mapping) and isinstance(_at(default(), here), Mapping):
            yield from _unknown(config, here)
