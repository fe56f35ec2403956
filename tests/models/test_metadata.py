"""The record in a model file can come from a stranger: each field is checked before it is used."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import LINE, PAGE, RECOGNITION

from ocr_onnx.errors import ModelError
from ocr_onnx.models.metadata import MAX_SIDE, PROPERTY, ModelMetadata

HOSTILE: dict[str, tuple[Any, ...]] = {
    "name": ("../../home/user/.ssh/id", "", "a/b", "-o", "a\nb", 7, None),
    "channels": ("GBR", None, []),
    "scale": ("1", None, True, float("nan"), float("inf"), [1]),
    "mean": ([], [0.5], [0.5] * 4, ["a"] * 3, [float("nan")] * 3, 0.5, {"0": 1}),
    "std": ([0.5, 0, 0.5], [1e999] * 3),
    "input_shape": (
        [],
        [3, 48],
        [3, 48, 0],
        [3, 48, MAX_SIDE + 1],
        [1, 48, 320],
        [3, 48.0, 320],
        [True, 48, 320],
        "348",
    ),
    "static_shape": ([3, 48, 320], [10**10, 3, 48, 320], [1, 3, 48, "w"]),
    "resize_short": (-1, MAX_SIDE + 1, 2.5, "256", None, True),
    "precision": ("int8", 16),
    "keep_ratio": (1, "yes", None),
    "charset": ("abc", [1, 2], [["a"]], ["a" * 1000], {"a": 1}, None),
    "labels": ("0", [0, 90], [None], ["0"] * 5000),
    "postprocess": ([], {"thresh": [0.3]}, {"thresh": float("nan")}, {"thresh": {}}, None),
    "source": ({"a": 1}, ["a"], "a"),
    "converter": ({"a": None}, {"a": "b" * 10_000}),
}
"""Values that a field cannot have."""


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in HOSTILE.items() for value in values])
def test_a_field_that_cannot_be_used_is_named(name: str, value: object) -> None:
    record = json.loads(RECOGNITION.to_json()) | {name: value}
    with pytest.raises(ModelError, match=name) as raised:
        ModelMetadata.from_properties({PROPERTY: json.dumps(record)}, "bad.onnx")
    assert str(raised.value).startswith("bad.onnx has in")
    assert "convert it again" in str(raised.value)
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]x",
        "[" * 100_000,
        '{"a":' * 100_000,
        f'{{"scale": {"9" * 5000}}}',
        "7",
        "[1]",
        "null",
        '"ab"',
        "\x00",
        "{}",
    ],
    ids=lambda text: f"{text[:8]!r}",
)
def test_a_record_that_is_no_json_of_a_record_is_an_error_of_the_file(text: str) -> None:
    with pytest.raises(
        ModelError, match=r"^bad\.onnx has (damaged|incomplete) ocr-onnx metadata .*: convert it again$"
    ):
        ModelMetadata.from_properties({PROPERTY: text}, "bad.onnx")


@pytest.mark.parametrize("metadata", [RECOGNITION, PAGE, LINE])
def test_records_of_converted_models_are_read(metadata: ModelMetadata) -> None:
    assert ModelMetadata.from_properties({PROPERTY: metadata.to_json()}, "x") == metadata
