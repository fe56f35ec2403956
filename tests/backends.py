"""Modules in place of ONNX Runtime: made of the real one, or of functions."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from ocr_onnx.runtime import session


def inject(monkeypatch: pytest.MonkeyPatch, names: dict[str, Any]) -> ModuleType:
    """Have sessions made with a module of these names, until the test ends."""
    module = ModuleType("onnxruntime")
    vars(module).update(names)
    monkeypatch.setattr(session.Backend, "module", module)
    return module


def change(monkeypatch: pytest.MonkeyPatch, **names: Any) -> ModuleType:
    """Have sessions made with ONNX Runtime, but for these names."""
    return inject(monkeypatch, vars(session.onnxruntime()) | names)


def hide(folder: Path, *packages: str) -> dict[str, str]:
    """An environment in which these packages are not installed, for a process; takes a folder for what says so."""
    for package in packages:
        error = f"ModuleNotFoundError({f'No module named {package!r}'!r}, name={package!r})"
        (folder / f"{package}.py").write_text(f"raise {error}\n")
    return {"PYTHONPATH": str(folder)}
