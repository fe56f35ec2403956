"""Convert a Paddle directory or an ONNX export to a model file: export, describe, optimize, verify, move into place."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from ocr_onnx.converters.describe import describe, sources_with
from ocr_onnx.converters.export_options import ExportOptions
from ocr_onnx.converters.legacy import with_classes
from ocr_onnx.converters.optimize import free_size, optimize
from ocr_onnx.converters.paddle import PaddleModel, installed_versions
from ocr_onnx.converters.passes.blank_bound import find_classifier, prove_blank_steps, sample_blank_features
from ocr_onnx.converters.passes.pad_columns import skip_padding_columns
from ocr_onnx.converters.passes.valid_region import mask_valid_region
from ocr_onnx.converters.replacements import Replacement, contents
from ocr_onnx.converters.verify import (
    NO_VALID_REGION,
    Agreement,
    Inputs,
    Outputs,
    check_alike,
    check_numbers,
    compare,
    ignores_padding,
    padded,
    run_onnx,
    sample_inputs,
)
from ocr_onnx.models.metadata import PROPERTY, ModelMetadata
from ocr_onnx.models.store import move_into_place
from ocr_onnx.runtime.model_check import read_model
from ocr_onnx.runtime.model_file import PRODUCER, model_for_device
from ocr_onnx.stages.tasks import TASKS

logger: logging.Logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """Result of a conversion."""

    metadata: ModelMetadata
    target: Path
    nodes: tuple[int, int]
    """Operators before and after optimization."""
    opset: int
    agreement: Agreement | None
    """Comparison of the file with its source; None if not requested."""

    def __str__(self) -> str:
        size = f"{self.target.stat().st_size / 1e6:.1f} MB"
        before, after = self.nodes
        verified = "not verified" if self.agreement is None else str(self.agreement)
        name = f"{self.metadata.name} ({self.metadata.task})"
        shape = "x".join(map(str, self.metadata.static_shape or self.metadata.input_shape)) or "any size"
        known = f"{self.metadata.precision}, input {shape}{' only' if self.metadata.static_shape else ''}"
        known += f", {len(self.metadata.charset)} characters" if self.metadata.charset else ""
        return f"{name}, {known}: {before} -> {after} operators, opset {self.opset}, {size}; {verified}"


def convert_model(
    model: PaddleModel,
    target: Path,
    *,
    name: str | None = None,
    verify: bool = True,
    options: ExportOptions | None = None,
) -> Report:
    """Convert a Paddle model to the file `target`: see ocr_onnx.converters.convert."""
    options = ExportOptions() if options is None else options
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch, "raw.onnx")
        model.export(raw, options.opset)
        exported = onnx.load(raw)
        rank = len(exported.graph.output[0].type.tensor_type.shape.dim)
        metadata = replace(describe(model, rank, name), static_shape=options.static)
        return _finish(exported, target, metadata, model.infer if verify else None, options)


def import_onnx(source: Path, target: Path, metadata: ModelMetadata) -> Report:
    """Optimize an ONNX export, compare the result with it, and write it with `metadata`."""
    metadata = replace(
        metadata,
        source=sources_with(source, metadata),
        converter={**metadata.converter, **installed_versions()},
    )
    exported = onnx.load_from_string(read_model(source))
    with tempfile.TemporaryDirectory() as scratch:
        if _has_fixed_size(exported, metadata):
            free_size(exported)
            source = Path(scratch, "source.onnx")
            onnx.save(exported, source)
        return _finish(exported, target, metadata, lambda inputs: run_onnx(source, inputs))


def _finish(
    exported: onnx.ModelProto,
    target: Path,
    metadata: ModelMetadata,
    reference: Callable[[Inputs], Outputs] | None,
    options: ExportOptions | None = None,
) -> Report:
    """Optimize, set denormal weights to 0, add metadata, compare with `reference`, move into place."""
    before = len(exported.graph.node)
    classes = exported.graph.output[0].type.tensor_type.shape.dim
    metadata = with_classes(metadata, classes[-1].dim_value or None if classes else None)
    steps = TASKS[metadata.task].output == "steps"
    if _has_fixed_size(exported, metadata):
        free_size(exported)
    model = optimize(exported, reduce_classes=steps, options=options)
    model.producer_name = PRODUCER
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {PROPERTY: metadata.to_json()})
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "model.onnx")
        replacements, for_gpu = _for_cpu(model, metadata, Path(scratch)), _for_gpu(model, metadata)
        made.write_bytes(contents(model, replacements, for_gpu))
        inputs = sample_inputs(metadata)
        # An exporter can succeed and still have written a file that does not load, or that returns NaN.
        found = run_onnx(made, inputs)
        check_numbers(metadata, found)
        agreement = None if reference is None else compare(metadata, reference(inputs), found)
        if replacements:
            _check_replacements(metadata, made, padded(inputs))
        if for_gpu is not None and not ignores_padding(metadata, made, sample_inputs(metadata)):
            made.write_bytes(contents(model, replacements))
        move_into_place(made, target)
    return Report(metadata, target, (before, len(model.graph.node)), model.opset_import[0].version, agreement)


def _check_replacements(metadata: ModelMetadata, made: Path, inputs: Inputs) -> None:
    """Raise ConversionError if a file's graph for CPUs is invalid, or differs from the graph for other devices."""
    file, elsewhere = made.read_bytes(), made.with_name("elsewhere.onnx")
    onnx.checker.check_model(onnx.load_from_string(model_for_device(file)), full_check=True)
    elsewhere.write_bytes(model_for_device(file, on_cpu=False))
    check_alike(metadata, run_onnx(elsewhere, inputs), run_onnx(made, inputs))


def _for_cpu(model: onnx.ModelProto, metadata: ModelMetadata, scratch: Path) -> list[Replacement]:
    """Return the replacements for CPUs."""
    if metadata.static_shape or TASKS[metadata.task].output != "steps":
        return []
    found = skip_padding_columns(model)
    if (table := find_classifier(model)) is not None:
        found += prove_blank_steps(model, table, sample_blank_features(model, table, metadata, scratch))
    return found


def _for_gpu(model: onnx.ModelProto, metadata: ModelMetadata) -> Replacement | None:
    """Return the replacement for GPUs, with masks of the valid region; None if there is none."""
    axes = metadata.layout.padded_axes
    if not axes or metadata.static_shape:
        return None
    found = mask_valid_region(model, axes)
    if found is None:
        logger.warning(NO_VALID_REGION, metadata.name, "a node of its graph is not supported")
    return found


def _has_fixed_size(model: onnx.ModelProto, metadata: ModelMetadata) -> bool:
    """Return whether a model declares one size of its input although the sizes of its task vary."""
    sides = model.graph.input[0].type.tensor_type.shape.dim
    return any(sides[axis].dim_value for axis in metadata.layout.padded_axes)
