"""What a model file says of itself, so that one file is one model: it travels in the ONNX file's metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from ocr_onnx.errors import ModelError
from ocr_onnx.models import protobuf

PROPERTY = "ocr_onnx"
"""The key of the ONNX metadata property that holds the record, as JSON."""

METADATA_PROPS = 14
"""The number of that field in ONNX's ModelProto."""

FORMAT = 1
"""Raised when a reader of the record must change."""

OPTIONAL_FIELDS = ("keep_ratio", "static_shape", "precision")
"""Fields of the record that came later: left out where they say nothing, so that older files can be made anew."""

Task = Literal["doc_orientation", "image_unwarping", "textline_orientation", "text_detection", "text_recognition"]


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """All that using a model needs beside its graph."""

    name: str
    """The official name, such as PP-OCRv5_mobile_det."""
    task: Task
    channels: Literal["BGR", "RGB"]
    """The order in which the model takes the colors."""
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """A pixel v of channel c is given as (v * scale - mean[c]) / std[c]."""
    input_shape: tuple[int, ...] = ()
    """(channel, height, width) where the model fixes them; recognition: its smallest width."""
    resize_short: int = 0
    """Page orientation: the length the short side is resized to before the center is cut out."""
    static_shape: tuple[int, ...] = ()
    """(batch, channel, height, width) where the graph takes nothing else."""
    precision: Literal["fp32", "fp16"] = "fp32"
    """Of the weights and of what is computed; inputs and outputs are float32."""
    keep_ratio: bool = False
    """Line orientation: a crop keeps its shape and is padded with 0 on the right; else it is squeezed."""
    charset: tuple[str, ...] = ()
    """Recognition: the characters of classes 1, 2, …; class 0 is the CTC blank."""
    labels: tuple[str, ...] = ()
    """Classification: a label a class."""
    postprocess: Mapping[str, float | int | str | bool] = field(default_factory=dict)
    """Detection: what its inference.yml gives (thresh, box_thresh, unclip_ratio, max_candidates, …, resize_long)."""
    source: Mapping[str, str] = field(default_factory=dict)
    """The files it was made from and their sha256."""
    converter: Mapping[str, str] = field(default_factory=dict)
    """The packages that made it and their versions."""

    @property
    def black(self) -> tuple[float, ...]:
        """A black pixel as the model takes it, in each of its channels."""
        return tuple(-mean / std for mean, std in zip(self.mean, self.std, strict=True))

    def to_json(self) -> str:
        """The record as the file's metadata holds it."""
        silent = {f.name for f in fields(self) if f.name in OPTIONAL_FIELDS and getattr(self, f.name) == f.default}
        record = {name: value for name, value in asdict(self).items() if name not in silent}
        return json.dumps({"format": FORMAT, **record}, ensure_ascii=False, sort_keys=True)

    @classmethod
    def from_properties(cls, properties: Mapping[str, str], where: str) -> ModelMetadata:
        """Read the record out of an ONNX file's metadata; `where` names the file in errors."""
        if PROPERTY not in properties:
            raise ModelError(
                f"{where} does not say what it is: convert it with 'ocr-onnx convert' from the Paddle directory"
            )
        try:
            record: dict[str, Any] = dict(json.loads(properties[PROPERTY]))
            if record.pop("format") != FORMAT or record["task"] not in get_args(Task):
                raise ModelError(f"{where} was made for another version of ocr-onnx: convert it anew, or upgrade")
            known = {f.name for f in fields(cls)}
            values: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in record.items() if k in known
            }
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise ModelError(f"{where} does not say all that using it needs ({error}): convert it anew") from error
        except json.JSONDecodeError as error:
            raise ModelError(
                f"{where} is damaged, its description cannot be read ({error}): convert it anew"
            ) from error


def stamped(model: bytes, metadata: ModelMetadata) -> bytes:
    """An ONNX file's bytes with the record added, without the onnx package.

    A protobuf message may be continued by appending to it: here one more entry of ModelProto.metadata_props.
    """
    entry = protobuf.field(1, PROPERTY.encode()) + protobuf.field(2, metadata.to_json().encode())
    return model + protobuf.field(METADATA_PROPS, entry)
