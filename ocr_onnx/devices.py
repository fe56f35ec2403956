"""Where models run, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ocr_onnx.errors import OptionError


@dataclass(frozen=True, slots=True)
class Device:
    """Where models run."""

    kind: str
    """cpu or gpu."""
    index: int = 0
    """Which GPU."""

    @classmethod
    def parse(cls, text: str) -> Device:
        """Read `cpu`, `gpu` or `gpu:1`."""
        kind, colon, index = str(text).partition(":")
        if (kind == "cpu" and not colon) or (kind == "gpu" and (not colon or index.isdecimal())):
            return cls(kind, int(index or 0))
        raise OptionError(f"device is {text!r}: it must be 'cpu', 'gpu' or 'gpu:N'")

    def providers(self) -> list[tuple[str, dict[str, Any]]]:
        """ONNX Runtime's execution providers for this device, first choice first, each with its options."""
        cpu: list[tuple[str, dict[str, Any]]] = [("CPUExecutionProvider", {})]
        return cpu if self.kind == "cpu" else [("CUDAExecutionProvider", {"device_id": self.index}), *cpu]


CPU = Device("cpu")
