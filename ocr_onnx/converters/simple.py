"""Without Paddle and without the onnx package: models of the older format exported, and exports described, as they are."""

from __future__ import annotations

import sys
import zipfile
from dataclasses import replace
from pathlib import Path

from ocr_onnx import store
from ocr_onnx.converters.describe import describe
from ocr_onnx.converters.paddle import PaddleModel, run_paddle
from ocr_onnx.converters.params import check_weights
from ocr_onnx.download import fetch_package
from ocr_onnx.errors import ConversionError
from ocr_onnx.metadata import ModelMetadata, stamped
from ocr_onnx.runtime import Session

CORE = "paddle2onnx==1.3.1"
"""The last whose core converts the older format without Paddle."""

LAST_PYTHON = (3, 12)
"""The last that it has wheels for."""

OPSET = "17"


def stamp(raw: Path, target: Path, metadata: ModelMetadata) -> None:
    """Write an ONNX model with its description; raises ConversionError where its classes are not those described."""
    check_classes(metadata, Session(raw).output_shape[-1])
    metadata = replace(metadata, source=metadata.source or {raw.name: store.sha256(raw)})
    target.write_bytes(stamped(raw.read_bytes(), metadata))


def takes(model: PaddleModel) -> bool:
    """Whether a model can be made here: it is of the older format, and the core has wheels for this Python."""
    return model.graph.suffix == ".pdmodel" and sys.version_info[:2] <= LAST_PYTHON


def export_old(model: PaddleModel, raw: Path, name: str | None) -> ModelMetadata:
    """Convert a model of the older format (inference.pdmodel) to the ONNX file `raw`, which does not say what it is; what it is."""
    check_weights(model.params)
    run_paddle("export_old", core(), model.graph, model.params, raw, OPSET)
    if not raw.is_file() or raw.stat().st_size == 0:
        raise ConversionError(f"{model.graph} is no model of Paddle's older format, or it is damaged")
    tool, version = CORE.split("==")
    return replace(describe(model, len(Session(raw).output_shape), name), converter={tool: version})


def core() -> Path:
    """The compiled core of paddle2onnx 1.3.1, fetched from the Python index if it is not there yet (4 MB)."""
    folder = store.home() / ".packages"
    wheel = fetch_package(CORE, folder)
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [m for m in archive.namelist() if "paddle2onnx_cpp2py_export" in m and m.endswith((".so", ".pyd"))]
        target = folder / Path(member).name
        if not target.is_file():
            target.write_bytes(archive.read(member))
    return target


def check_classes(metadata: ModelMetadata, classes: int | str | None) -> None:
    """Refuse a dictionary that does not belong to the model: its texts would be wrong without a word."""
    named = metadata.labels or ("blank", *metadata.charset)
    if metadata.task in {"text_detection", "image_unwarping"} or not isinstance(classes, int):
        return
    if classes != len(named):
        counted = " (the blank and the space counted)" if metadata.charset else ""
        raise ConversionError(
            f"{metadata.name} has {classes} classes and its dictionary or inference.yml names {len(named)}{counted}: "
            "the two are not of one model"
        )
