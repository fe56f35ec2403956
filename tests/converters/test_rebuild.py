"""The tool that rebuilds networks: what can be told without Paddle. `make verify-models` runs the rest."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from benchmarks import rebuild
from ocr_onnx.errors import ConversionError, IntegrityError
from ocr_onnx.models import zoo


def exported(*names: str) -> onnx.ModelProto:
    """A graph of constants, each of as many numbers as its place in `names`, from 1."""
    arrays = {name: np.zeros(place, np.float32) for place, name in enumerate(names, 1)}
    nodes = [helper.make_node("Constant", [], [n], value=numpy_helper.from_array(a)) for n, a in arrays.items()]
    return helper.make_model(helper.make_graph(nodes, "weights", [], []))


def test_each_model_on_record_as_rebuilt_can_be_rebuilt() -> None:
    assert {spec.name for spec in zoo.models().values() if spec.verified == "rebuilt"} == set(rebuild.NETWORKS)


def test_weights_of_an_export_come_in_the_order_of_their_use() -> None:
    model = exported("linear_0.b_0_deepcopy_10", "helper.constant.0", "conv2d_0.w_0_deepcopy_9")
    assert [weight.size for weight in rebuild.used_weights(model)] == [3, 1]


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    onnx.save(exported("conv2d_0.w_0_deepcopy_0"), tmp_path / "other.onnx")
    model = SimpleNamespace(state_dict=lambda: {"0.weight": SimpleNamespace(shape=[2])})
    with pytest.raises(ConversionError, match=r"other\.onnx is of another network"):
        rebuild.transplant(model, tmp_path / "other.onnx")


def test_training_code_that_was_changed_is_not_run(tmp_path: Path) -> None:
    name = rebuild.TRAINING_CODE.replace("-", "_").replace("==", "-")
    (tmp_path / f"{name}-py3-none-any.whl").write_bytes(b"something else")
    with pytest.raises(IntegrityError, match=rebuild.TRAINING_CODE_SHA256):
        rebuild.rebuild("ch_SVTRv2_rec", tmp_path / "model", tmp_path)


def test_made_up_weights_keep_the_size_of_a_signal() -> None:
    rng = np.random.default_rng(1)
    signal = rng.normal(0, 1, (1000, 64)).astype(np.float32)
    weights = rebuild.made_up("conv2d_0.w_0", (128, 64, 1, 1), rng)
    assert 0.8 < (signal @ weights[..., 0, 0].T).std() / signal.std() < 1.6
