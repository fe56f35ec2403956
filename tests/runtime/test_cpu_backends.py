"""`ocr-onnx build --device cpu`: which models run on OpenVINO in high-performance mode."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from ocr_onnx.cli.main import main
from ocr_onnx.errors import ModelError
from ocr_onnx.models import store
from ocr_onnx.runtime import cpu_backends, openvino
from ocr_onnx.runtime.cpu_backends import FILE, Measurement
from ocr_onnx.runtime.providers import CPU
from ocr_onnx.runtime.selection import choose_placement

MODEL, OTHER = "PP-OCRv6_small_rec", "PP-OCRv5_mobile_rec"
FAST = Measurement(MODEL, onnxruntime=0.2, openvino=0.1, differing=1, decisions=100)

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the package openvino is not installed"
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models of its own, on a machine with OpenVINO."""
    monkeypatch.setattr(store, "home", lambda: tmp_path)
    monkeypatch.setattr(openvino, "is_installed", lambda: True)
    monkeypatch.setattr(openvino, "has_bfloat16", lambda: True)
    monkeypatch.setattr(cpu_backends, "machine", lambda: {"processor": "one"})
    return tmp_path


@pytest.mark.parametrize(
    ("measured", "chosen"),
    [
        (FAST, True),
        (replace(FAST, openvino=0.198), False),
        (replace(FAST, openvino=0.3), False),
        (replace(FAST, differing=2), True),
        (replace(FAST, differing=3), False),
    ],
)
def test_openvino_is_chosen_if_it_is_faster_and_few_results_differ(measured: Measurement, chosen: bool) -> None:
    assert measured.chosen is chosen


def test_measurements_are_kept_for_this_machine_alone(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cpu_backends.kept() == ()
    assert cpu_backends.keep([FAST]) == home / FILE
    assert cpu_backends.kept() == (FAST,)
    monkeypatch.setattr(cpu_backends, "machine", lambda: {"processor": "another"})
    assert cpu_backends.kept() == ()


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"machine": {"processor": "one"}, "models": [{"a": 1}]}'])
def test_a_damaged_file_is_named_with_the_cure(home: Path, content: bytes) -> None:
    (home / FILE).write_bytes(content)
    with pytest.raises(ModelError, match=rf"{FILE} cannot be read .*: run 'ocr-onnx build --device cpu' again"):
        cpu_backends.kept()


def test_high_performance_mode_takes_what_was_measured() -> None:
    slow = replace(FAST, model="PP-OCRv6_small_det", openvino=0.3)
    cpu_backends.keep([replace(FAST, openvino=0.3), slow])
    cpu_backends.keep([FAST])
    chosen = choose_placement(mode="high-performance")
    assert chosen.only == (MODEL,)
    assert f"measured by 'ocr-onnx build'; in bfloat16: {MODEL}" in str(chosen)
    assert choose_placement(mode="standard").providers == CPU.providers


def test_models_that_were_not_measured_are_chosen_by_the_processor() -> None:
    cpu_backends.keep([replace(FAST, model=OTHER)])
    assert choose_placement(mode="high-performance").only == (OTHER, "PP-OCRv6_small_det", MODEL)


def test_if_openvino_is_slower_for_all_models_all_run_on_onnx_runtime() -> None:
    cpu_backends.keep([replace(FAST, openvino=0.3, model=name) for name in (MODEL, "PP-OCRv6_small_det")])
    assert choose_placement(mode="high-performance").providers == CPU.providers


def test_without_bfloat16_openvino_computes_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "has_bfloat16", lambda: False)
    cpu_backends.keep([FAST])
    chosen = choose_placement(mode="high-performance")
    assert chosen.providers[0].options[cpu_backends.PRECISION] == "f32"
    assert "in float32" in str(chosen)


def test_a_model_that_loses_text_in_bfloat16_runs_on_openvino_in_float32_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cpu_backends.may_run(MODEL)
    assert cpu_backends.may_run("a model of the user's own")
    assert not cpu_backends.may_run(OTHER)
    monkeypatch.setattr(openvino, "has_bfloat16", lambda: False)
    assert cpu_backends.may_run(OTHER)


@needs_openvino
def test_build_measures_the_models_and_the_next_run_takes_the_faster_library(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(store, "home", lambda: home)
    printed = CliRunner().invoke(main, ["build", "--device", "cpu"], catch_exceptions=False)
    assert printed.exit_code == 0
    measured = cpu_backends.kept()
    assert MODEL in {each.model for each in measured}
    assert [str(each) for each in measured] == printed.output.splitlines()[:-1]
    assert all(each.openvino > 0 and each.decisions > 0 for each in measured)
    assert json.loads((home / FILE).read_bytes())["machine"]["cores"] > 0
    chosen = choose_placement(mode="high-performance")
    assert {each.model: each.model in (chosen.only or ()) for each in measured} == {
        each.model: each.chosen for each in measured
    }


def test_build_for_the_cpu_needs_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "is_installed", lambda: False)
    failed = CliRunner().invoke(main, ["build", "--device", "cpu"])
    assert failed.exit_code == 1
    assert "OpenVINO is not installed: pip install" in failed.output
