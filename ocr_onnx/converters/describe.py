"""Make a model's metadata from its inference.yml: the record that the ONNX file contains."""

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
"""Mean and standard deviation of recognition: constants in PaddleOCR's code, not in inference.yml."""

RECOGNITION_SHAPE = (3, 48, 320)
"""(channel, height, minimum width) since PP-OCRv3."""

DETECTION_RANK, RECOGNITION_RANK = 4, 3
"""Number of the output's axes: (batch, 1, height, width), and (batch, step, class)."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

DETECTION_KEYS = ("thresh", "box_thresh", "unclip_ratio", "max_candidates", "score_mode", "box_type", "use_dilation")


LINE_SHAPE = (3, 80, 160)
"""Input of PP-LCNet_*_textline_ori."""

CLASSIFIER_SHAPE = (3, 48, 192)
"""Input of ch_ppocr_mobile_v2.0_cls."""


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
    post = config.get("PostProcess") or {}
    if task == "image_unwarping":
        return ModelMetadata(**{**common, "channels": "BGR", "mean": (0.0,) * 3, "std": (1.0,) * 3})
    if task == "text_recognition":
        if common["channels"] != "BGR":
            raise ConversionError(f"{title} expects RGB images, and ocr-onnx supports BGR only for recognition")
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
    tasks: dict[int, Task] = {DETECTION_RANK: "text_detection", RECOGNITION_RANK: "text_recognition"}
    task = tasks.get(rank, "textline_orientation")
    charset = _charset(model) if task == "text_recognition" else ()
    return replace(usual(name, task, charset), source=model.checksums, converter=installed_versions())


def usual(name: str, task: Task, charset: tuple[str, ...] = ()) -> ModelMetadata:
    """Return the metadata that the official models of a task have in common, for a model without inference.yml."""
    common: dict[str, Any] = {"name": name, "task": task, "scale": 1 / 255, "labels": (), "charset": charset}
    imagenet: dict[str, Any] = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    half: dict[str, Any] = {"mean": HALF, "std": HALF}
    if task == "text_detection":
        return ModelMetadata(**common, **imagenet, channels="BGR")
    if task == "text_recognition":
        return ModelMetadata(**common, **half, channels="BGR", input_shape=RECOGNITION_SHAPE)
    if task != "textline_orientation":
        raise ConversionError(
            f"{name} has no inference.yml, and {task} models have no common input size: put its inference.yml beside it"
        )
    common["labels"] = ("0_degree", "180_degree")
    if name.endswith("_textline_ori"):
        return ModelMetadata(**common, **imagenet, channels="RGB", input_shape=LINE_SHAPE)
    return ModelMetadata(**common, **half, channels="BGR", input_shape=CLASSIFIER_SHAPE, keep_ratio=True)


def _charset(model: PaddleModel) -> tuple[str, ...]:
    """Return the characters of a recognizer: its dictionary, and the space that PaddleOCR appends."""
    if not model.charset:
        raise ConversionError(
            f"{model.graph.parent} has no dictionary: give --dict FILE, the dictionary it was trained with, one character a line"
        )
    return (*model.charset, " ")


def charset_of_export(property_text: str, classes: int) -> tuple[str, ...]:
    """Parse the `character` metadata that other projects write into ONNX files, with or without the space."""
    characters = property_text.split("\n")
    if characters[-1] == "":
        characters.pop()
    missing = classes - 1 - len(characters)
    return (*characters, *([" "] if missing == 1 else []))


def task_of(name: str, config: Mapping[str, Any]) -> Task:
    """Return a model's task, from its postprocessing, or for the two classifiers from its name or labels."""
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


def describe_yml(yml: Path, name: str | None = None) -> ModelMetadata:
    """Return the metadata of an ONNX model from its inference.yml; `name` overrides the one there."""
    return replace(describe(PaddleModel(graph=yml, params=yml, yml=yml), 0, name), source={})
