"""Options of a converted graph: opset, and a fixed input size for accelerators that need one."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ocr_onnx.errors import OptionError

OPSETS = range(14, 18)
"""Supported opsets. HardSwish needs 14, LayerNormalization 17 (ONNX Runtime 1.12). In 18 the reductions changed, and paddle2onnx and the passes write different forms of them."""


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Opset and input size of a converted graph."""

    opset: int = OPSETS[-1]
    static: tuple[int, ...] = ()
    """(batch, channel, height, width) of the only accepted input; empty: dynamic batch and size."""

    def __post_init__(self) -> None:
        if self.opset not in OPSETS:
            raise OptionError(f"opset is {self.opset}: it must be from {OPSETS[0]} to {OPSETS[-1]}")
        if self.static and (len(self.static) != 4 or min(self.static) < 1):
            raise OptionError(f"static is {self.static}: it must be batch, channel, height and width, each at least 1")


def parse_size(text: str) -> tuple[int, ...]:
    """Parse a fixed size: `1x3x48x320`, or `320x48` (width x height) for a batch of one. Raises OptionError."""
    if not re.fullmatch(r"\d+x\d+(x\d+x\d+)?", text):
        raise OptionError(f"static is {text!r}: write batch x channel x height x width, as 1x3x48x320, or 320x48")
    sizes = tuple(map(int, text.split("x")))
    return sizes if len(sizes) == 4 else (1, 3, sizes[1], sizes[0])
