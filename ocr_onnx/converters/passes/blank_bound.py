"""Prove steps to be CTC's blank without computing the logits of all classes. On CPUs only.

Pattern: MatMul of features [batch, step, feature] with the weights of many classes, Softmax, maximum: the end of a recognizer
(argmax_head). Most steps of a line are blank, and PP-OCRv5's 18,385 classes take a sixth of recognition's time.

Replacement: an upper bound of all other logits against the blank's; the old nodes run only for the steps that the bound leaves open
(NonZero, GatherND, ScatterND). A proved step has the index 0 and the probability 0, which CTC decoding does not read.

Why equal: with features x of a step and class weights w (the bias is one more row, of a feature that is 1), a step is blank if
(w_blank - w_j) x > 0 for each other class j. The bound holds for all of them:

- The logits of EXACT classes, which are often high or are outliers, are computed.
- All others lie in an ellipsoid { c + A u : |u| <= 1 }, so w_j x <= c x + |A' x|.
- For some directions d with |A' d| = 1 their exact bound at d is known, and it is linear along d. For x = a d + r with a >= 0
  follows w_j x <= a bound(d) + c r + |A' r|, which is much lower for x near d.

The ellipsoid minimizes the mean |A' x|^2 over blank steps, by multiplicative updates of the points' weights as for the
minimum-volume ellipsoid (Titterington, 1978; Todd, Minimum-Volume Ellipsoids, 2016). The lines of the sample page decide how often
the bound suffices, not whether it is right: `check_proof` checks the constants against every class.

Gain: 7.6 % of the processor time of whole pages (6.5 to 10.1 % in 5 rounds). Measured by: make bench-passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ocr_onnx.converters.passes.argmax_head import NEVER
from ocr_onnx.converters.replacements import Replacement, renamed
from ocr_onnx.errors import ConversionError
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime.model_file import model_for_device
from ocr_onnx.runtime.session import Session
from ocr_onnx.runtime.threads import cpu_count
from ocr_onnx.stages import recognition
from ocr_onnx.stages.sample_page import sample_page, split_lines, variants

Matrix = NDArray[np.float64]

OUTPUTS = ["index", "probability"]
"""Outputs of a graph with argmax_head; on a CPU the probability of a proved step is 0."""

PROOF = "blank/"
"""Prefix of the tensors that this pass adds."""

EXACT, DIRECTIONS = 768, 64
"""Number of classes that are computed, and of directions along which the bound of the others is exact."""

HIGH = 98
"""The percentile of a class's logits over blank steps by which classes are chosen for EXACT."""

SAMPLE = 2000
"""Blank steps that the ellipsoid is fitted to; more improve nothing."""

ROUGH, FINE = 5, 20
"""Rounds of updates for the first ellipsoid, which finds the outliers, and for the second."""

ROUNDS = 15
"""Rounds of k-means for the directions."""

SLACK = 0.1
"""Least difference of logits for a proof: ten times the rounding error in float32."""

MARGIN = 1.001
"""Factor by which the ellipsoid is enlarged, because its constants are rounded to float32."""

WIDER = 1 + 1e-4
"""Factor on |A' x|^2, for rounding and for directions whose length is not exactly 1."""

ENOUGH = 0.5
"""Least share of the sample's blank steps to be proved; with fewer the bound costs more time than it saves."""


@dataclass(frozen=True, slots=True)
class Classifier:
    """The MatMul of a graph that computes the logits."""

    features: str
    """(batch, step, feature)."""
    node: int
    """Index of the node; all nodes after it are the end of the graph."""
    weights: NDArray[np.float32]
    """(feature, class), the blank first, without the classes that only pad."""


def find_classifier(model: onnx.ModelProto) -> Classifier | None:
    """Return the MatMul that argmax_head made; None if the graph has none."""
    graph = model.graph
    number = next(
        (i for i, n in enumerate(graph.node) if n.op_type == "MatMul" and n.input[0].endswith("/with_one")), 0
    )
    node = graph.node[number]
    weights = {tensor.name: tensor for tensor in graph.initializer}
    if not number or [output.name for output in graph.output] != OUTPUTS:
        return None
    table = numpy_helper.to_array(weights[node.input[1]])
    return Classifier(node.input[0], number, table[:, table[-1] > NEVER])


def sample_blank_features(model: onnx.ModelProto, table: Classifier, metadata: ModelMetadata, scratch: Path) -> Matrix:
    """Return the features (step, feature) of blank steps, on whole and cropped lines of the sample page, in several variations."""
    telling = onnx.ModelProto()
    telling.CopyFrom(model)
    telling.graph.output.append(helper.make_tensor_value_info(table.features, TensorProto.FLOAT, None))
    path = scratch / "features.onnx"
    onnx.save(telling, path)
    run = Session(path, threads=cpu_count())
    found = []
    for line in split_lines(sample_page()):
        for image in (line, line[:, : max(line.shape[1] // 4, line.shape[0])]):
            for look in variants(image):
                width = recognition.padded_widths([look], 1, metadata.input_shape)[0]
                index, _, features = run(recognition.preprocess(look, width, metadata.input_shape))
                found.append(features[index == recognition.BLANK])
    every = np.concatenate(found).astype(np.float64)
    return every[:: -(-len(every) // SAMPLE) or 1]


def prove_blank_steps(model: onnx.ModelProto, table: Classifier, features: Matrix) -> list[Replacement]:
    """Return the replacement of the graph's end for CPUs; [] if too few steps can be proved.

    `features` are those of blank steps, (step, feature).
    """
    if len(features) < DIRECTIONS:
        return []
    matrix, gains = _proof(table.weights, features)
    sizes = np.array([len(matrix), 1, DIRECTIONS, matrix.shape[1] - len(matrix) - 1 - DIRECTIONS], np.int64)
    if _share_proved(features, matrix, gains, sizes) < ENOUGH:
        return []
    constants: dict[str, NDArray[Any]] = {
        "blank/matrix": matrix,
        "blank/gains": gains,
        "blank/sizes": sizes,
        "blank/wider": np.array(WIDER, np.float32),
        "blank/slack": np.array(SLACK, np.float32),
        "blank/first": np.array([0], np.int64),
        "blank/last": np.array([-1], np.int64),
    }
    end = model.graph.node[table.node :]
    nodes = [*_select_unproved(table.features), *_classify_unproved(end), *_scatter_results()]
    return [Replacement(table.node, len(model.graph.node), nodes, constants)]


def check_proof(model: bytes) -> int:
    """Check the constants of a model file against every class; return the number of classes that it need not compute.

    0 if the file has no such replacement. Raises ConversionError if the bound is wrong for a class.
    """
    whole, cpu = (onnx.load_from_string(model_for_device(model, on_cpu=on_cpu)) for on_cpu in (False, True))
    held = {t.name: numpy_helper.to_array(t) for t in cpu.graph.initializer if t.name.startswith(PROOF)}
    if not held:
        return 0
    table = find_classifier(whole)
    if table is None:
        raise ConversionError("the file has a bound for blank steps, and no MatMul with class weights")
    matrix = held["blank/matrix"].astype(np.float64)
    shape, toward, along, exact = np.split(matrix, np.cumsum(held["blank/sizes"])[:-1], axis=1)
    blank, *others = table.weights.astype(np.float64).T
    computed = {column.astype(np.float32).tobytes() for column in exact.T}
    rest = np.array([row for row in others if (blank - row).astype(np.float32).tobytes() not in computed])
    center, units = blank - toward[:, 0], np.linalg.solve(shape, along).T
    far = _distances(rest, center, shape).max()
    over = (held["blank/gains"] - _exact_bounds(rest, center, shape, units)).max()
    skew = np.abs(np.linalg.norm(units, axis=1) - 1).max()
    if not (far <= 1 and over <= SLACK / 100 and skew <= (WIDER - 1) / 4):
        raise ConversionError(
            f"the proof of blank steps does not hold: {far:.6f} of 1, {over:.2g} over, {skew:.2g} skewed"
        )
    return len(rest)


def _proof(weights: NDArray[np.float32], features: Matrix) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (matrix, gains). features @ matrix is A' x, (w_blank - c) x, a of each direction and w_blank x - w_j x of EXACT classes."""
    blank, *others = weights.astype(np.float64).T
    rows = np.array(others)
    spread = np.cov(features.T)
    kept = np.ones(len(rows), bool)
    kept[np.argsort(-np.percentile(features @ rows.T, HIGH, axis=0))[: EXACT // 2]] = False
    center, shape = _ellipsoid(rows[kept], spread, ROUGH)
    kept[np.flatnonzero(kept)[np.argsort(-_distances(rows[kept], center, shape))[: EXACT // 2]]] = False

    center, shape = _ellipsoid(rows[kept], spread, FINE)
    # The ellipsoid is fitted to the rounded constants, because those are in the graph.
    toward = (blank - center).astype(np.float32)
    center = blank - toward
    rounded = (shape * _distances(rows[kept], center, shape).max() * MARGIN).astype(np.float32)
    shape = rounded.astype(np.float64)

    units = _directions(features @ shape)
    gains = _exact_bounds(rows[kept], center, shape, units)
    parts = [rounded, toward[:, np.newaxis], shape @ units.T, (blank - rows[~kept]).T]
    return np.concatenate(parts, axis=1).astype(np.float32), gains.astype(np.float32)


def _distances(rows: Matrix, center: Matrix, shape: Matrix) -> Matrix:
    """Return the distances of rows from the center, in radii of the ellipsoid."""
    return np.asarray(np.linalg.norm(np.linalg.solve(shape, (rows - center).T), axis=0))


def _exact_bounds(rows: Matrix, center: Matrix, shape: Matrix, units: Matrix) -> Matrix:
    """Return the least (center - row) d over rows, for each unit vector A' d."""
    return np.asarray(((center - rows) @ np.linalg.solve(shape.T, units.T)).min(axis=0))


def _share_proved(
    features: Matrix, matrix: NDArray[np.float32], gains: NDArray[np.float32], sizes: NDArray[np.int64]
) -> float:
    """Return the share of steps that the graph will prove."""
    shaped, toward, along, gaps = np.split(features @ matrix, np.cumsum(sizes)[:-1], axis=1)
    along = np.maximum(along, 0)
    beside = np.sqrt(np.maximum((shaped**2).sum(axis=1, keepdims=True) * WIDER - along**2, 0))
    of_others = (along * gains - beside).max(axis=1) + toward[:, 0]
    return float((np.minimum(of_others, gaps.min(axis=1)) > SLACK).mean())


def _ellipsoid(points: Matrix, spread: Matrix, rounds: int) -> tuple[Matrix, Matrix]:
    """Return (center, A) of an ellipsoid about most of `points`, narrow along axes with a large `spread`, up to a scale."""
    values, vectors = np.linalg.eigh(spread)
    scale = (vectors * np.sqrt(np.maximum(values, values.max() * 1e-4))) @ vectors.T
    scaled = points @ scale
    weights = np.full(len(points), 1 / len(points))
    for number in range(rounds + 1):
        center = weights @ scaled
        around = scaled - center
        values, vectors = np.linalg.eigh((around * weights[:, np.newaxis]).T @ around)
        values = np.maximum(values, values.max() * 1e-12)
        if number < rounds:
            weights *= ((around @ (vectors * values**-0.25)) ** 2).sum(axis=1)
            weights /= weights.sum()
    return np.linalg.solve(scale, center), np.linalg.solve(scale, vectors * values**0.25)


def _directions(points: Matrix) -> Matrix:
    """Return DIRECTIONS unit vectors near the points, by k-means that starts with the points farthest apart."""
    points = points / np.linalg.norm(points, axis=1, keepdims=True)
    taken = [points.mean(axis=0)]
    for _ in range(DIRECTIONS - 1):
        taken.append(points[(points @ np.array(taken).T).max(axis=1).argmin()])
    units = np.array(taken)
    for _ in range(ROUNDS):
        nearest = (points @ units.T).argmax(axis=1)
        means = [points[nearest == k].mean(axis=0) if (nearest == k).any() else units[k] for k in range(DIRECTIONS)]
        units = np.array(means)
        units /= np.linalg.norm(units, axis=1, keepdims=True)
    return units


def _select_unproved(features: str) -> list[NodeProto]:
    """Return nodes that select the features of unproved steps, (1, step, feature), and their positions.

    Comparisons with NaN are false, so a step with NaN features is unproved.
    """
    return [
        helper.make_node("MatMul", [features, "blank/matrix"], ["blank/products"]),
        helper.make_node(
            "Split",
            ["blank/products", "blank/sizes"],
            ["blank/shaped", "blank/toward", "blank/any_along", "blank/gaps"],
            axis=-1,
        ),
        helper.make_node("ReduceSumSquare", ["blank/shaped"], ["blank/square"], axes=[-1]),
        helper.make_node("Mul", ["blank/square", "blank/wider"], ["blank/whole"]),
        helper.make_node("Relu", ["blank/any_along"], ["blank/along"]),
        helper.make_node("Mul", ["blank/along", "blank/along"], ["blank/part"]),
        helper.make_node("Sub", ["blank/whole", "blank/part"], ["blank/rest"]),
        helper.make_node("Sqrt", ["blank/rest"], ["blank/beside"]),
        helper.make_node("Mul", ["blank/along", "blank/gains"], ["blank/gained"]),
        helper.make_node("Sub", ["blank/gained", "blank/beside"], ["blank/each"]),
        helper.make_node("ReduceMax", ["blank/each"], ["blank/best"], axes=[-1]),
        helper.make_node("Add", ["blank/best", "blank/toward"], ["blank/of_others"]),
        helper.make_node("ReduceMin", ["blank/gaps"], ["blank/of_exact"], axes=[-1]),
        helper.make_node("Min", ["blank/of_others", "blank/of_exact"], ["blank/higher"]),
        helper.make_node("Greater", ["blank/higher", "blank/slack"], ["blank/proved"]),
        helper.make_node("Not", ["blank/proved"], ["blank/open_steps"]),
        helper.make_node("Squeeze", ["blank/open_steps", "blank/last"], ["blank/open"]),
        helper.make_node("NonZero", ["blank/open"], ["blank/numbers"]),
        helper.make_node("Transpose", ["blank/numbers"], ["blank/places"]),
        helper.make_node("GatherND", [features, "blank/places"], ["blank/rows"]),
        helper.make_node("Unsqueeze", ["blank/rows", "blank/first"], ["blank/line"]),
    ]


def _classify_unproved(end: Sequence[NodeProto]) -> list[NodeProto]:
    """Return the graph's end, reading the selected features."""
    copies = renamed(end, {name: f"blank/{name}" for node in end for name in node.output})
    copies[0].input[0] = "blank/line"
    return copies


def _scatter_results() -> list[NodeProto]:
    """Return nodes that write each unproved step's results to its position, and 0 to all others."""
    zeros = {
        name: numpy_helper.from_array(np.zeros(1, kind)) for name, kind in (("index", "int64"), ("probability", "f"))
    }
    nodes = [helper.make_node("Shape", ["blank/open"], ["blank/shape"])]
    for name, value in zeros.items():
        nodes += [
            helper.make_node("ConstantOfShape", ["blank/shape"], [f"blank/no_{name}"], value=value),
            helper.make_node("Squeeze", [f"blank/{name}", "blank/first"], [f"blank/each_{name}"]),
            helper.make_node("ScatterND", [f"blank/no_{name}", "blank/places", f"blank/each_{name}"], [name]),
        ]
    return nodes
