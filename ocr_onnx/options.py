"""What every record of options checks alike."""

from __future__ import annotations

import math

from ocr_onnx.errors import OptionError

COLORS = 3
AXES = 3
"""Channel, height, width."""


def check_number(name: str, value: object, low: float, high: float = math.inf, *, whole: bool = False) -> None:
    """Raise OptionError unless `value` is a finite number (a whole one, if so asked) from `low` to `high`."""
    kind = int if whole else int | float
    if isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value) and low <= value <= high:
        return
    what = "a whole number" if whole else "a number"
    limits = f"from {low} to {high}" if math.isfinite(high) else f"of at least {low}"
    raise OptionError(f"{name} is {value!r}: it must be {what} {limits}")


def check_shape(name: str, value: object) -> None:
    """Raise OptionError unless `value` is the shape of a tensor of three colors: (3, height, width)."""
    if isinstance(value, tuple | list) and len(value) == AXES and value[0] == COLORS:
        for side in value[1:]:
            check_number(name, side, 1, whole=True)
        return
    raise OptionError(f"{name} is {value!r}: it must be (3, height, width)")
