"""Steps that are proved blank without computing every class: the proof, and that answers stay as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import NAME, SHAPE, ctc, lines, others_only, same
from onnx import numpy_helper

from ocr_onnx.converters import replacements
from ocr_onnx.converters.optimize import optimize
from ocr_onnx.converters.passes import blank_bound
from ocr_onnx.converters.passes.blank_bound import check_proof, find_classifier, prove_blank_steps
from ocr_onnx.errors import ConversionError
from ocr_onnx.models import store
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime.model_file import PRODUCER, model_for_device
from ocr_onnx.runtime.session import Session

PAGES = Path(__file__).parents[1] / "pages"

FEATURES, CLASSES = 3, 5000


@pytest.fixture(scope="module")
def contents() -> bytes:
    return store.find(NAME).read_bytes()


def test_lines_are_read_the_same_to_the_last_bit(contents: bytes, tmp_path: Path) -> None:
    run, whole = Session(store.find(NAME)), others_only(contents, tmp_path)
    shares = [same(run, whole, tensor) for tensor in lines()]
    assert len(shares) > 30
    # It would be for nothing otherwise.
    assert np.mean(shares) > 0.5


@pytest.mark.parametrize(
    "tensor",
    [
        np.zeros((1, *SHAPE)),
        np.zeros((3, 3, 48, 2000)),
        np.random.default_rng(0).normal(0, 1, (6, *SHAPE)),
        np.random.default_rng(0).normal(0, 1000, (2, 3, 48, 41)),
        np.full((1, *SHAPE), 1e30),
        np.full((2, *SHAPE), np.nan),
        np.full((1, *SHAPE), np.inf),
    ],
    ids=["blank", "wide", "noise", "loud", "huge", "nan", "infinite"],
)
def test_other_inputs_are_read_the_same_to_the_last_bit(contents: bytes, tmp_path: Path, tensor: np.ndarray) -> None:
    same(Session(store.find(NAME)), others_only(contents, tmp_path), tensor.astype(np.float32))


def test_the_embedded_proof_holds_for_every_class(contents: bytes) -> None:
    assert check_proof(contents) == 18384 - blank_bound.EXACT
    assert check_proof(store.find("PP-OCRv5_mobile_det").read_bytes()) == 0


@pytest.mark.parametrize("constant", ["blank/matrix", "blank/gains", "table"])
def test_a_proof_that_does_not_hold_is_found(contents: bytes, constant: str) -> None:
    table = find_classifier(onnx.load_from_string(model_for_device(contents, on_cpu=False)))
    assert table is not None
    model = onnx.load_from_string(model_for_device(contents))
    product = next(node for node in model.graph.node if node.op_type == "MatMul" and node.input[1].endswith("/weights"))
    name = product.input[1] if constant == "table" else constant
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    changed = numpy_helper.to_array(tensor).copy()
    if constant == "table":
        changed[:, 9000] *= 3
    elif constant == "blank/gains":
        changed[5] += 0.1
    else:
        changed[:, :4] *= 0.9
    # Of the same size, so at the same place.
    broken = contents.replace(tensor.raw_data, changed.astype(np.float32).tobytes())
    assert len(broken) == len(contents)
    assert broken != contents
    with pytest.raises(ConversionError, match="proof of blank steps does not hold"):
        check_proof(broken)


def head(blank: float) -> onnx.ModelProto:
    """Columns as steps, and a table of classes with `blank` as the first one's bias."""
    rng = np.random.default_rng(0)
    bias = rng.normal(0, 0.1, CLASSES)
    bias[0] = blank
    return optimize(ctc(CLASSES, weights=rng.normal(0, 0.5, (FEATURES, CLASSES)), bias=bias), reduce_classes=True)


def skipping(model: onnx.ModelProto, folder: Path) -> bytes:
    """The file of a model that proves steps to be blank, from its own lines."""
    table = find_classifier(model)
    assert table is not None
    model.producer_name = PRODUCER
    metadata = ModelMetadata.from_properties(Session(store.find(NAME)).properties, NAME)
    return replacements.contents(
        model, prove_blank_steps(model, table, blank_bound.sample_blank_features(model, table, metadata, folder))
    )


def test_all_steps_may_be_proved_or_some_or_none(tmp_path: Path) -> None:
    path = tmp_path / "head.onnx"
    contents = skipping(head(4.0), tmp_path)
    path.write_bytes(contents)
    assert check_proof(contents) == CLASSES - 1 - blank_bound.EXACT
    run, whole = Session(path), others_only(contents, tmp_path)
    noise = np.random.default_rng(1).normal(0, 1, (2, 3, 48, 60)).astype(np.float32)
    shares = [same(run, whole, noise * np.float32(scale)) for scale in (0, 3, 10, 30, 1000)]
    assert shares[0] == 1
    assert any(0 < share < 1 for share in shares)
    assert shares[-1] == 0


def test_a_graph_is_unchanged_if_few_blank_steps_can_be_proved() -> None:
    model = head(4.0)
    table = find_classifier(model)
    assert table is not None
    scattered = np.random.default_rng(0).normal(0, 10, (1000, FEATURES + 1))
    assert prove_blank_steps(model, table, scattered) == []
    assert prove_blank_steps(model, table, scattered[:10] * 0) == []


def test_a_graph_without_a_large_class_table_is_unchanged() -> None:
    detector = onnx.load(store.find("PP-OCRv5_mobile_det"))
    assert find_classifier(detector) is None
