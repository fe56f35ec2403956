"""Graphs in half precision, for GPUs: half the size, float32 going in and coming out."""

from __future__ import annotations

import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ocr_onnx.converters import verify
from ocr_onnx.converters.export import Report
from ocr_onnx.converters.passes.valid_region import PREFIX, SHARES
from ocr_onnx.converters.replacements import Alternative, contents
from ocr_onnx.errors import ConversionError, ModelError
from ocr_onnx.models.metadata import PROPERTY, ModelMetadata
from ocr_onnx.models.store import move_into_place
from ocr_onnx.runtime.model_file import has_padding_mask, model_for_device
from ocr_onnx.runtime.session import float16_converter
from ocr_onnx.stages.recognition import best_classes

logger = logging.getLogger(__name__)

LEAST = 0.98
"""The share of decisions that must stay as they are; measured on the sample page and noise: 0.99 and more."""


def halve(source: Path, target: Path) -> Report:
    """Write a converted model in half precision; raises ConversionError where it then decides differently.

    By ONNX Runtime's own converter: what onnxconverter-common makes of detection does not load. Keeping more operators in
    float32 than it does by itself was measured to change nothing: docs/models-verified.md.
    """
    # What is for a CPU alone rests on float32.
    file = source.read_bytes()
    whole = onnx.load_from_string(model_for_device(file, on_cpu=False))
    properties = {entry.key: entry.value for entry in whole.metadata_props}
    metadata = replace(ModelMetadata.from_properties(properties, str(source)), precision="fp16")
    model = _halved(whole)
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {PROPERTY: metadata.to_json()})
    for_gpu = (
        _for_gpu(_halved(onnx.load_from_string(model_for_device(file, masked=True))), model)
        if has_padding_mask(file)
        else None
    )
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "model.onnx")
        made.write_bytes(contents(model, (), for_gpu))
        inputs = verify.sample_inputs(metadata)
        expected = verify.run_onnx(source, inputs)
        agreement = _compare(metadata, expected, verify.run_onnx(made, inputs))
        if for_gpu is not None:
            try:
                _compare(metadata, expected, verify.run_padded(metadata, made, inputs))
            except (ConversionError, ModelError, ValueError) as error:
                logger.warning(verify.WITHOUT_BOUNDS, metadata.name, error)
                made.write_bytes(contents(model, ()))
        move_into_place(made, target)
    nodes = len(whole.graph.node), len(model.graph.node)
    return Report(metadata, target, nodes, model.opset_import[0].version, agreement)


def _halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """A graph in half precision; how much of a picture lies within its bounds stays in float32."""
    convert_float_to_float16, OnnxModel = float16_converter()  # noqa: N806 a class
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    shares = [node for node in copy.graph.node if node.output[0].startswith(PREFIX) and node.output[0].endswith(SHARES)]
    for node in shares:
        node.name = node.output[0]
    blocked = [node.name for node in shares]
    made: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True, node_block_list=blocked)
    # It puts the conversion of the input last.
    OnnxModel(made).topological_sort()
    return made


def _for_gpu(bounded: onnx.ModelProto, model: onnx.ModelProto) -> Alternative:
    """The nodes of the one in place of the other's, and the constants that the other lacks."""
    there = {tensor.name for tensor in model.graph.initializer}
    constants = {t.name: numpy_helper.to_array(t) for t in bounded.graph.initializer if t.name not in there}
    return Alternative(0, len(model.graph.node), list(bounded.graph.node), constants)


def _compare(metadata: ModelMetadata, expected: verify.Outputs, found: verify.Outputs) -> verify.Agreement:
    """How what half precision answers compares; raises ConversionError where it decides otherwise too often."""
    equal = [_equal(metadata, expected[name], found[name]) for name in expected]
    decisions, same = sum(e.size for e in equal), sum(int(np.count_nonzero(e)) for e in equal)
    worst = max(float(np.abs(expected[name][-1] - found[name][-1]).max()) for name in expected)
    if not (same >= LEAST * decisions and np.isfinite(worst)):
        raise ConversionError(
            f"{metadata.name} cannot be had in half precision: {same} of {decisions} decisions stay; use --precision fp32"
        )
    return verify.Agreement(len(expected), decisions, decisions - same, worst)


def _equal(
    metadata: ModelMetadata, expected: tuple[NDArray[Any], ...], found: tuple[NDArray[Any], ...]
) -> NDArray[np.bool_]:
    if metadata.task == "text_recognition":
        return np.asarray(best_classes(expected)[0] == best_classes(found)[0])
    equal, _, _ = verify.compare_one(metadata, expected[0], found)
    return equal
