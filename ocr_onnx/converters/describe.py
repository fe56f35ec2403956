"""What a model needs to be used, taken from its inference.yml: the record that travels in the ONNX file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ocr_onnx.converters.paddle import PaddleModel, installed_versions
from ocr_onnx.errors import ConversionError
from ocr_onnx.models.metadata import ModelMetadata, Task
from ocr_onnx.stages.detection import standalone_options

HALF = (0.5, 0.5, 0.5)
"""Recognition's mean and standard deviation: fixed in the reference's code, absent from inference.yml."""

RECOGNITION_SHAPE = (3, 48, 320)
"""(channel, height, least width) since PP-OCRv3."""

DETECTION_RANK, RECOGNITION_RANK = 4, 3
"""Axes of the output: a map; a table of classes a step."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

DETECTION_KEYS = ("thresh", "box_thresh", "unclip_ratio", "max_candidates", "score_mode", "box_type", "use_dilation")


LINE_SHAPE = (3, 80, 160)
"""What PP-LCNet_*_textline_ori takes."""

CLASSIFIER_SHAPE = (3, 48, 192)
"""What ch_ppocr_mobile_v2.0_cls takes."""


def describe(model: PaddleModel, rank: int, name: str | None = None) -> ModelMetadata:
    """Read the record of a Paddle model whose output has `rank` axes; `name` wins over the one in its inference.yml."""
    try:
        return _describe(model, rank, name)
    except (AttributeError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ConversionError(
            f"{model.yml} lacks what an inference.yml of Paddle has ({type(error).__name__}: {error}): export it anew"
        ) from error


def _describe(model: PaddleModel, rank: int, name: str | None) -> ModelMetadata:
    config = model.config
    title = name or config.get("Global", {}).get("model_name")
    if not isinstance(title, str):
        raise ConversionError(
            f"{model.yml or model.graph.parent} gives no Global.model_name: say --name, or the stage's _model_name"
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
    post = config.get("PostProcess") or {}
    if task == "image_unwarping":
        return ModelMetadata(**{**common, "channels": "BGR", "mean": (0.0,) * 3, "std": (1.0,) * 3})
    if task == "text_recognition":
        if common["channels"] != "BGR":
            raise ConversionError(f"{title} takes its colors as RGB, and recognition is given BGR here")
        shape = tuple(steps.get("RecResizeImg", {}).get("image_shape", RECOGNITION_SHAPE))
        return ModelMetadata(**common, mean=HALF, std=HALF, input_shape=shape, charset=_charset(model))
    normalize = steps.get("NormalizeImage", {})
    common["mean"] = tuple(normalize.get("mean", IMAGENET_MEAN))
    common["std"] = tuple(normalize.get("std", IMAGENET_STD))
    if task == "text_detection":
        reading = {k: post[k] for k in DETECTION_KEYS if k in post}
        return _with_size(ModelMetadata(**common, postprocess=reading), steps.get("DetResizeForTest", {}))
    shape, short = _classifier_size(steps)
    labels = tuple(str(label) for label in post["Topk"]["label_list"])
    return ModelMetadata(**common, input_shape=shape, resize_short=short, labels=labels)


def _with_size(metadata: ModelMetadata, resize: Mapping[str, Any]) -> ModelMetadata:
    """The record with the size that a detector is given pictures in, where it is another than the usual one."""
    if "image_shape" in resize:
        if resize.get("keep_ratio"):
            raise ConversionError(f"{metadata.name} has keep_ratio: true in its inference.yml, which is not supported")
        return replace(metadata, input_shape=(len(metadata.mean), *resize["image_shape"]))
    longest = resize.get("resize_long")
    if longest is None or longest == standalone_options(metadata).limit_side_len:
        return metadata
    return replace(metadata, postprocess={**metadata.postprocess, "resize_long": longest})


def _describe_bare(model: PaddleModel, rank: int, name: str) -> ModelMetadata:
    """The record of a model of the older format without inference.yml."""
    tasks: dict[int, Task] = {DETECTION_RANK: "text_detection", RECOGNITION_RANK: "text_recognition"}
    task = tasks.get(rank, "textline_orientation")
    charset = _charset(model) if task == "text_recognition" else ()
    return replace(usual(name, task, charset), source=model.checksums, converter=installed_versions())


def usual(name: str, task: Task, charset: tuple[str, ...] = ()) -> ModelMetadata:
    """The record of a model that comes without inference.yml: what the official models of its task have in common."""
    common: dict[str, Any] = {"name": name, "task": task, "scale": 1 / 255, "labels": (), "charset": charset}
    imagenet: dict[str, Any] = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    half: dict[str, Any] = {"mean": HALF, "std": HALF}
    if task == "text_detection":
        return ModelMetadata(**common, **imagenet, channels="BGR")
    if task == "text_recognition":
        return ModelMetadata(**common, **half, channels="BGR", input_shape=RECOGNITION_SHAPE)
    if task != "textline_orientation":
        raise ConversionError(f"{name}: without an inference.yml it cannot be told what {task} takes")
    common["labels"] = ("0_degree", "180_degree")
    if name.endswith("_textline_ori"):
        return ModelMetadata(**common, **imagenet, channels="RGB", input_shape=LINE_SHAPE)
    return ModelMetadata(**common, **half, channels="BGR", input_shape=CLASSIFIER_SHAPE, keep_ratio=True)


def _charset(model: PaddleModel) -> tuple[str, ...]:
    """The characters of a recognition model: its dictionary's, and the space that the reference appends."""
    if not model.charset:
        raise ConversionError(
            f"{model.graph.parent} has no dictionary: say --dict FILE, the file it was trained with, a character a line"
        )
    return (*model.charset, " ")


def charset_of_export(property_text: str, classes: int) -> tuple[str, ...]:
    """The characters that other projects write into an ONNX file's `character` metadata, the space among them or not."""
    characters = property_text.split("\n")
    if characters[-1] == "":
        characters.pop()
    missing = classes - 1 - len(characters)
    return (*characters, *([" "] if missing == 1 else []))


def task_of(name: str, config: Mapping[str, Any]) -> Task:
    """What a model does, told by its postprocessing and, between the two classifiers, by its name or labels."""
    post = config.get("PostProcess") or {}
    if post.get("name") == "DBPostProcess":
        return "text_detection"
    if post.get("name") == "CTCLabelDecode":
        return "text_recognition"
    labels = [str(label) for label in post.get("Topk", {}).get("label_list", ())]
    if name == "UVDoc" and not post:
        return "image_unwarping"
    if name.endswith("_doc_ori") or labels == ["0", "90", "180", "270"]:
        return "doc_orientation"
    if name.endswith("_textline_ori") or labels == ["0_degree", "180_degree"]:
        return "textline_orientation"
    raise ConversionError(f"what {name} does cannot be told from its inference.yml (PostProcess: {post.get('name')})")


def _steps(config: Mapping[str, Any]) -> dict[str, Any]:
    """The preprocessing steps by name."""
    operations = (config.get("PreProcess") or {}).get("transform_ops") or ()
    return {name: arguments or {} for step in operations for name, arguments in step.items()}


def _channels(steps: Mapping[str, Any]) -> Literal["BGR", "RGB"]:
    # The classifiers have no decoding step, and are then given red first.
    return "BGR" if steps.get("DecodeImage", {}).get("img_mode") == "BGR" else "RGB"


def _number(value: float | str) -> float:
    """A number, or a quotient written as text, such as "1./255."."""
    if isinstance(value, str):
        dividend, _, divisor = value.partition("/")
        return float(dividend) / float(divisor or 1)
    return float(value)


def _classifier_size(steps: Mapping[str, Any]) -> tuple[tuple[int, int, int], int]:
    """(channel, height, width), and the length of the short side where the input is cut out of a larger picture."""
    resize = steps["ResizeImage"]
    if "resize_short" in resize:
        size = steps["CropImage"]["size"]
        return (3, size, size), resize["resize_short"]
    width, height = resize["size"]
    return (3, height, width), 0


def describe_export(name: str, task: Task, yml: Path) -> ModelMetadata:
    """The record of an official model that can be had as ONNX alone, with its inference.yml or without."""
    return describe_yml(yml, name) if yml.is_file() else usual(name, task)


def describe_yml(yml: Path, name: str | None = None) -> ModelMetadata:
    """The record of an ONNX model by its inference.yml; `name` wins over the one there."""
    return replace(describe(PaddleModel(graph=yml, params=yml, yml=yml), 0, name), source={})
