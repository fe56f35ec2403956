"""Make a model's metadata from its inference.yml: the record that the ONNX file contains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ocr_onnx.converters.paddle import PaddleModel, installed_versions
from ocr_onnx.errors import ConversionError
from ocr_onnx.models.metadata import ModelMetadata, Task
from ocr_onnx.models.store import sha256
from ocr_onnx.stages.detection import standalone_options
from ocr_onnx.stages.tasks import TASKS

HALF: Mapping[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
"""Normalization of recognition: constants in PaddleOCR's code, not in inference.yml."""

IMAGENET: Mapping[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

RECOGNITION_SHAPE = (3, 48, 320)
"""(channel, height, minimum width) since PP-OCRv3."""

TASK_OF_RANK: Mapping[int, Task] = {4: "text_detection", 3: "text_recognition"}
"""By the number of the output's axes: (batch, 1, height, width), and (batch, step, class)."""

DETECTION_KEYS = ("thresh", "box_thresh", "unclip_ratio", "max_candidates", "score_mode", "box_type", "use_dilation")

LINE_SHAPE = (3, 80, 160)
"""Input of PP-LCNet_*_textline_ori."""

CLASSIFIER_SHAPE = (3, 48, 192)
"""Input of ch_ppocr_mobile_v2.0_cls."""

LINE_LABELS = ("0_degree", "180_degree")

USUAL: Sequence[tuple[Task, str, Mapping[str, Any]]] = (
    ("text_detection", "", {**IMAGENET, "channels": "BGR"}),
    ("text_recognition", "", {**HALF, "channels": "BGR", "input_shape": RECOGNITION_SHAPE}),
    (
        "textline_orientation",
        "_textline_ori",
        {**IMAGENET, "channels": "RGB", "input_shape": LINE_SHAPE, "labels": LINE_LABELS},
    ),
    (
        "textline_orientation",
        "",
        {**HALF, "channels": "BGR", "input_shape": CLASSIFIER_SHAPE, "labels": LINE_LABELS, "keep_ratio": True},
    ),
)
"""The metadata of models without inference.yml, by task and the end of the model's name; the first that fits is used."""


def describe(model: PaddleModel, rank: int, name: str | None = None) -> ModelMetadata:
    """Return the metadata of a Paddle model whose output has `rank` axes; `name` overrides the one in inference.yml."""
    try:
        return _describe(model, rank, name)
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ConversionError(
            f"{model.yml} is incomplete ({type(error).__name__}: {error}): export the model again with its inference.yml"
        ) from error


def _describe(model: PaddleModel, rank: int, name: str | None) -> ModelMetadata:
    config = model.config
    title = name or config.get("Global", {}).get("model_name")
    if not isinstance(title, str):
        raise ConversionError(
            f"{model.yml or model.graph.parent} has no Global.model_name: give --name, or the stage's _model_name"
        )
    if model.yml is None:
        return _describe_bare(model, rank, title)
    steps = _steps(config)
    task = task_of(title, config)
    common: dict[str, Any] = {
        "name": title,
        "task": task,
        "channels": _channels(steps),
        "scale": _number(steps.get("NormalizeImage", {}).get("scale", 1 / 255)),
        "source": model.checksums,
        "converter": installed_versions(),
    }
    return PADDLE_TASKS[task].describe(model, common, steps)


def _detector(model: PaddleModel, common: Mapping[str, Any], steps: Mapping[str, Any]) -> ModelMetadata:
    post = model.config["PostProcess"]
    metadata = ModelMetadata(
        **common, **_normalization(steps), postprocess={k: post[k] for k in DETECTION_KEYS if k in post}
    )
    return _with_size(metadata, steps.get("DetResizeForTest", {}))


def _recognizer(model: PaddleModel, common: Mapping[str, Any], steps: Mapping[str, Any]) -> ModelMetadata:
    if common["channels"] != "BGR":
        raise ConversionError(f"{common['name']} expects RGB images, and ocr-onnx supports BGR only for recognition")
    shape = tuple(steps.get("RecResizeImg", {}).get("image_shape", RECOGNITION_SHAPE))
    return ModelMetadata(**common, **HALF, input_shape=shape, charset=_charset(model))


def _classifier(model: PaddleModel, common: Mapping[str, Any], steps: Mapping[str, Any]) -> ModelMetadata:
    shape, short = _classifier_size(steps)
    labels = tuple(str(label) for label in model.config["PostProcess"]["Topk"]["label_list"])
    return ModelMetadata(**common, **_normalization(steps), input_shape=shape, resize_short=short, labels=labels)


def _unwarper(_: PaddleModel, common: Mapping[str, Any], __: Mapping[str, Any]) -> ModelMetadata:
    return ModelMetadata(**{**common, "channels": "BGR"}, mean=(0.0,) * 3, std=(1.0,) * 3)


class PaddleTask(NamedTuple):
    """How a Paddle model of a task is recognized, by any of three signs, and described."""

    describe: Callable[[PaddleModel, Mapping[str, Any], Mapping[str, Any]], ModelMetadata]
    """Makes the metadata, given the fields that all tasks have in common and the preprocessing steps."""
    postprocess: str = ""
    """PostProcess.name in inference.yml."""
    endings: tuple[str, ...] = ()
    """Ends of the model's name."""
    labels: tuple[str, ...] | None = None
    """PostProcess.Topk.label_list."""


PADDLE_TASKS: Mapping[Task, PaddleTask] = {
    "text_detection": PaddleTask(_detector, "DBPostProcess"),
    "text_recognition": PaddleTask(_recognizer, "CTCLabelDecode"),
    "doc_orientation": PaddleTask(_classifier, "", ("_doc_ori",), ("0", "90", "180", "270")),
    "textline_orientation": PaddleTask(_classifier, "", ("_textline_ori",), LINE_LABELS),
    "image_unwarping": PaddleTask(_unwarper, "", ("UVDoc",)),
}


def _normalization(steps: Mapping[str, Any]) -> dict[str, Any]:
    """Return mean and standard deviation of detection and classification."""
    return {name: tuple(steps.get("NormalizeImage", {}).get(name, usual)) for name, usual in IMAGENET.items()}


def _with_size(metadata: ModelMetadata, resize: Mapping[str, Any]) -> ModelMetadata:
    """Add a detector's input size or limit if it differs from the default."""
    if "image_shape" in resize:
        if resize.get("keep_ratio"):
            raise ConversionError(f"{metadata.name} has keep_ratio: true in its inference.yml, which is not supported")
        return replace(metadata, input_shape=(len(metadata.mean), *resize["image_shape"]))
    longest = resize.get("resize_long")
    if longest is None or longest == standalone_options(metadata).limit_side_len:
        return metadata
    return replace(metadata, postprocess={**metadata.postprocess, "resize_long": longest})


def _describe_bare(model: PaddleModel, rank: int, name: str) -> ModelMetadata:
    """Return the metadata of a model of the older format without inference.yml."""
    task = TASK_OF_RANK.get(rank, "textline_orientation")
    charset = _charset(model) if TASKS[task].output == "steps" else ()
    return replace(usual(name, task, charset), source=model.checksums, converter=installed_versions())


def usual(name: str, task: Task, charset: tuple[str, ...] = ()) -> ModelMetadata:
    """Return the metadata that the official models of a task have in common, for a model without inference.yml."""
    known = next((each for of, ending, each in USUAL if of == task and name.endswith(ending)), None)
    if known is None:
        raise ConversionError(
            f"{name} has no inference.yml, and {task} models have no common input size: put its inference.yml beside it"
        )
    return ModelMetadata(**{"name": name, "task": task, "scale": 1 / 255, "charset": charset, **known})


def _charset(model: PaddleModel) -> tuple[str, ...]:
    """Return the characters of a recognizer: its dictionary, and the space that PaddleOCR appends."""
    if not model.charset:
        raise ConversionError(
            f"{model.graph.parent} has no dictionary: give --dict FILE, the dictionary it was trained with, one character a line"
        )
    return (*model.charset, " ")


def task_of(name: str, config: Mapping[str, Any]) -> Task:
    """Return a model's task, from its postprocessing, its name or its labels."""
    post = config.get("PostProcess") or {}
    labels = tuple(str(label) for label in post.get("Topk", {}).get("label_list", ()))
    for task, signs in PADDLE_TASKS.items():
        if post.get("name") == signs.postprocess or name.endswith(signs.endings) or labels == signs.labels:
            return task
    raise ConversionError(f"{name} has an unknown task: PostProcess.name in its inference.yml is {post.get('name')}")


def _steps(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the preprocessing steps by name."""
    operations = (config.get("PreProcess") or {}).get("transform_ops") or ()
    return {name: arguments or {} for step in operations for name, arguments in step.items()}


def _channels(steps: Mapping[str, Any]) -> Literal["BGR", "RGB"]:
    # The classifiers have no decoding step; PaddleX gives them RGB.
    return "BGR" if steps.get("DecodeImage", {}).get("img_mode") == "BGR" else "RGB"


def _number(value: float | str) -> float:
    """Parse a number, or a quotient such as "1./255."."""
    if isinstance(value, str):
        dividend, _, divisor = value.partition("/")
        return float(dividend) / float(divisor or 1)
    return float(value)


def _classifier_size(steps: Mapping[str, Any]) -> tuple[tuple[int, int, int], int]:
    """Return (channel, height, width), and the length of the short side before the crop; 0 without a crop."""
    resize = steps["ResizeImage"]
    if "resize_short" in resize:
        size = steps["CropImage"]["size"]
        return (3, size, size), resize["resize_short"]
    width, height = resize["size"]
    return (3, height, width), 0


def describe_export(name: str, task: Task, yml: Path) -> ModelMetadata:
    """Return the metadata of an official model published as ONNX only, with or without inference.yml."""
    return describe_yml(yml, name) if yml.is_file() else usual(name, task)


def describe_yml(yml: Path, name: str | None = None, dictionary: Path | None = None) -> ModelMetadata:
    """Return the metadata of an ONNX model from its inference.yml; `name` and `dictionary` override those there."""
    model = PaddleModel(graph=yml, params=yml, yml=yml, dictionary=dictionary)
    return replace(describe(model, 0, name), source={yml.name: sha256(yml)})


def sources_with(export: Path, metadata: ModelMetadata) -> dict[str, str]:
    """Return the source files of a model file and their sha256; `export` is one of them unless Paddle's files are."""
    known = dict(metadata.source)
    return known if any(Path(name).suffix != ".yml" for name in known) else {export.name: sha256(export), **known}
