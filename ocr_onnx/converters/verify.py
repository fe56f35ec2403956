"""Compare a converted model with its source, on a real page and on random inputs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.errors import ConversionError, ModelError
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime.batching import PADDING_CLASS, PADDING_MARK
from ocr_onnx.runtime.session import Session
from ocr_onnx.runtime.threads import cpu_count
from ocr_onnx.stages.recognition import computed
from ocr_onnx.stages.sample_page import sample_page
from ocr_onnx.stages.tasks import TASKS
from ocr_onnx.stages.verification import Comparison
from ocr_onnx.types import Tensor

logger: logging.Logger = logging.getLogger(__name__)

NO_VALID_REGION = "%s gets no mask of the valid region, so a GPU runs it on exact sizes only: %s"

Inputs: TypeAlias = Mapping[str, Tensor]
Outputs: TypeAlias = Mapping[str, "tuple[NDArray[Any], ...]"]
"""By the names of the inputs."""

TOLERANCE = 1e-3
"""Largest accepted difference of probabilities, and of the two best classes if a decision differs."""

BESIDE = 96
"""Pixels of padding to test the valid-region mask with; detection needs multiples of 32."""

TIES = 0.01
"""Largest share of a line's steps that may differ because rounding decides between two classes."""

PADDING = 403
"""Columns of zeros added to lines, so that pad_columns removes most of them."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Result of comparing two forms of a model."""

    inputs: int
    decisions: int
    """Pixels of masks, steps of lines, or pages: each is one decision."""
    differing: int
    """Decisions that differ; all are ties within TOLERANCE."""
    worst: float
    """The largest difference between two probabilities."""

    def __str__(self) -> str:
        equal = f"{self.decisions - self.differing}/{self.decisions} decisions equal on {self.inputs} inputs"
        return f"{equal}, probabilities within {self.worst:.1e}"


def compare(metadata: ModelMetadata, expected: Outputs, found: Outputs) -> Agreement:
    """Compare outputs for the same inputs. Raises ConversionError if they differ by more than TOLERANCE."""
    decisions = differing = 0
    worst = 0.0
    for name, reference in expected.items():
        equal, margin, difference = compare_one(metadata, reference[0], found[name])
        if not difference <= TOLERANCE or margin > TOLERANCE:
            raise ConversionError(
                f"{metadata.name} differs from its source: on the input '{name}' probabilities differ "
                f"by {difference:.2g}, and a decision by {margin:.2g}; report it with the versions of your packages"
            )
        decisions += equal.size
        differing += int(np.count_nonzero(~equal))
        worst = max(worst, difference)
    return Agreement(len(expected), decisions, differing, worst)


def compare_one(metadata: ModelMetadata, reference: NDArray[Any], found: tuple[NDArray[Any], ...]) -> Comparison:
    """Compare outputs for one input."""
    return TASKS[metadata.task].verification.compare(reference, found, metadata)


def run_onnx(path: Path, inputs: Inputs) -> Outputs:
    """Run an ONNX file on each input."""
    run = Session(path, threads=cpu_count())
    return {name: run(tensor) for name, tensor in inputs.items()}


def check_numbers(metadata: ModelMetadata, found: Outputs) -> None:
    """Raise ConversionError if a model returns NaN or infinity."""
    bad = [name for name, outputs in found.items() if not all(np.isfinite(output).all() for output in outputs)]
    if bad:
        raise ConversionError(f"{metadata.name} was converted, and returns NaN or infinity for the input {bad[0]}")


def sample_inputs(metadata: ModelMetadata) -> Inputs:
    """Return inputs of several shapes: the sample page, preprocessed as in the pipeline, and noise."""
    of_task, noise = TASKS[metadata.task].verification, np.random.default_rng(0)
    real = {f"page {i}": tensor for i, tensor in enumerate(of_task.page_inputs(sample_page(), metadata))}
    random = {
        f"noise {'x'.join(map(str, shape))}": noise.normal(0, 1, shape).astype(np.float32)
        for shape in of_task.noise_shapes(metadata)
    }
    return {name: _fitted(x, metadata.static_shape) for name, x in (real | random).items()}


def padded(inputs: Inputs) -> Inputs:
    """Return lines with PADDING more columns of zeros."""
    ends = ((0, 0), (0, 0), (0, 0), (0, PADDING))
    return {f"{name}, padded": np.pad(tensor, ends) for name, tensor in inputs.items()}


def ignores_padding(metadata: ModelMetadata, path: Path, inputs: Inputs) -> bool:
    """Return whether the graph for GPUs gives the same results for padded inputs as for exact ones; log why not."""
    alone = run_onnx(path, inputs)
    steps = [name for name, outputs in alone.items() if len(outputs) > 1]
    try:
        padded = run_padded(metadata, path, inputs)
        check_alike(metadata, padded, alone)
        others = [name for name in steps if _differ(alone[name][0], padded[name][0]) > TIES]
        problem: object = f"steps of {others[0]} differ" if others else None
    except (ConversionError, ModelError, ValueError) as error:
        problem = error
    if problem is not None:
        logger.warning(NO_VALID_REGION, metadata.name, problem)
    return problem is None


def run_padded(metadata: ModelMetadata, path: Path, inputs: Inputs) -> Outputs:
    """Run the graph for GPUs on padded inputs, on the CPU; return the results for the valid region."""
    bounded = Session(path, threads=cpu_count(), masked=True)
    return {name: _alone(bounded(_enlarged(tensor, metadata)), tensor) for name, tensor in inputs.items()}


def _differ(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Return the share of different decisions."""
    return np.count_nonzero(one != other) / one.size


def _enlarged(tensor: Tensor, metadata: ModelMetadata) -> Tensor:
    """Pad an input with PADDING_MARK."""
    more = [(0, BESIDE if axis in metadata.layout.padded_axes else 0) for axis in range(tensor.ndim)]
    return np.pad(tensor, more, constant_values=PADDING_MARK)


def _alone(outputs: tuple[NDArray[Any], ...], tensor: Tensor) -> tuple[NDArray[Any], ...]:
    """Return the valid region of outputs."""
    if len(outputs) == 1:
        return (outputs[0][..., : tensor.shape[2], : tensor.shape[3]],)
    within = outputs[0][0] != PADDING_CLASS
    return tuple(each[:, within] for each in outputs)


def check_alike(metadata: ModelMetadata, elsewhere: Outputs, on_cpu: Outputs) -> None:
    """Raise ConversionError if the graphs for CPUs and for other devices differ by more than TOLERANCE."""
    for name, (*index, probability) in elsewhere.items():
        proved = ~computed(*on_cpu[name]) if index else np.zeros(probability.shape, np.bool_)
        difference = np.abs(probability - on_cpu[name][-1])[~proved].max(initial=0)
        if not difference <= TOLERANCE or any(each[proved].any() for each in index):
            raise ConversionError(
                f"{metadata.name} differs between CPUs and other devices: on the input '{name}' probabilities differ by "
                f"{difference:.2g}; report it with the versions of your packages"
            )


def _fitted(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Crop and pad an input to the fixed size of the graph, if it has one."""
    if not shape:
        return tensor
    fitted = np.zeros(shape, np.float32)
    part = tuple(slice(0, min(sides)) for sides in zip(tensor.shape, shape, strict=True))
    fitted[part] = tensor[part]
    return fitted
