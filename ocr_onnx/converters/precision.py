"""Graphs in half precision, for GPUs: half the size, float32 going in and coming out."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from ocr_onnx.converters import verify
from ocr_onnx.converters.conversion import Report
from ocr_onnx.errors import ConversionError
from ocr_onnx.metadata import PROPERTY, ModelMetadata
from ocr_onnx.modelfile import for_loading
from ocr_onnx.recognition import best_classes
from ocr_onnx.store import place

LEAST = 0.98
"""The share of decisions that must stay as they are; measured on the sample page and noise: 0.99 and more."""


def halve(source: Path, target: Path) -> Report:
    """Write a converted model in half precision; raises ConversionError where it then decides differently.

    By ONNX Runtime's own converter: what onnxconverter-common makes of detection does not load. Keeping more operators in
    float32 than it does by itself was measured to change nothing: docs/models-verified.md.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    # What is for a CPU alone rests on float32.
    model = onnx.load_from_string(for_loading(source.read_bytes(), on_cpu=False))
    properties = {entry.key: entry.value for entry in model.metadata_props}
    metadata = replace(ModelMetadata.from_properties(properties, str(source)), precision="fp16")
    before = len(model.graph.node)
    model = convert_float_to_float16(model, keep_io_types=True)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {PROPERTY: metadata.to_json()})
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "model.onnx")
        made.write_bytes(model.SerializeToString(deterministic=True))
        agreement = _compare(source, made, metadata)
        place(made, target)
    return Report(metadata, target, (before, len(model.graph.node)), model.opset_import[0].version, agreement)


def _compare(source: Path, made: Path, metadata: ModelMetadata) -> verify.Agreement:
    inputs = verify.sample_inputs(metadata)
    expected, found = verify.run_onnx(source, inputs), verify.run_onnx(made, inputs)
    equal = [_equal(metadata, expected[name], found[name]) for name in inputs]
    decisions, same = sum(e.size for e in equal), sum(int(np.count_nonzero(e)) for e in equal)
    worst = max(float(np.abs(expected[name][-1] - found[name][-1]).max()) for name in inputs)
    if not (same >= LEAST * decisions and np.isfinite(worst)):
        raise ConversionError(
            f"{metadata.name} cannot be had in half precision: {same} of {decisions} decisions stay; use --precision fp32"
        )
    return verify.Agreement(len(inputs), decisions, decisions - same, worst)


def _equal(
    metadata: ModelMetadata, expected: tuple[NDArray[Any], ...], found: tuple[NDArray[Any], ...]
) -> NDArray[np.bool_]:
    if metadata.task == "text_recognition":
        return np.asarray(best_classes(expected)[0] == best_classes(found)[0])
    equal, _, _ = verify.compare_one(metadata, expected[0], found)
    return equal
