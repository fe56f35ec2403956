"""Columns that only pad a line and are not computed: on real lines, on graphs made up, and where it would not pay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from graphs import NAME, SHAPE, lines, model, others_only, same
from onnx import helper, numpy_helper

from ocr_onnx.converters import verify
from ocr_onnx.converters.passes.pad_columns import skip_padding_columns
from ocr_onnx.converters.replacements import contents
from ocr_onnx.errors import ConversionError
from ocr_onnx.models import store
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime.model_file import PRODUCER, model_for_device
from ocr_onnx.runtime.session import Session
from ocr_onnx.types import Tensor

SIGHT = 106
"""Pixels, to either side together, from which the carried recognizer computes a column that is near; the stride is 4."""


def telling(file: bytes, folder: Path) -> Session:
    """A recognizer as a CPU has it, which answers with the picture that is left as well."""
    known = onnx.load_from_string(model_for_device(file))
    known.graph.output.append(helper.make_tensor_value_info("padding/x", onnx.TensorProto.FLOAT, None))
    onnx.save(known, folder / "telling.onnx")
    return Session(folder / "telling.onnx")


def wider(tensor: Tensor, columns: int) -> Tensor:
    return np.pad(tensor, ((0, 0), (0, 0), (0, 0), (0, columns)))


@pytest.mark.parametrize("name", ["PP-OCRv6_small_rec", "PP-OCRv6_tiny_rec"])
def test_models_with_means_over_the_line_skip_its_padding(tmp_path: Path, name: str) -> None:
    file = store.find(name).read_bytes()
    run, whole, left = Session(store.find(name)), others_only(file, tmp_path), telling(file, tmp_path)
    for columns in (0, 37, 400):
        padded = wider(lines()[0], columns)
        index, probability = run(padded)
        all_index, all_probability = whole(padded)
        np.testing.assert_array_equal(index, all_index)
        computed = probability > 0
        np.testing.assert_allclose(probability[computed], all_probability[computed], atol=1e-4)
    assert padded.shape[3] - left(padded)[-1].shape[3] > 250


@pytest.mark.parametrize("columns", [0, 1, 37, 400, 2000])
def test_lines_are_read_the_same_however_far_they_are_padded(tmp_path: Path, columns: int) -> None:
    file = store.find(NAME).read_bytes()
    run, whole, left = Session(store.find(NAME)), others_only(file, tmp_path), telling(file, tmp_path)
    spared = 0
    for tensor in lines()[:6]:
        padded = wider(tensor, columns)
        same(run, whole, padded)
        spared += padded.shape[3] - left(padded)[-1].shape[3]
    assert spared >= 6 * (columns - SIGHT - 8)


def test_of_lines_in_a_batch_the_widest_counts(tmp_path: Path) -> None:
    file = store.find(NAME).read_bytes()
    first, second, *_ = (tensor for tensor in lines() if tensor.shape[3] == SHAPE[2])
    batch = wider(np.concatenate([first, second]), 300)
    batch[1, ..., 200:250] = 0.5
    batch[:, ..., 250:] = 0
    same(Session(store.find(NAME)), others_only(file, tmp_path), batch)
    assert 250 + SIGHT <= telling(file, tmp_path)(batch)[-1].shape[3] < 250 + SIGHT + 8


@pytest.mark.parametrize("place", [(0, 0, 0, -1), (0, 2, 47, 619), (0, 1, 20, 400)])
@pytest.mark.parametrize("value", [1e-40, -1.0, np.nan, np.inf])
def test_one_number_counts_wherever_it_is(tmp_path: Path, place: tuple[int, ...], value: float) -> None:
    file = store.find(NAME).read_bytes()
    tensor = wider(lines()[0], 300)[..., :620].copy()
    tensor[..., 200:] = 0
    tensor[place] = value
    expected = min(tensor.shape[3], place[3] % tensor.shape[3] + 1 + SIGHT)
    assert expected <= telling(file, tmp_path)(tensor)[-1].shape[3] < expected + 8
    same(Session(store.find(NAME)), others_only(file, tmp_path), tensor)


@pytest.mark.parametrize("constant", ["padding/in_sight", "padding/to_end"])
def test_a_file_that_cuts_too_much_is_found(tmp_path: Path, constant: str) -> None:
    file = store.find(NAME).read_bytes()
    known = onnx.load_from_string(model_for_device(file))
    (tensor,) = (tensor for tensor in known.graph.initializer if tensor.name == constant)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) - 50, constant))
    onnx.save(known, tmp_path / "broken.onnx")
    metadata = ModelMetadata.from_properties(Session(store.find(NAME)).properties, NAME)
    inputs = {name: x for name, x in verify.padded(verify.sample_inputs(metadata)).items() if "3200" not in name}
    elsewhere = others_only(file, tmp_path)
    whole = {name: elsewhere(x) for name, x in inputs.items()}
    verify.check_alike(metadata, whole, verify.run_onnx(store.find(NAME), inputs))
    with pytest.raises(ConversionError, match="differs between CPUs and other devices"):
        verify.check_alike(metadata, whole, verify.run_onnx(tmp_path / "broken.onnx", inputs))


def network(kinds: str, seed: int, channels: int = 3) -> onnx.ModelProto:
    """Convolutions of several forms, then squeeze-and-excitation; a letter for each."""
    rng = np.random.default_rng(seed)
    forms = {
        "s": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]},
        "n": {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]},
        "w": {"kernel_shape": [1, 5], "pads": [0, 2, 0, 2]},
        "o": {"kernel_shape": [1, 4], "pads": [0, 0, 0, 3], "strides": [1, 3]},
        "d": {"kernel_shape": [1, 3], "pads": [0, 2, 0, 2], "dilations": [1, 2]},
        "p": {"kernel_shape": [1, 1]},
        "v": {"kernel_shape": [3, 3]},
    }
    nodes: list[onnx.NodeProto] = []
    constants: dict[str, object] = {}
    name = "x"
    for i, kind in enumerate(kinds):
        if kind == "r":
            # The last two maps of one form, added.
            nodes.append(helper.make_node("Add", [name, f"t{i - 2}"], [f"t{i}"]))
        elif kind == "g":
            constants[f"w{i}"] = rng.normal(0, channels**-0.5, (channels, channels, 1, 1))
            mean = ("ReduceMean", {"axes": [2, 3], "keepdims": 1}) if i % 2 else ("GlobalAveragePool", {})
            nodes.append(helper.make_node(mean[0], [name], [f"m{i}"], **mean[1]))
            nodes.append(helper.make_node("Conv", [f"m{i}", f"w{i}"], [f"c{i}"], kernel_shape=[1, 1]))
            nodes.append(helper.make_node("HardSigmoid", [f"c{i}"], [f"g{i}"]))
            nodes.append(helper.make_node("Mul", [name, f"g{i}"], [f"t{i}"]))
        elif kind in "ma":
            form = {"auto_pad": "SAME_UPPER", "strides": [1, 1]} if kind == "m" else {"strides": [2, 2]}
            pool = "MaxPool" if kind == "m" else "AveragePool"
            nodes.append(helper.make_node(pool, [name], [f"t{i}"], kernel_shape=[2, 2], **form))
        elif kind == "k":
            # Both maps of one form, side by side, and one of them again.
            constants[f"w{i}"] = rng.normal(0, channels**-0.5, (channels, 2 * channels, 1, 1))
            nodes.append(helper.make_node("Concat", [name, f"t{i - 1}"], [f"c{i}"], axis=1))
            nodes.append(helper.make_node("Conv", [f"c{i}", f"w{i}"], [f"t{i}"], kernel_shape=[1, 1]))
        else:
            sides, into = forms[kind]["kernel_shape"], 3 if name == "x" else channels
            constants[f"w{i}"] = rng.normal(0, (4 * into) ** -0.5, (channels, into, *sides))
            constants[f"b{i}"] = rng.normal(0, 1, channels)
            nodes.append(helper.make_node("Conv", [name, f"w{i}", f"b{i}"], [f"c{i}"], **forms[kind]))
            nodes.append(helper.make_node("HardSwish", [f"c{i}"], [f"t{i}"]))
        name = f"t{i}"
    nodes += [
        helper.make_node("GlobalAveragePool", [name], ["mean"]),
        helper.make_node("Sigmoid", ["mean"], ["gate"]),
        helper.make_node("Mul", [name, "gate"], ["y"]),
    ]
    made = model(nodes, constants, ("y", ["n", channels, "h2", "w2"]))
    made.producer_name = PRODUCER
    return made


@pytest.mark.parametrize(
    ("kinds", "means"),
    [
        *((kinds, 0) for kinds in ("s", "snn", "snwnr", "nnr", "pospd", "ow", "vvs", "dwsno", "smk", "na")),
        # Too few convolutions before the first mean.
        *((kinds, kinds.count("g")) for kinds in ("sgpppppppp", "pgspngnnnp", "sgppppppgpppppa")),
    ],
)
@pytest.mark.parametrize("channels", [3, 16])
def test_any_convolutions_give_the_same_at_every_width(tmp_path: Path, kinds: str, means: int, channels: int) -> None:
    made = network(kinds, seed=len(kinds), channels=channels)
    alternatives = skip_padding_columns(made)
    assert len(alternatives) == 2 + means
    file = contents(made, alternatives)
    (tmp_path / "made.onnx").write_bytes(file)
    run, whole, left = Session(tmp_path / "made.onnx"), others_only(file, tmp_path), telling(file, tmp_path)
    rng, spared = np.random.default_rng(1), 0
    for width in range(20, 120):
        tensor = np.zeros((1, 3, 16, width), np.float32)
        filled = int(rng.integers(0, width + 1))
        tensor[..., :filled] = rng.normal(0, 1, (1, 3, 16, filled))
        # Sixteen channels are convolved in blocks, and a mean of them is summed up in another order.
        rtol, atol = (0, 1e-6) if channels == 3 else (1e-5, 1e-5)
        np.testing.assert_allclose(run(tensor)[0], whole(tensor)[0], rtol=rtol, atol=atol)
        spared += width - left(tensor)[-1].shape[3]
    assert spared > 500


def test_a_graph_that_would_gain_little_or_has_an_old_opset_is_unchanged() -> None:
    assert skip_padding_columns(network("s" + "w" * 60, 0)) == []
    assert skip_padding_columns(onnx.load(store.find("PP-OCRv5_mobile_det"))) == []
    old = network("snn", 0)
    old.opset_import[0].version = 14
    assert skip_padding_columns(old) == []


def test_a_graph_with_other_readers_of_the_columns_is_unchanged() -> None:
    given = network("snn", 0)
    given.graph.output.append(helper.make_tensor_value_info("c0", onnx.TensorProto.FLOAT, None))
    assert skip_padding_columns(given) == []
    captured = network("snn", 0)
    body = helper.make_graph(
        [helper.make_node("Identity", ["t1"], ["inner"])], "body", [], [helper.make_tensor_value_info("inner", 1, None)]
    )
    captured.graph.node.append(helper.make_node("If", ["mean"], ["z"], then_branch=body, else_branch=body))
    assert skip_padding_columns(captured) == []
    taken = network("snn", 0)
    taken.graph.node.append(helper.make_node("Neg", ["y"], ["padding/end"]))
    assert skip_padding_columns(taken) == []


def test_a_graph_whose_input_has_another_reader_is_unchanged() -> None:
    pooled = helper.make_node("GlobalAveragePool", ["x"], ["mean"])
    made = network("snn", 0)
    assert skip_padding_columns(made)
    made.graph.node.extend([pooled, helper.make_node("Add", ["y", "mean"], ["z"])])
    made.graph.output[0].name = "z"
    assert skip_padding_columns(made) == []
