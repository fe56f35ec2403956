"""Pages made flat: what UVDoc is given, and what is made of its answer."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from conftest import UNWARPING

from ocr_onnx.errors import NotEnoughMemoryError
from ocr_onnx.runtime import memory
from ocr_onnx.stages.unwarping import TextImageUnwarper
from ocr_onnx.types import Tensor


def test_the_network_is_given_the_whole_picture_as_it_is() -> None:
    seen: list[Tensor] = []

    def keep(batch: Tensor) -> tuple[Tensor]:
        seen.append(batch)
        return (batch,)

    image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)
    flat = TextImageUnwarper(keep, UNWARPING)(image)
    np.testing.assert_allclose(seen[0], image.transpose(2, 0, 1)[np.newaxis] / 255, atol=1e-6)
    assert np.abs(flat.astype(int) - image).max() <= 1


def test_levels_are_cut_and_stay_in_range() -> None:
    answer = np.array([-0.1, 0.999, 1.1], np.float32).reshape(1, 3, 1, 1)
    flat = TextImageUnwarper(lambda _: (answer,), UNWARPING)(np.zeros((1, 1, 3), np.uint8))
    assert flat.tolist() == [[[0, 254, 255]]]


def test_a_page_that_would_pass_the_limit_of_memory_is_refused_before_the_model_is_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(_: Tensor) -> tuple[Tensor]:
        raise AssertionError("the model was run")

    monkeypatch.setattr(memory, "remaining", lambda: 100 * 2**20)
    with pytest.raises(NotEnoughMemoryError, match="unwarping at 2000 x 3000 would take about"):
        TextImageUnwarper(run, UNWARPING)(np.zeros((3000, 2000, 3), np.uint8))


def test_levels_are_made_a_channel_at_a_time() -> None:
    answer = np.zeros((1, 3, 1000, 1000), np.float32)
    unwarp = TextImageUnwarper(lambda _: (answer,), UNWARPING)
    image = np.zeros((1000, 1000, 3), np.uint8)
    tracemalloc.start()
    unwarp(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 * image.shape[0] * image.shape[1]
