"""What form a converted graph is given: its opset, and a fixed input size where an accelerator needs one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ocr_onnx.errors import OptionError

OPSETS = range(14, 18)
"""HardSwish came with 14, LayerNormalization with 17, which ONNX Runtime has had since 1.12. From 18 on, paddle2onnx and the steps after it write reductions that the other half cannot read."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a graph is written."""

    opset: int = OPSETS[-1]
    static: tuple[int, ...] = ()
    """(batch, channel, height, width) of the only input it takes; empty: any batch and size that the model can take."""

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise OptionError(f"opset is {self.opset}: it must be from {OPSETS[0]} to {OPSETS[-1]}")
        if self.static and (len(self.static) != 4 or min(self.static) < 1):
            raise OptionError(f"static is {self.static}: it must be batch, channel, height and width, each at least 1")


def parse_size(text: str) -> tuple[int, ...]:
    """Read a fixed size, `1x3x48x320`, or `320x48` (width x height) for a batch of one."""
    if not re.fullmatch(r"\d+x\d+(x\d+x\d+)?", text):
        raise OptionError(f"static is {text!r}: write batch x channel x height x width, as 1x3x48x320, or 320x48")
    sizes = tuple(map(int, text.split("x")))
    return sizes if len(sizes) == 4 else (1, 3, sizes[1], sizes[0])
