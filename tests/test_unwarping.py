"""Pages made flat: what UVDoc is given, and what is made of its answer."""

from __future__ import annotations

import numpy as np
from conftest import UNWARPING

from ocr_onnx.types import Tensor
from ocr_onnx.unwarping import TextImageUnwarper


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
