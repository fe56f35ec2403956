"""Record what OpenCV 4.10 computes: tests/stages/opencv_4_10.npz. `make golden-opencv` runs it with that version."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.int32]

FILE = Path(__file__).with_name("opencv_4_10.npz")

BETWEEN_STEPS = (
    ((-15, -1), (101, 32), (93, 61), (-23, 28)),
    ((9, 11), (96, 33), (87, 65), (0, 43)),
    ((13, -7), (88, 44), (83, 51), (8, 0)),
    ((-20, -5), (90, 19), (84, 45), (-26, 21)),
)
"""Boxes with a pixel whose place is so near to the middle between two steps that blocks and the order of sums decide its step."""

SIZES = [(40, 30), (67, 48), (33, 25), (79, 20), (100, 31)]
"""Half of the image, less and more than half, and larger on one side: (width, height)."""


def rotated(points: NDArray[np.float64], angle: float) -> NDArray[np.float64]:
    return np.asarray(points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]), np.float64)


def outline(random: np.random.Generator, kind: int) -> Points:
    """A contour of a noisy region, a rounded rectangle, a box, or any points; sometimes upright."""
    angle = random.choice([0.0, random.normal(0, 0.03), random.uniform(-np.pi, np.pi)])
    width, height = random.integers(1, 300), random.integers(1, 50)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]])
    if kind == 0:
        mask = np.zeros((120, 400), np.uint8)
        points = np.asarray(np.rint(rotated(corners / 2, angle) + [200, 60]), np.int32)
        cv2.fillConvexPoly(mask, points, [1])
        noise = cv2.GaussianBlur(random.random(mask.shape, np.float32), (0, 0), 2)
        contours, _ = cv2.findContours(np.asarray(noise + mask > 0.9, np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
        return np.asarray(max(contours, key=len, default=points[:, np.newaxis]), np.int32)[:, 0]
    if kind == 1:
        turns = np.append(random.uniform(0, 2 * np.pi, random.integers(4, 40)), np.arange(4) * np.pi / 2)
        circle = random.integers(1, 20) * np.stack([np.cos(turns), np.sin(turns)], axis=1)
        place = rotated(corners[random.integers(0, 4, len(turns))] + circle, angle)
    elif kind == 2:
        place = rotated(corners + random.normal(0, 0.7, (4, 2)), angle)
    else:
        place = random.integers(0, [width + 1, height + 1], (random.integers(1, 30), 2)).astype(np.float64)
    return np.asarray(np.rint(place + random.integers(0, 500, 2)), np.int32)


def rectangle(points: Points) -> tuple[NDArray[np.float32], float]:
    """PaddleX's get_mini_boxes, step by step."""
    bounding = cv2.minAreaRect(points)
    found = sorted(cv2.boxPoints(bounding), key=lambda p: p[0])
    one, four = (0, 1) if found[1][1] > found[0][1] else (1, 0)
    two, three = (2, 3) if found[3][1] > found[2][1] else (3, 2)
    return np.array([found[one], found[two], found[three], found[four]], np.float32), min(bounding[1])


def filled(points: Points, size: tuple[int, int]) -> NDArray[np.uint8]:
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [points], [1])
    return mask


def crop(image: NDArray[np.uint8], quad: Points) -> NDArray[np.uint8]:
    """PaddleX's get_rotate_crop_image, step by step."""
    corners, _ = rectangle(quad)
    width = int(max(np.linalg.norm(corners[0] - corners[1]), np.linalg.norm(corners[2] - corners[3])))
    height = int(max(np.linalg.norm(corners[0] - corners[3]), np.linalg.norm(corners[1] - corners[2])))
    if not width or not height:
        return np.zeros((height, width, 3), np.uint8)
    upright = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    matrix = cv2.getPerspectiveTransform(corners, upright)
    cut = cv2.warpPerspective(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(np.rot90(cut) if height / width >= 1.5 else cut, np.uint8)


def joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return np.concatenate([array.ravel() for array in arrays])


def main() -> None:
    if not cv2.__version__.startswith("4.10."):
        raise SystemExit(f"OpenCV 4.10 is required, and this is {cv2.__version__}: make golden-opencv")
    random = np.random.default_rng(0)
    outlines = [outline(random, number % 4) for number in range(800)]
    rectangles, sides = zip(*map(rectangle, outlines), strict=True)
    polygons = [random.integers(-3, [28, 18], (random.choice([3, 4, 4, 4, 9]), 2), np.int32) for _ in range(400)]
    polygons += [np.asarray(p - p.min(axis=0), np.int32) for p in outlines[2::4] if np.ptp(p, axis=0).max() < 90]
    sizes = [tuple(random.integers(1, 25, 2)) if p.min() < 0 else tuple((p.max(axis=0) + 1)[::-1]) for p in polygons]
    masks = [filled(points, size) for points, size in zip(polygons, sizes, strict=True)]
    tolerances = random.choice([0.5, 1.0, 3.0, 10.0], len(outlines))
    simple = [cv2.approxPolyDP(o, t, closed=True) for o, t in zip(outlines, tolerances, strict=True)]
    image = random.integers(0, 256, (60, 80, 3), np.uint8)
    centers = random.integers(-10, [90, 70], (150, 1, 2))
    quads = [
        np.asarray(np.rint(rotated(np.array([[-a, -b], [a, -b], [a, b], [-a, b]]), t) + c), np.int32)
        for c, a, b, t in zip(
            centers, random.uniform(1, 20, 150), random.uniform(1, 6, 150), random.normal(0, 1, 150), strict=True
        )
    ]
    quads += [np.array(quad, np.int32) for quad in BETWEEN_STEPS]
    crops = [crop(image, quad) for quad in quads]
    resized = [np.asarray(cv2.resize(image, size), np.uint8) for size in SIZES]
    np.savez_compressed(
        FILE,
        outlines=joined(outlines).reshape(-1, 2).astype(np.int16),
        outline_sizes=[len(points) for points in outlines],
        rectangles=np.array(rectangles),
        sides=np.array(sides, np.float32),
        polygons=joined(polygons).reshape(-1, 2).astype(np.int16),
        polygon_sizes=[len(points) for points in polygons],
        mask_sizes=np.array(sizes),
        masks=np.packbits(joined(masks)),
        tolerances=tolerances,
        simple=joined(simple).reshape(-1, 2).astype(np.int16),
        simple_sizes=[len(points) for points in simple],
        image=image,
        quads=np.array(quads),
        crop=joined(crops),
        crop_sizes=np.array([found.shape[:2] for found in crops]),
        resized=joined(resized),
        resized_sizes=np.array([found.shape[:2] for found in resized]),
    )


if __name__ == "__main__":
    main()
