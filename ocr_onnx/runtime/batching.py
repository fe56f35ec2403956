"""Input shapes of models: single lines on a CPU; on a GPU, batches of a small number of shapes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime.provider_specs import OPENVINO
from ocr_onnx.runtime.providers import Placement
from ocr_onnx.runtime.threads import parallel_map
from ocr_onnx.types import Run, Tensor

Result = TypeVar("Result")

Shape = tuple[int, ...]
"""(batch, channel, height, width) in pixels."""

PADDING_MARK = 100.0
"""The value of padding that the model must ignore (ocr_onnx.converters.passes.valid_region). No normalized pixel is this large.
The padding that PaddleX itself adds is part of the page or line, and is not marked."""

PADDING_CLASS = -1
"""The class that recognition returns for a step in marked padding."""

MAX_WARM_UP_PIXELS = 4_000_000
"""The largest page, in pixels, that a detector is warmed up with. Larger ones take much of a GPU's memory, and are slow in any case."""

RUN_COST = 2000
"""The fixed cost of one run of a recognizer on a GPU, as the number of pixel columns that the GPU could process in that time. On an H200
a recorded run of PP-OCRv6 small takes 0.9 ms, and 0.5 ms for each 1,000 columns (benchmarks/results/cuda_options.md)."""

MAX_BATCH_COLUMNS = 25_600
"""The largest batch of lines: rows times width, in pixel columns; as many pixels as a page with sides of 1,100."""

TYPICAL_SIDE, MIN_SIDE = 960, 32
"""Sides in pixels: of the page that detection and unwarping are warmed up with if sides are not fixed; of the smallest page."""


class Batch(NamedTuple):
    """Lines that the model gets in one run."""

    members: tuple[int, ...]
    """The indices of the lines."""
    width: int
    """The width of each row in pixels, padding included."""
    size: int
    """The number of rows of the tensor; the last rows may be empty."""


@dataclass(frozen=True, slots=True)
class Shapes:
    """The input shapes that a model gets."""

    sizes: tuple[int, ...] = (1,)
    """The allowed numbers of lines in a batch, in ascending order. (1,): single lines, one on each core."""
    widths: tuple[int, ...] = ()
    """Lines are padded to the next of these widths, in pixels. If empty, or for wider lines: each has its own width."""
    sides: tuple[int, ...] = ()
    """Pages for detection are padded to the next of these in width and height, in pixels. If empty, or for longer sides: no padding."""
    masked: bool = False
    """Whether the padding of pages and lines is marked, and the model masks it, so that it does not change the result."""

    def batches(self, widths: Sequence[int]) -> list[Batch]:
        """Group lines of these widths, in pixels, into batches, narrow ones first.

        A GPU starts on the narrow lines while the CPU prepares the wide ones. Among all ways to cut the lines, sorted by
        width, into allowed batches, this is one with the lowest cost: RUN_COST for each batch, plus its columns. Lines of
        different padded widths share a batch only if the model masks padding.
        """
        padded = [_round_up(width, self.widths) for width in widths]
        order = sorted(range(len(padded)), key=padded.__getitem__)
        ordered = [padded[i] for i in order]
        costs, starts = [0], [0]
        for end, width in enumerate(ordered, 1):
            cost, start = min((costs[at] + RUN_COST + size * width, at) for at, size in self._candidates(ordered, end))
            costs.append(cost)
            starts.append(start)
        found, end = [], len(order)
        while end:
            start = starts[end]
            found.append(Batch(tuple(order[start:end]), ordered[end - 1], _round_up(end - start, self.sizes)))
            end = start
        return found[::-1]

    def _candidates(self, widths: Sequence[int], end: int) -> Iterator[tuple[int, int]]:
        """Yield (start, size) of each allowed batch of the lines from `start` to before `end`; `widths` are sorted."""
        width = widths[end - 1]
        for count in range(1, min(self.sizes[-1], end) + 1):
            start, size = end - count, _round_up(count, self.sizes)
            if count > 1 and (size * width > MAX_BATCH_COLUMNS or (widths[start] != width and not self.masked)):
                return
            yield start, size

    def run_lines(
        self, task: Callable[[Batch], Sequence[Result]], widths: Sequence[int], threads: int | None
    ) -> list[Result]:
        """Call `task` on the batches of lines of these widths; return the results in the order of the lines.

        `task` returns one result for each member of its batch.
        """
        batches = self.batches(widths)
        costs = [batch.width for batch in batches] if self.sizes == (1,) else None
        answers = parallel_map(task, batches, costs=costs, threads=threads)
        by_line: dict[int, Result] = {}
        for batch, results in zip(batches, answers, strict=True):
            by_line.update(zip(batch.members, results, strict=True))
        return [by_line[i] for i in range(len(widths))]

    def stack(self, tensors: Sequence[Tensor], batch: Batch) -> Tensor:
        """Stack tensors of one line each to the shape of the batch.

        Rows without a line are 0. The padding of shorter lines is PADDING_MARK if the model masks it, else 0.
        """
        if batch.size == 1 and tensors[0].shape[3] == batch.width:
            return tensors[0]
        stacked = np.zeros((batch.size, *tensors[0].shape[1:3], batch.width), np.float32)
        for row, tensor in zip(stacked, tensors, strict=False):
            row[..., : tensor.shape[3]] = tensor[0]
            if self.masked:
                row[..., tensor.shape[3] :] = PADDING_MARK
        return stacked

    def pad_pages(self, run: Run, metadata: ModelMetadata) -> Run:
        """Wrap a detector: pad its input on the right and below to allowed sides, and crop its output to the page.

        The padding is PADDING_MARK if the model masks it, else black, as PaddleX pads small pages.
        """
        if not self.pads(metadata):
            return run
        padding = PADDING_MARK if self.masked else np.array(metadata.black, np.float32).reshape(3, 1, 1)

        def padded(tensor: Tensor) -> tuple[NDArray[Any], ...]:
            height, width = tensor.shape[2:]
            larger = np.empty((1, 3, *self.padded_size((height, width))), np.float32)
            larger[:] = padding
            larger[..., :height, :width] = tensor
            return tuple(output[..., :height, :width] for output in run(larger))

        return padded

    def pads(self, metadata: ModelMetadata) -> bool:
        """Return whether pages are padded for a detector."""
        return bool(self.sides) and not metadata.input_shape and not metadata.static_shape

    def padded_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) to which a page of this (height, width) is padded."""
        height, width = size
        return _round_up(height, self.sides), _round_up(width, self.sides)

    def warm_up_shapes(self, metadata: ModelMetadata, largest: int) -> list[Shape]:
        """Return the shapes to warm a model up with, smallest first.

        If widths and sides are fixed, these are all shapes that the model gets for pages with sides of at most `largest`
        pixels and an area of at most MAX_WARM_UP_PIXELS; else one typical width or page.
        """
        layout = metadata.layout
        fixed = metadata.static_shape[1:] or metadata.input_shape
        if layout.lines:
            # Single lines, as on a CPU, have too many widths to run them all.
            widths = self.widths if layout.variable and self.widths and self.sizes != (1,) else fixed[2:]
            pairs = itertools.product(widths, self.sizes)
            return [
                (size, *fixed[:2], width) for width, size in pairs if size == 1 or size * width <= MAX_BATCH_COLUMNS
            ]
        if fixed:
            return [(1, *fixed)]
        if not self.sides or not layout.limited:
            return [(1, 3, TYPICAL_SIDE, TYPICAL_SIDE)]
        within = [side for side in self.sides if side <= _round_up(largest, self.sides)]
        return [(1, 3, *sides) for sides in itertools.product(within, within) if math.prod(sides) <= MAX_WARM_UP_PIXELS]

    def profile_shapes(self, metadata: ModelMetadata, largest: int) -> tuple[Shape, Shape, Shape]:
        """Return the minimum, typical and maximum input shape of a model, for pages with sides of at most `largest` pixels."""
        layout = metadata.layout
        if layout.lines and layout.variable:
            channels, height, typical_width = metadata.input_shape
            rows = self.sizes[-1], channels, height
            narrow, wide = PADDED_SHAPES.widths[0], PADDED_SHAPES.widths[-1]
            return (1, channels, height, narrow), (*rows, typical_width), (*rows, wide)
        if layout.variable and layout.limited and not metadata.input_shape:
            side = _round_up(largest, self.sides)
            sides = ((self.sides or (MIN_SIDE,))[0], min(TYPICAL_SIDE, side), side)
            least, typical, most = ((1, 3, side, side) for side in sides)
            return least, typical, most
        shapes = self.warm_up_shapes(metadata, largest)
        return shapes[0], shapes[-1], shapes[-1]


CPU_SHAPES = Shapes()
"""On a CPU: several calls with one thread each use its cores better than one call with several threads."""

OPENVINO_SHAPES = Shapes(widths=(*range(160, 640, 32), *range(640, 1280, 64), *range(1280, 3201, 128)))
"""With OpenVINO in high-performance mode: it prepares kernels at each new width, which takes as long as reading a short line, and
memory for them."""

PADDED_SHAPES = Shapes(
    # Few sizes and widths: each shape takes up to two seconds to prepare, and memory of its own. Four times as many shapes would save
    # a tenth of the time of recognition.
    sizes=(4, 16),
    widths=(160, 320, 480, 640, 960, 1280, 2080, 3200),
    # Multiples of detection's stride, 32; 960, 1280 and 4000 are its usual limits.
    sides=(480, 736, 960, 1280, 1920, 2880, 4000),
)
"""On a GPU in high-performance mode, for models that do not mask padding. A GPU selects algorithms and plans memory at each new
shape, which takes longer than the computation."""

MASKED_SHAPES = replace(PADDED_SHAPES, masked=True)
"""On a GPU in both modes, for models that mask padding."""

EXACT_SHAPES = Shapes(sizes=tuple(range(1, 17)))
"""On a GPU in standard mode, for models that do not mask padding: PaddleX's widths, and batches of up to 16 lines of one width."""


def shapes_for(placement: Placement, metadata: ModelMetadata, *, masked: bool) -> Shapes:
    """Return the input shapes of a model on a device; `masked` is Session.masked."""
    if not placement.on_gpu:
        fast = placement.providers[0].name == OPENVINO and placement.mode == "high-performance"
        return OPENVINO_SHAPES if fast else CPU_SHAPES
    if masked:
        return MASKED_SHAPES
    # Empty rows do not change other rows, so lines of one fixed width lose nothing.
    fixed_lines = metadata.layout.lines and not metadata.layout.variable
    return PADDED_SHAPES if placement.mode == "high-performance" or fixed_lines else EXACT_SHAPES


def _round_up(number: int, allowed: Sequence[int]) -> int:
    """Return the smallest of `allowed` that is at least `number`; `number` itself if there is none."""
    return next((each for each in allowed if each >= number), number)
