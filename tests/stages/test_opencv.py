"""Geometry is the same with every version of OpenCV: opencv_4_10.npz is what OpenCV 4.10 computed (record_opencv.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ocr_onnx.stages import geometry, resizing, warp
from ocr_onnx.stages.polygons import fill_polygon, simplify
from ocr_onnx.stages.rectangles import smallest_rectangles

Recorded = dict[str, NDArray[np.float64]]


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    with np.load(Path(__file__).with_name("opencv_4_10.npz")) as file:
        return dict(file)


def parts(joined: NDArray[np.generic], sizes: NDArray[np.generic]) -> list[NDArray[np.int32]]:
    return [np.asarray(part, np.int32) for part in np.split(joined, np.cumsum(sizes)[:-1])]


def outlines(recorded: Recorded) -> list[NDArray[np.int32]]:
    return parts(recorded["outlines"], recorded["outline_sizes"])


def images(recorded: Recorded, name: str) -> list[NDArray[np.uint8]]:
    sizes = recorded[f"{name}_sizes"]
    pixels = parts(recorded[name], sizes.prod(axis=1) * 3)
    return [part.astype(np.uint8).reshape(*size, 3) for size, part in zip(sizes, pixels, strict=True)]


def test_rectangles_are_those_of_opencv_4_10(recorded: Recorded) -> None:
    corners, sides = smallest_rectangles(outlines(recorded))
    np.testing.assert_array_equal(corners, recorded["rectangles"])
    np.testing.assert_array_equal(sides, recorded["sides"])


def test_a_rectangle_does_not_depend_on_the_outlines_beside_it(recorded: Recorded) -> None:
    for outline, corners, side in zip(outlines(recorded), recorded["rectangles"], recorded["sides"], strict=True):
        alone, alone_side = geometry.rectangle(outline)
        np.testing.assert_array_equal(alone, corners)
        assert alone_side == side


def test_no_outlines_have_no_rectangles() -> None:
    corners, sides = smallest_rectangles([])
    assert corners.shape == (0, 4, 2)
    assert sides.shape == (0,)


def test_filled_polygons_are_those_of_opencv_4_10(recorded: Recorded) -> None:
    sizes = recorded["mask_sizes"]
    masks = parts(
        np.unpackbits(recorded["masks"].astype(np.uint8), count=int(sizes.prod(axis=1).sum())), sizes.prod(axis=1)
    )
    polygons = parts(recorded["polygons"], recorded["polygon_sizes"])
    for polygon, size, expected in zip(polygons, sizes, masks, strict=True):
        mask = np.zeros(size, np.uint8)
        fill_polygon(mask, polygon)
        np.testing.assert_array_equal(mask, expected.reshape(mask.shape))


def test_simplified_outlines_are_those_of_opencv_4_10(recorded: Recorded) -> None:
    simple = parts(recorded["simple"], recorded["simple_sizes"])
    for outline, tolerance, expected in zip(outlines(recorded), recorded["tolerances"], simple, strict=True):
        np.testing.assert_array_equal(simplify(outline, tolerance), expected)


@pytest.mark.parametrize("rounds", [warp.OPENCV_ROUNDS, False], ids=["this-version", "own-arithmetic"])
def test_crops_are_those_of_opencv_4_10(recorded: Recorded, rounds: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warp, "OPENCV_ROUNDS", rounds)
    warp.rounded_weights.cache_clear()
    image = recorded["image"].astype(np.uint8)
    for quad, expected in zip(recorded["quads"], images(recorded, "crop"), strict=True):
        np.testing.assert_array_equal(geometry.crop(image, np.asarray(quad, np.int32)), expected)


@pytest.mark.parametrize("consistent", [resizing.opencv_is_consistent(), False], ids=["this-build", "own-way"])
def test_resized_images_are_those_of_opencv_4_10_on_x86_64(
    recorded: Recorded, consistent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resizing, "opencv_is_consistent", lambda: consistent)
    image = recorded["image"].astype(np.uint8)
    for expected in images(recorded, "resized"):
        height, width = expected.shape[:2]
        np.testing.assert_array_equal(resizing.resize(image, (width, height)), expected)


def test_a_line_longer_than_a_block_of_opencv_is_warped_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Places are exact multiples here, so that any error of a block's start would move pixels."""
    monkeypatch.setattr(warp, "OPENCV_ROUNDS", False)
    image = np.random.default_rng(0).integers(0, 256, (20, 3000, 3), np.uint8)
    shift = np.array([[1, 0, -3.0], [0, 1, -2.0], [0, 0, 1]])
    np.testing.assert_array_equal(warp.warp_perspective(image, shift, (2990, 17)), image[2:19, 3:2993])


def test_the_warp_of_any_version_of_opencv_is_the_same_to_rounding_also_outside_of_the_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows, columns = np.mgrid[0:40, 0:60]
    image = np.stack([4 * columns, 6 * rows, 2 * (rows + columns)], axis=2).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    tilt = np.array([[1.1, 0.2, 5.0], [-0.1, 0.9, 4.0], [0.001, 0.0005, 1.0]])
    # Places that are not rounded: noise shows how pixels are weighted.
    shift = np.array([[1, 0, 5.5], [0, 1, 4.25], [0, 0, 1.0]])
    for original, matrix in ((image, tilt), (noise, shift)):
        warped = []
        for rounds in (True, False):
            monkeypatch.setattr(warp, "OPENCV_ROUNDS", rounds)
            warped.append(warp.warp_perspective(original, matrix, (70, 50)).astype(int))
        assert [each.shape for each in warped] == [(50, 70, 3)] * 2
        assert np.abs(warped[0] - warped[1]).max() <= 1


def test_only_pixels_near_a_half_are_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    again = []

    def einsum(subscripts: str, *operands: NDArray[np.float32]) -> NDArray[np.float32]:
        again.append(len(operands[0]))
        return np.asarray(sum_of_products(subscripts, *operands), np.float32)

    sum_of_products = np.einsum
    monkeypatch.setattr(np, "einsum", einsum)
    monkeypatch.setattr(warp, "OPENCV_ROUNDS", False)
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    shift = np.array([[1, 0, 5 + 15 / 32], [0, 1, 4 + 13 / 32], [0, 0, 1.0]])
    warped = warp.warp_perspective(image, shift, (70, 50))
    assert 0 < sum(again) < warped.size / 20


def test_only_the_pixels_around_the_places_are_read() -> None:
    """The pixel before a place, its own, and two after it; the border is repeated outside of the image."""
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    place = np.array([[[5 * warp.STEPS + 7]], [[4 * warp.STEPS + 9]]], np.int32)
    np.testing.assert_array_equal(warp._surroundings(image, place), image[3:7, 4:8])
    assert place.ravel().tolist() == [warp.STEPS + 7, warp.STEPS + 9]
    outside = np.array([[[-9 * warp.STEPS]], [[99 * warp.STEPS]]], np.int32)
    np.testing.assert_array_equal(warp._surroundings(image, outside), np.broadcast_to(image[19, 0], (4, 4, 3)))


def test_weights_of_a_place_add_up_to_one() -> None:
    weights, uncertainty = warp.rounded_weights.__wrapped__()
    assert (weights.sum(axis=1) == warp.WEIGHT_ONE).all()
    assert uncertainty.max() < 0.04
