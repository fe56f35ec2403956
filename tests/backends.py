"""Modules in place of ONNX Runtime: made of the real one, or of functions."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ocr_onnx.runtime import backend


def inject(monkeypatch: pytest.MonkeyPatch, names: dict[str, Any]) -> ModuleType:
    """Have sessions made with a module of these names, until the test ends."""
    module = ModuleType("onnxruntime")
    vars(module).update(names)
    monkeypatch.setattr(backend.Backend, "module", module)
    return module


def change(monkeypatch: pytest.MonkeyPatch, **names: Any) -> ModuleType:
    """Have sessions made with ONNX Runtime, but for these names."""
    return inject(monkeypatch, vars(backend.onnxruntime()) | names)


def hide(folder: Path, *packages: str) -> dict[str, str]:
    """An environment in which these packages are not installed, for a process; takes a folder for what says so."""
    for package in packages:
        error = f"ModuleNotFoundError({f'No module named {package!r}'!r}, name={package!r})"
        (folder / f"{package}.py").write_text(f"raise {error}\n")
    return {"PYTHONPATH": str(folder)}


class DeviceTensor:
    """An OrtValue as on a GPU: it shares no memory with arrays."""

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array.copy()

    @classmethod
    def ortvalue_from_numpy(cls, array: NDArray[Any], device: str, number: int) -> DeviceTensor:
        assert device == "cuda"
        assert number >= 0
        return cls(array)

    def shape(self) -> list[int]:
        return list(self._array.shape)

    def update_inplace(self, array: NDArray[Any]) -> None:
        assert array.flags.c_contiguous
        assert (array.shape, array.dtype) == (self._array.shape, self._array.dtype)
        self._array[...] = array

    def numpy(self) -> NDArray[Any]:
        return self._array.copy()


class Binding:
    """An IO binding of such tensors."""

    def __init__(self) -> None:
        self.inputs: dict[str, DeviceTensor] = {}
        self.outputs: dict[str, DeviceTensor] = {}

    def bind_ortvalue_input(self, name: str, value: DeviceTensor) -> None:
        self.inputs[name] = value

    def bind_ortvalue_output(self, name: str, value: DeviceTensor) -> None:
        self.outputs[name] = value


class RunsOnDevice:
    """Gives a class of sessions runs on such tensors."""

    def io_binding(self) -> Binding:
        return Binding()

    def run_with_iobinding(self, binding: Binding, options: Any = None) -> None:
        given = {name: value.numpy() for name, value in binding.inputs.items()}
        session: Any = self
        answers = session.run(list(binding.outputs), given, options)
        for value, answer in zip(binding.outputs.values(), answers, strict=True):
            value.update_inplace(np.ascontiguousarray(answer))
