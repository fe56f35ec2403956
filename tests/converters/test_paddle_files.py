"""Paddle's files from a stranger: sizes and numbers in them are checked before anything is allocated or converted."""

from __future__ import annotations

import struct
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies

from ocr_onnx.converters import paddle, paddle_params
from ocr_onnx.converters.paddle import PaddleModel, in_single_precision
from ocr_onnx.converters.paddle_params import check_weights
from ocr_onnx.errors import ConversionError

SHAPE = b"\x08\x05\x10\x02\x10\x03"
"""The description of 2 x 3 floats."""


def tensor(length: int = len(SHAPE), shape: bytes = SHAPE) -> bytes:
    return struct.pack("<IQIi", 0, 0, 0, length) + shape + bytes(24)


@pytest.mark.parametrize("length", [-1, -20, -(2**31), 2**31 - 1, 0, 5, 7])
def test_a_length_that_is_not_that_of_the_description_is_an_error(tmp_path: Path, length: int) -> None:
    (tmp_path / "a.pdiparams").write_bytes(tensor(length) * 2)
    with pytest.raises(ConversionError, match=r"a\.pdiparams is damaged or truncated: download it again"):
        check_weights(tmp_path / "a.pdiparams")


@pytest.mark.parametrize("size", [b"\xff" * 9 + b"\x01", b"\xff" * 20, b"\xff\xff\xff\xff\x07"])
def test_a_tensor_larger_than_its_file_is_an_error(tmp_path: Path, size: bytes) -> None:
    shape = b"\x08\x05" + (b"\x10" + size) * 2
    (tmp_path / "a.pdiparams").write_bytes(tensor(len(shape), shape))
    with pytest.raises(ConversionError, match="damaged or truncated"):
        check_weights(tmp_path / "a.pdiparams")


def test_a_file_of_too_many_tensors_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pdiparams").write_bytes(tensor() * 3)
    check_weights(tmp_path / "a.pdiparams")
    monkeypatch.setattr(paddle_params, "MAX_TENSORS", 2)
    with pytest.raises(ConversionError, match="damaged or truncated"):
        check_weights(tmp_path / "a.pdiparams")


@hypothesis.given(strategies.binary(max_size=200))
def test_any_bytes_are_weights_or_an_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.pdiparams"
    path.write_bytes(content)
    with pytest.raises(ConversionError):
        check_weights(path)


@pytest.mark.parametrize("name", ["inference.json", "inference.pdiparams", "inference.yml"])
def test_a_file_that_is_too_large_is_refused_with_its_size(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for each in ("inference.json", "inference.pdiparams", "inference.yml"):
        (tmp_path / each).write_bytes(b"{}" if each != name else bytes(100))
    monkeypatch.setattr(paddle, "MAX_GRAPH", 99)
    monkeypatch.setattr(paddle, "MAX_BYTES", 99)
    with pytest.raises(ConversionError, match=rf"{name} has 100 bytes, more than 99"):
        PaddleModel.at(tmp_path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000])
def test_a_graph_that_is_no_json_is_an_error(text: str) -> None:
    with pytest.raises(ConversionError, match=r"inference\.json is damaged"):
        in_single_precision(text)
