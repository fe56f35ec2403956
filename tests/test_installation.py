"""The `pip install` commands that messages name, for each kind of installation."""

from __future__ import annotations

import importlib.metadata
import json
from types import SimpleNamespace
from typing import Any

import pytest

from ocr_onnx.installation import requirement


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        (None, "'ocr-onnx[serve,cpu]'"),
        ({"url": "file:///tmp/a%20b/ocr_onnx-1-py3-none-any.whl"}, "'/tmp/a b/ocr_onnx-1-py3-none-any.whl[serve,cpu]'"),
        ({"url": "file:///src/ocr-onnx", "dir_info": {}}, "'/src/ocr-onnx[serve,cpu]'"),
        ({"url": "file:///src/ocr-onnx", "dir_info": {"editable": True}}, "-e '/src/ocr-onnx[serve,cpu]'"),
        ({"url": "https://host/x.whl"}, "'ocr-onnx[serve,cpu] @ https://host/x.whl'"),
        ({"url": "https://host/x", "vcs_info": {"vcs": "git"}}, "'ocr-onnx[serve,cpu] @ git+https://host/x'"),
    ],
    ids=["index", "wheel", "folder", "checkout", "address", "repository"],
)
def test_the_command_fits_the_installation(
    origin: dict[str, Any] | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = None if origin is None else json.dumps(origin)
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: SimpleNamespace(read_text=lambda _: content))
    assert requirement("serve,cpu") == expected


def test_a_package_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: str) -> None:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    assert requirement("cpu") == "'ocr-onnx[cpu]'"
