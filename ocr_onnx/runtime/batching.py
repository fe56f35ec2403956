"""In which shapes models are given their inputs: a line at a time on a processor; on a GPU batches, of few shapes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime.providers import Placement
from ocr_onnx.runtime.threads import parallel_map
from ocr_onnx.types import Run, Tensor

Result = TypeVar("Result")

Shape = tuple[int, ...]
"""(batch, channel, height, width) in pixels."""

PADDING_MARK = 100.0
"""Stands where neither a page or line is nor what the reference pads it with: no pixel is so much, once normalized
(ocr_onnx.converters.passes.valid_region)."""

PADDING_CLASS = -1
"""Stands for the class of a step that lies beyond."""

MAX_WARM_UP_PIXELS = 4_000_000
"""Pixels of the largest page that a detector is run on ahead: larger ones take much of a GPU's memory, and long in any case."""

RUN_COST = 2000
"""What it costs a GPU to run a recognizer's 200 operators, whatever they are given, in columns of pixels that it could read in that time:
an estimate, not measured on one."""

MAX_BATCH_COLUMNS = 25_600
"""Columns of pixels that a batch may have, rows times width: as many pixels as a page of 1,100 a side."""

TYPICAL_SIDE, MIN_SIDE = 960, 32
"""Sides in pixels: of the page that detection and unwarping are warmed up with where sides are not few, and of the smallest one."""


class Batch(NamedTuple):
    """Lines that a model is given at once."""

    members: tuple[int, ...]
    """Their numbers."""
    width: int
    """In pixels, each line's and what pads it."""
    size: int
    """How many lines the tensor holds: the last may be empty."""


@dataclass(frozen=True, slots=True)
class Shapes:
    """Which shapes there are."""

    sizes: tuple[int, ...] = (1,)
    """The numbers of lines that a batch may hold, smallest first; (1,): each line by itself, as many at once as there are cores."""
    widths: tuple[int, ...] = ()
    """Lines are padded to the next of these, in pixels; none, or beyond the last: each has its own width."""
    sides: tuple[int, ...] = ()
    """Pages are padded to the next of these for detection, in width and height; none, or beyond the last: to none."""
    masked: bool = False
    """Whether the model sees where a page or a line ends, so that what pads it changes no reading."""

    def batches(self, widths: Sequence[int]) -> list[Batch]:
        """Lines of these widths put together: the narrowest first, so that a GPU begins while the wide ones are prepared.

        Of all ways to cut the lines, sorted by width, into batches that are allowed it is one of least cost, RUN_COST for each
        and its columns. Lines that are padded to different widths are put together where the model sees their ends.
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
        """(where it begins, its size) of each batch that may end before `end`, of lines of these widths, which are sorted."""
        width = widths[end - 1]
        for count in range(1, min(self.sizes[-1], end) + 1):
            start, size = end - count, _round_up(count, self.sizes)
            if count > 1 and (size * width > MAX_BATCH_COLUMNS or (widths[start] != width and not self.masked)):
                return
            yield start, size

    def run_lines(
        self, task: Callable[[Batch], Sequence[Result]], widths: Sequence[int], threads: int | None
    ) -> list[Result]:
        """Do a task, which answers for each member, on the batches of lines of these widths; answers in the lines' order."""
        batches = self.batches(widths)
        costs = [batch.width for batch in batches] if self.sizes == (1,) else None
        answers = parallel_map(task, batches, costs=costs, threads=threads)
        of_line: dict[int, Result] = {}
        for batch, each in zip(batches, answers, strict=True):
            of_line.update(zip(batch.members, each, strict=True))
        return [of_line[i] for i in range(len(widths))]

    def stack(self, tensors: Sequence[Tensor], batch: Batch) -> Tensor:
        """Tensors of one line each as one of the batch's shape: 0 where no line is, PADDING_MARK where one ends before it."""
        if batch.size == 1 and tensors[0].shape[3] == batch.width:
            return tensors[0]
        room = np.zeros((batch.size, *tensors[0].shape[1:3], batch.width), np.float32)
        for row, tensor in zip(room, tensors, strict=False):
            row[..., : tensor.shape[3]] = tensor[0]
            if self.masked:
                row[..., tensor.shape[3] :] = PADDING_MARK
        return room

    def pad_pages(self, run: Run, metadata: ModelMetadata) -> Run:
        """A detector that is given padded pages, right and below; its maps are cut back.

        With PADDING_MARK where it sees their ends, else with black, as the reference pads small ones.
        """
        if not self.sides or metadata.input_shape or metadata.static_shape:
            return run
        filling = PADDING_MARK if self.masked else np.array(metadata.black, np.float32).reshape(3, 1, 1)

        def padded(tensor: Tensor) -> tuple[NDArray[Any], ...]:
            height, width = tensor.shape[2:]
            room = np.empty((1, 3, _round_up(height, self.sides), _round_up(width, self.sides)), np.float32)
            room[:] = filling
            room[..., :height, :width] = tensor
            return tuple(output[..., :height, :width] for output in run(room))

        return padded

    def warm_up_shapes(self, metadata: ModelMetadata, largest: int) -> list[Shape]:
        """Every shape that a model is given, smallest first, pages being at most `largest` pixels a side, and MAX_WARM_UP_PIXELS; where they are not few, a usual one."""
        fixed = metadata.static_shape[1:] or metadata.input_shape
        if metadata.task == "text_recognition":
            pairs = itertools.product(self.widths or fixed[2:], self.sizes)
            return [
                (size, *fixed[:2], width) for width, size in pairs if size == 1 or size * width <= MAX_BATCH_COLUMNS
            ]
        if metadata.task == "textline_orientation":
            return [(size, *fixed) for size in self.sizes]
        if fixed:
            return [(1, *fixed)]
        if not self.sides or metadata.task == "image_unwarping":
            return [(1, 3, TYPICAL_SIDE, TYPICAL_SIDE)]
        within = [side for side in self.sides if side <= _round_up(largest, self.sides)]
        return [(1, 3, *sides) for sides in itertools.product(within, within) if math.prod(sides) <= MAX_WARM_UP_PIXELS]

    def profile_shapes(self, metadata: ModelMetadata, largest: int) -> tuple[Shape, Shape, Shape]:
        """The least, a usual and the largest shape that a model is given, whether they are few or not."""
        if metadata.task == "text_recognition":
            channels, height, usual_width = metadata.input_shape
            rows = self.sizes[-1], channels, height
            return (
                (1, channels, height, PADDED_SHAPES.widths[0]),
                (*rows, usual_width),
                (*rows, PADDED_SHAPES.widths[-1]),
            )
        if metadata.task == "text_detection" and not metadata.input_shape:
            side = _round_up(largest, self.sides)
            sides = ((self.sides or (MIN_SIDE,))[0], min(TYPICAL_SIDE, side), side)
            least, usual, most = ((1, 3, side, side) for side in sides)
            return least, usual, most
        each = self.warm_up_shapes(metadata, largest)
        return each[0], each[-1], each[-1]


CPU_SHAPES = Shapes()
"""Those of a processor: several calls of one thread fill its cores better than one of several."""

PADDED_SHAPES = Shapes(
    # Doubled, so that less than half of a batch is empty.
    sizes=(1, 2, 4, 8, 16),
    # No more than half as wide again as the one before, from little more than a letter to the largest width of a line.
    widths=(80, 120, 160, 240, 320, 480, 640, 960, 1280, 1920, 2560, 3200),
    # A third more than the one before, in detection's steps of 32; 960, 1280 and 4000 are its usual limits.
    sides=(320, 416, 544, 736, 960, 1280, 1696, 2240, 2976, 4000),
)
"""Those of a GPU in high-performance mode, for other models: a new shape makes it search and plan anew, which takes longer than its sums."""

MASKED_SHAPES = replace(PADDED_SHAPES, masked=True)
"""Those of a GPU in both modes, for models that see where a page or a line ends."""

EXACT_SHAPES = Shapes(sizes=tuple(range(1, 17)))
"""Those of a GPU in standard mode, for other models: the reference's widths, as many lines of one width as there are, 16 at most."""


def shapes_for(placement: Placement, metadata: ModelMetadata, *, masked: bool) -> Shapes:
    """The shapes of a model on what it runs on; `masked` is Session.masked."""
    if not placement.on_gpu:
        return CPU_SHAPES
    if masked:
        return MASKED_SHAPES
    # Rows that hold no line change no other: lines of a fixed width lose nothing.
    few = placement.mode == "high-performance" or metadata.task == "textline_orientation"
    return PADDED_SHAPES if few else EXACT_SHAPES


def _round_up(number: int, allowed: Sequence[int]) -> int:
    """The least of `allowed` that is no less than `number`; the number itself where there is none."""
    return next((each for each in allowed if each >= number), number)
