"""Two forms of a model compared on the sample page: real weights, real half precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import DETECTION
from numpy.typing import NDArray

from ocr_onnx.converters.precision import halve
from ocr_onnx.models import store
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime.batching import PADDED_SHAPES
from ocr_onnx.runtime.session import Session
from ocr_onnx.stages.calibration import difference
from ocr_onnx.types import MAX_DIFFERING_SHARE, Difference, Run, Tensor

NAMES = ["PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec", "PP-LCNet_x1_0_textline_ori", "PP-LCNet_x1_0_doc_ori"]


def slow(name: str) -> Any:
    return pytest.param(name, marks=pytest.mark.slow)


def loaded(name: str) -> tuple[Session, ModelMetadata]:
    session = Session(store.find(name), threads=2)
    return session, ModelMetadata.from_properties(session.properties, name)


@pytest.mark.parametrize("name", [*map(slow, NAMES[:2]), *NAMES[2:]])
def test_half_precision_on_real_weights_is_within_the_limit(name: str, tmp_path: Path) -> None:
    session, metadata = loaded(name)
    halve(store.find(name), tmp_path / "half.onnx")
    found = difference(Session(tmp_path / "half.onnx", threads=2), session, metadata)
    assert found.share < MAX_DIFFERING_SHARE
    assert found.decisions >= 16


def test_what_is_compared_is_given_the_shapes_of_the_device() -> None:
    _, metadata = loaded("PP-OCRv5_mobile_rec")
    given: set[tuple[int, ...]] = set()

    def blank(tensor: Tensor) -> tuple[NDArray[Any], ...]:
        given.add(tensor.shape)
        steps = (tensor.shape[0], tensor.shape[3] // 8)
        return np.zeros(steps, np.int64), np.ones(steps, np.float32)

    assert difference(blank, blank, metadata, PADDED_SHAPES, 1280) == Difference(0, 192)
    assert given <= set(PADDED_SHAPES.warm_up_shapes(metadata, 1280))
    assert max(shape[0] for shape in given) == PADDED_SHAPES.sizes[-1]


def test_no_page_is_larger_than_the_limit_of_detection() -> None:
    session, metadata = loaded("PP-OCRv5_mobile_det")
    sides: set[int] = set()

    def noted(tensor: Tensor) -> tuple[Tensor, ...]:
        sides.update(tensor.shape[2:])
        return session(tensor)

    difference(noted, session, metadata, largest=320)
    assert max(sides) == 320
    difference(noted, session, metadata, PADDED_SHAPES, 640)
    assert sides - {320, 240, 256} <= set(PADDED_SHAPES.sides)


def test_pixels_that_neither_takes_for_text_are_no_decisions() -> None:
    def answers(columns: int) -> Run:
        return lambda tensor: ((np.arange(tensor.shape[3]) < columns) * np.ones_like(tensor[:, :1]),)

    found = difference(answers(20), answers(16), DETECTION)
    assert found.share == 4 / 20
    assert difference(answers(0), answers(0), DETECTION).differing == 0
