"""In which shapes models are given their inputs: a line at a time on a processor; on a GPU batches, of few shapes if that is wanted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ocr_onnx.devices import Placement
from ocr_onnx.metadata import ModelMetadata
from ocr_onnx.normalization import normalize
from ocr_onnx.threads import run_each
from ocr_onnx.types import Run, Tensor

Result = TypeVar("Result")

Shape = tuple[int, ...]
"""(batch, channel, height, width) in pixels."""

USUAL, LEAST = 960, 32
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

    def batches(self, widths: Sequence[int]) -> list[Batch]:
        """Lines of these widths put together: the narrowest first, so that a GPU begins while the wide ones are prepared."""
        alike: dict[int, list[int]] = {}
        for number, width in enumerate(widths):
            alike.setdefault(_next(width, self.widths), []).append(number)
        found = []
        for width, numbers in sorted(alike.items()):
            for start in range(0, len(numbers), self.sizes[-1]):
                members = tuple(numbers[start : start + self.sizes[-1]])
                found.append(Batch(members, width, _next(len(members), self.sizes)))
        return found

    def run_lines(
        self, task: Callable[[Batch], Sequence[Result]], widths: Sequence[int], threads: int | None
    ) -> list[Result]:
        """Do a task, which answers for each member, on the batches of lines of these widths; answers in the lines' order."""
        batches = self.batches(widths)
        costs = [batch.width for batch in batches] if self.sizes == (1,) else None
        answers = run_each(task, batches, costs=costs, threads=threads)
        of_line: dict[int, Result] = {}
        for batch, each in zip(batches, answers, strict=True):
            of_line.update(zip(batch.members, each, strict=True))
        return [of_line[i] for i in range(len(widths))]

    def on_sides(self, run: Run, metadata: ModelMetadata) -> Run:
        """A detector that is given pages padded with black, right and below, as the reference pads small ones; its maps are cut back."""
        if not self.sides or metadata.input_shape or metadata.static_shape:
            return run
        black = normalize(np.zeros((1, 1, 3), np.uint8), metadata)

        def padded(tensor: Tensor) -> tuple[NDArray[Any], ...]:
            height, width = tensor.shape[2:]
            room = np.empty((1, 3, _next(height, self.sides), _next(width, self.sides)), np.float32)
            room[:] = black
            room[..., :height, :width] = tensor
            return tuple(output[..., :height, :width] for output in run(room))

        return padded

    def inputs(self, metadata: ModelMetadata, largest: int) -> list[Shape]:
        """Every shape that a model is given, smallest first, pages being at most `largest` pixels a side; where they are not few, a usual one."""
        fixed = metadata.static_shape[1:] or metadata.input_shape
        if metadata.task == "text_recognition":
            widths = self.widths or fixed[2:]
            return [(size, *fixed[:2], width) for width in widths for size in self.sizes]
        if metadata.task == "textline_orientation":
            return [(size, *fixed) for size in self.sizes]
        if fixed:
            return [(1, *fixed)]
        if not self.sides or metadata.task == "image_unwarping":
            return [(1, 3, USUAL, USUAL)]
        within = [side for side in self.sides if side <= _next(largest, self.sides)]
        return [(1, 3, *sides) for sides in itertools.product(within, within)]

    def bounds(self, metadata: ModelMetadata, largest: int) -> tuple[Shape, Shape, Shape]:
        """The least, a usual and the largest shape that a model is given, whether they are few or not."""
        each = self.inputs(metadata, largest)
        rows = each[-1][:-1]
        if metadata.task == "text_recognition":
            return (1, *rows[1:], FEW.widths[0]), (*rows, metadata.input_shape[2]), (*rows, FEW.widths[-1])
        if metadata.task == "text_detection" and not metadata.input_shape:
            side = _next(largest, self.sides)
            sides = ((self.sides or (LEAST,))[0], min(USUAL, side), side)
            least, usual, most = ((1, 3, side, side) for side in sides)
            return least, usual, most
        return each[0], each[-1], each[-1]


EACH = Shapes()
"""Those of a processor: several calls of one thread fill its cores better than one of several."""

TOGETHER = Shapes(sizes=(1, 2, 3, 4, 5, 6))
"""Those of a GPU in standard mode: the reference's widths, and its batches of six, whose lines have one width."""

FEW = Shapes(
    # Doubled, so that less than half of a batch is empty; eight lines of the largest width have as many pixels as a page.
    sizes=(1, 2, 4, 8),
    # No more than half as wide again as the one before, from little more than a letter to the largest width of a line.
    widths=(80, 120, 160, 240, 320, 480, 640, 960, 1280, 1920, 2560, 3200),
    # A third more than the one before, in detection's steps of 32; 960, 1280 and 4000 are its usual limits.
    sides=(320, 416, 544, 736, 960, 1280, 1696, 2240, 2976, 4000),
)
"""Those of a GPU in high-performance mode: a new shape makes it search and plan anew, which takes longer than its sums."""


def of(placement: Placement) -> Shapes:
    """The shapes for what models run on."""
    if not placement.on_gpu:
        return EACH
    return FEW if placement.mode == "high-performance" else TOGETHER


def stacked(tensors: Sequence[Tensor], batch: Batch) -> Tensor:
    """Tensors of one line each as one of the batch's shape, 0 where no line is."""
    if batch.size == 1 and tensors[0].shape[3] == batch.width:
        return tensors[0]
    room = np.zeros((batch.size, *tensors[0].shape[1:3], batch.width), np.float32)
    for row, tensor in zip(room, tensors, strict=False):
        row[..., : tensor.shape[3]] = tensor[0]
    return room


def _next(number: int, allowed: Sequence[int]) -> int:
    """The least of `allowed` that is no less than `number`; the number itself where there is none."""
    return next((each for each in allowed if each >= number), number)
