"""The metadata of a model, stored in its ONNX file, so that one file is all that using a model needs."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from ocr_onnx.errors import ModelError, shortened
from ocr_onnx.models import protobuf

PROPERTY = "ocr_onnx"
"""The key of the ONNX metadata property that contains the record as JSON."""

METADATA_PROPS = 14
"""The field number of `metadata_props` in ONNX's ModelProto."""

FORMAT = 1
"""The version of the record's format; increased if old readers cannot read new records."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
"""The name of a model: it is also the name of its file, which has at most 255 bytes."""

CHANNELS = 3
MAX_SIDE = 10_000
"""The maximum side of an input that a file may state, in pixels. The option `max_side_limit` has 4,000 by default."""

MAX_CLASSES = 200_000
"""The maximum number of characters; Unicode has 150,000, the largest published dictionary 18,708."""

MAX_LABELS = 1000
"""The maximum number of labels, and of entries of a mapping."""

MAX_TEXT = 200
"""The maximum length of a text in the record, in characters; a sha256 has 64."""

HEIGHT, WIDTH = 2, 3
"""Axes of an input: (batch, channel, height, width)."""

OPTIONAL_FIELDS = ("keep_ratio", "static_shape", "precision")
"""Fields that were added later. They are omitted if they have their default value, so that converting an older model again gives
the same bytes."""

Task = Literal["doc_orientation", "image_unwarping", "textline_orientation", "text_detection", "text_recognition"]


@dataclass(frozen=True, slots=True)
class InputLayout:
    """The input of the models of a task: which axes of (batch, channel, height, width) vary."""

    lines: bool = False
    """Whether a model gets a batch of text lines; else a single page."""
    variable: bool = False
    """Whether the width of lines, or the width and height of pages, vary."""
    limited: bool = True
    """Whether the options limit the size of pages. A TensorRT engine needs limits."""
    fixed: bool = False
    """Whether the record must state the size of the input, or of lines the height."""

    @property
    def padded_axes(self) -> tuple[int, ...]:
        """The axes along which a GPU's inputs are padded, so that they have few shapes."""
        if not (self.variable and self.limited):
            return ()
        return (WIDTH,) if self.lines else (HEIGHT, WIDTH)

    @property
    def static_usable(self) -> bool:
        """Whether a graph with a static input shape can be used: pages are stretched to it, lines of any width are not."""
        return not (self.lines and self.variable)


LAYOUTS: Mapping[Task, InputLayout] = {
    "text_detection": InputLayout(variable=True),
    "text_recognition": InputLayout(lines=True, variable=True, fixed=True),
    "doc_orientation": InputLayout(fixed=True),
    "image_unwarping": InputLayout(variable=True, limited=False),
    "textline_orientation": InputLayout(lines=True, fixed=True),
}


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """Everything that is needed to use a model, except its graph."""

    name: str
    """The official name, such as PP-OCRv5_mobile_det."""
    task: Task
    channels: Literal["BGR", "RGB"]
    """The order of the color channels of the input."""
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Normalization: a pixel v of channel c becomes (v * scale - mean[c]) / std[c]."""
    input_shape: tuple[int, ...] = ()
    """(channel, height, width) if the model fixes them; for recognition, width is the minimum."""
    resize_short: int = 0
    """Page orientation: the length, in pixels, to which the shorter side is resized before the center crop."""
    static_shape: tuple[int, ...] = ()
    """(batch, channel, height, width) if the graph accepts no other shape."""
    precision: Literal["fp32", "fp16"] = "fp32"
    """The precision of weights and computation; inputs and outputs are float32."""
    keep_ratio: bool = False
    """Line orientation: whether a crop keeps its aspect ratio and is padded with 0 on the right; else it is stretched."""
    charset: tuple[str, ...] = ()
    """Recognition: the characters of classes 1, 2, …; class 0 is the CTC blank."""
    labels: tuple[str, ...] = ()
    """Classification: the label of each class."""
    postprocess: Mapping[str, float | int | str | bool] = field(default_factory=dict)
    """Detection: the options in its inference.yml (thresh, box_thresh, unclip_ratio, max_candidates, …, resize_long)."""
    source: Mapping[str, str] = field(default_factory=dict)
    """The source files and their sha256."""
    converter: Mapping[str, str] = field(default_factory=dict)
    """The packages that converted it and their versions."""

    @property
    def layout(self) -> InputLayout:
        """The layout of its input."""
        return LAYOUTS[self.task]

    @property
    def black(self) -> tuple[float, ...]:
        """The normalized value of a black pixel in each channel."""
        return tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True))

    def to_json(self) -> str:
        """Return the record as JSON, in the form that the file's metadata contains."""
        omitted = {f.name for f in fields(self) if f.name in OPTIONAL_FIELDS and getattr(self, f.name) == f.default}
        record = {name: value for name, value in asdict(self).items() if name not in omitted}
        return json.dumps({"format": FORMAT, **record}, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], where: str) -> ModelMetadata:
        """Read the record from an ONNX file's metadata; `where` names the file in errors.

        Raises ModelError if the record is missing, incomplete, damaged, or of another version.
        """
        if PROPERTY not in properties:
            raise ModelError(f"{where} has no ocr-onnx metadata: run 'ocr-onnx convert' on the Paddle model")
        try:
            record: dict[str, Any] = dict(json.loads(properties[PROPERTY]))
        except (RecursionError, TypeError, ValueError) as error:
            raise ModelError(f"{where} has damaged ocr-onnx metadata ({error}): convert it again") from error
        try:
            if record.pop("format") != FORMAT or record["task"] not in get_args(Task):
                raise ModelError(
                    f"{where} was converted for another version of ocr-onnx: convert it again, or upgrade ocr-onnx"
                )
            known = {f.name for f in fields(cls)}
            values: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in record.items() if k in known
            }
            made = cls(**values)
        except (KeyError, TypeError) as error:
            raise ModelError(f"{where} has incomplete ocr-onnx metadata ({error}): convert it again") from error
        made.check(where)
        return made

    def check(self, where: str) -> None:
        """Raise ModelError, which names the field, if a value cannot be used; `where` names the file."""
        for name, (fits, wanted) in RULES.items():
            value = getattr(self, name)
            if not fits(value):
                raise ModelError(
                    f"{where} has invalid ocr-onnx metadata: {name} is {shortened(repr(value))}, but must be {wanted}; convert it again"
                )
        if LAYOUTS[self.task].fixed and not self.input_shape:
            raise ModelError(f"{where} has incomplete ocr-onnx metadata (no input_shape): convert it again")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _are_channels(values: object) -> bool:
    return isinstance(values, tuple) and len(values) == CHANNELS and all(map(_is_number, values))


def _is_shape(values: object, axes: int) -> bool:
    """Whether this is a shape of so many axes, the last three of them (3, height, width); or empty."""
    if not isinstance(values, tuple) or len(values) not in {0, axes}:
        return False
    return all(type(side) is int and 1 <= side <= MAX_SIDE for side in values) and values[-3:-2] in {(), (CHANNELS,)}


def _are_texts(values: object, most: int) -> bool:
    return isinstance(values, tuple) and len(values) <= most and all(map(_is_text, values))


def _is_mapping(value: object, fits: Callable[[object], bool]) -> bool:
    return isinstance(value, Mapping) and len(value) <= MAX_LABELS and all(map(fits, value.values()))


RULES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda v: isinstance(v, str) and NAME.fullmatch(v) is not None, "letters, digits, '.', '_' and '-'"),
    "channels": (lambda v: v in ("BGR", "RGB"), "BGR or RGB"),
    "scale": (_is_number, "a number"),
    "mean": (_are_channels, "three numbers"),
    "std": (lambda v: _are_channels(v) and all(v), "three numbers other than 0"),
    "input_shape": (lambda v: _is_shape(v, 3), f"(3, height, width) with sides up to {MAX_SIDE}"),
    "static_shape": (lambda v: _is_shape(v, 4), f"(batch, 3, height, width) with sides up to {MAX_SIDE}"),
    "resize_short": (lambda v: type(v) is int and 0 <= v <= MAX_SIDE, f"an integer from 0 to {MAX_SIDE}"),
    "precision": (lambda v: v in ("fp32", "fp16"), "fp32 or fp16"),
    "keep_ratio": (lambda v: isinstance(v, bool), "true or false"),
    "charset": (lambda v: _are_texts(v, MAX_CLASSES), f"at most {MAX_CLASSES} texts of at most {MAX_TEXT} characters"),
    "labels": (lambda v: _are_texts(v, MAX_LABELS), f"at most {MAX_LABELS} texts of at most {MAX_TEXT} characters"),
    "postprocess": (
        lambda v: _is_mapping(v, lambda each: _is_number(each) or _is_text(each) or isinstance(each, bool)),
        "numbers and short texts",
    ),
    "source": (lambda v: _is_mapping(v, _is_text), "short texts"),
    "converter": (lambda v: _is_mapping(v, _is_text), "short texts"),
}
"""For each field whether a value can be used, and the description of usable values. The record can come from a stranger."""


def properties(model: bytes) -> dict[str, str]:
    """Return the metadata properties in the bytes of an ONNX file; the onnx package is not needed.

    Raises IndexError or ValueError if the bytes are not an ONNX file.
    """
    entries = (
        {key: model[first:last].decode() for key, first, last in protobuf.fields(model, start, end)}
        for number, start, end in protobuf.fields(model, 0, len(model))
        if number == METADATA_PROPS
    )
    return {entry.get(1, ""): entry.get(2, "") for entry in entries}


def stamped(model: bytes, metadata: ModelMetadata) -> bytes:
    """Append the record to the bytes of an ONNX file; the onnx package is not needed.

    Appending to a protobuf message adds fields to it: here one more entry of ModelProto.metadata_props.
    """
    entry = protobuf.field(1, PROPERTY.encode()) + protobuf.field(2, metadata.to_json().encode())
    return model + protobuf.field(METADATA_PROPS, entry)
