"""A file with parts for a CPU: what each device is given of it, and what other programs make of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import onnx
import pytest
from graphs import NAME, lines, model
from onnx import helper

from ocr_onnx.converters.precision import halve
from ocr_onnx.converters.replacements import Replacement, contents
from ocr_onnx.models import store
from ocr_onnx.models.protobuf import field, fields, read_varint, varint
from ocr_onnx.runtime.denormals import GRAPH
from ocr_onnx.runtime.model_file import CPU_FIELD, PRODUCER, model_for_device
from ocr_onnx.runtime.providers import CPU, Placement
from ocr_onnx.runtime.session import Session
from ocr_onnx.stages import recognition


@pytest.fixture(scope="module")
def file() -> bytes:
    return store.find(NAME).read_bytes()


def chain(*kinds: str) -> onnx.ModelProto:
    """Operators of one input, one after another."""
    names = ["x", *(f"t{i}" for i in range(1, len(kinds))), "y"]
    nodes = [helper.make_node(kind, [names[i]], [names[i + 1]]) for i, kind in enumerate(kinds)]
    made = model(nodes, {}, ("y", ["n", 3, "h", "w"]))
    made.producer_name = PRODUCER
    return made


def operators(file: bytes, *, on_cpu: bool) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(model_for_device(file, on_cpu=on_cpu)).graph.node]


def node(kind: str, source: str, target: str) -> onnx.NodeProto:
    return helper.make_node(kind, [source], [target])


def test_a_device_is_given_its_own_part(file: bytes) -> None:
    on_cpu, elsewhere = (onnx.load_from_string(model_for_device(file, on_cpu=each)) for each in (True, False))
    for known in (on_cpu, elsewhere):
        onnx.checker.check_model(known, full_check=True)
        assert [output.name for output in known.graph.output] == ["index", "probability"]
    assert {"NonZero", "Expand", "ArgMax"} <= {node.op_type for node in on_cpu.graph.node}
    assert not {node.op_type for node in elsewhere.graph.node} & {"NonZero", "Expand", "ScatterND"}
    assert not [t.name for t in elsewhere.graph.initializer if t.name.startswith(("blank/", "padding/"))]


def test_a_session_asks_for_its_part() -> None:
    path = store.find(NAME)
    tensor = lines()[0]
    elsewhere = cast(Placement, SimpleNamespace(providers=CPU.providers, on_cpu=False, on_gpu=False))
    # Only where steps are proved to be blank do their probabilities stay uncomputed.
    assert 0 in Session(path)(tensor)[1]
    assert 0 not in Session(path, elsewhere)(tensor)[1]


def test_parts_stand_wherever_they_are(tmp_path: Path) -> None:
    made = chain("Relu", "Abs", "Neg", "Exp", "Neg")
    first = Replacement(0, 1, [node("Abs", "x", "a"), node("Relu", "a", "t1")], {})
    middle = Replacement(2, 4, [node("Sin", "t2", "t4")], {"unused": np.zeros(2)})
    last = Replacement(4, 5, [node("Cos", "t4", "y")], {})
    whole = operators(contents(made), on_cpu=True)
    expected = {
        (first,): ["Abs", "Relu", "Abs", "Neg", "Exp", "Neg"],
        (middle,): ["Relu", "Abs", "Sin", "Neg"],
        (last, middle): ["Relu", "Abs", "Sin", "Cos"],
        (last, first, middle): ["Abs", "Relu", "Abs", "Sin", "Cos"],
    }
    for replacements, kinds in expected.items():
        file = contents(made, replacements)
        assert operators(file, on_cpu=True) == kinds
        assert operators(file, on_cpu=False) == whole
        (tmp_path / "made.onnx").write_bytes(file)
        assert Session(tmp_path / "made.onnx")(np.ones((1, 3, 2, 2), np.float32))[0].shape == (1, 3, 2, 2)
    for wrong in (Replacement(0, 3, [], {}), Replacement(1, 1, [], {})):
        with pytest.raises(ValueError, match="two replacements for node"):
            contents(made, [wrong, middle])


def test_another_program_reads_what_is_for_every_device(file: bytes) -> None:
    known = onnx.load_from_string(file)
    onnx.checker.check_model(known, full_check=True)
    assert known.graph == onnx.load_from_string(model_for_device(file, on_cpu=False)).graph


@pytest.mark.parametrize("kept", [True, False])
def test_a_file_that_another_program_wrote_anew_is_for_every_device(kept: bool) -> None:
    file = contents(
        chain("Relu", "Abs", "Neg"),
        [Replacement(0, 1, [node("Exp", "x", "t1")], {}), Replacement(2, 3, [node("Exp", "t2", "y")], {})],
    )
    known = onnx.load_from_string(file)
    if not kept:
        known.DiscardUnknownFields()
    anew = known.SerializeToString()
    assert [number for number, _, _ in fields(anew, 0, len(anew))].count(CPU_FIELD) == 2 * kept
    assert operators(file, on_cpu=True) == ["Exp", "Abs", "Exp"]
    assert operators(anew, on_cpu=True) == operators(anew, on_cpu=False) == ["Relu", "Abs", "Neg"]


def test_the_graph_stands_in_one_piece_for_programs_that_do_not_put_pieces_together(file: bytes) -> None:
    numbers = [number for number, _, _ in fields(file, 0, len(file))]
    assert numbers.count(GRAPH) == 1
    # Netron takes a file for no ONNX where one is above 100.
    assert max(numbers) <= 100


def test_the_carried_recognizer_written_anew_reads_the_same(file: bytes, tmp_path: Path) -> None:
    onnx.save(onnx.load_from_string(file), tmp_path / "anew.onnx")
    anew, kept = Session(tmp_path / "anew.onnx"), Session(store.find(NAME))
    for tensor in lines()[:3]:
        np.testing.assert_array_equal(recognition.best_classes(anew(tensor))[0], kept(tensor)[0])


def test_half_precision_goes_without(tmp_path: Path) -> None:
    report = halve(store.find(NAME), tmp_path / "half.onnx")
    assert operators(report.target.read_bytes(), on_cpu=True) == operators(report.target.read_bytes(), on_cpu=False)


@pytest.mark.parametrize("size", [0, 1, 127, 128, 70_000])
def test_a_field_is_read_as_it_was_written(size: int) -> None:
    part = field(CPU_FIELD, b"x" * size)
    assert list(fields(part, 0, len(part))) == [(CPU_FIELD, len(part) - size, len(part))]
    assert read_varint(varint(size), 0) == (size, len(varint(size)))


@pytest.mark.parametrize("ending", [b"\xff" * 100_000, b"\x80" * 100_000, b"\x08" + b"\xff" * 20])
def test_a_number_without_end_is_no_file(ending: bytes) -> None:
    file = contents(chain("Relu")) + ending
    assert model_for_device(file) == file


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_file_that_is_cut_short_is_given_as_it_is(cut: int) -> None:
    file = contents(chain("Relu", "Abs"), [Replacement(1, 2, [node("Exp", "t1", "y")], {})])
    assert model_for_device(file[:-cut]) == file[:-cut]
