"""What is written for Triton fits the graphs, and the pipeline reads the same with them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import PAGES
from numpy.typing import NDArray

from ocr_onnx import OCR
from ocr_onnx.cli.main import main
from ocr_onnx.converters import triton
from ocr_onnx.errors import ModelNotFoundError, OutputError
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime.denormals import without_denormals
from ocr_onnx.runtime.session import Session
from ocr_onnx.types import Run

DETECTION, RECOGNITION = "PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("triton")
    triton.export(triton.embedded(), place)
    return place


def test_the_command_writes_the_models_of_the_package(tmp_path: Path, repository: Path) -> None:
    result = CliRunner().invoke(main, ["export-triton", str(tmp_path)])
    assert result.exit_code == 0
    assert result.stdout.split() == [str(tmp_path / name) for name in triton.embedded()]
    assert {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*.*") if p.is_file()} == {
        str(p.relative_to(repository)): p.read_bytes() for p in repository.rglob("*.*") if p.is_file()
    }


def test_a_configuration_omits_the_batch_axis_and_has_dynamic_sizes(repository: Path) -> None:
    assert (repository / RECOGNITION / "config.pbtxt").read_text("utf-8") == (
        'name: "PP-OCRv5_mobile_rec"\n'
        'backend: "onnxruntime"\n'
        "max_batch_size: 32\n"
        'input { name: "x" data_type: TYPE_FP32 dims: [3, 48, -1] }\n'
        'output { name: "index" data_type: TYPE_INT64 dims: [-1] }\n'
        'output { name: "probability" data_type: TYPE_FP32 dims: [-1] }\n'
        "dynamic_batching { max_queue_delay_microseconds: 500 }\n"
    )


def test_pages_are_not_batched_for_detection(repository: Path) -> None:
    text = (repository / DETECTION / "config.pbtxt").read_text("utf-8")
    assert "max_batch_size: 1\n" in text
    assert "dynamic_batching" not in text


@pytest.mark.parametrize("name", triton.embedded())
def test_a_graph_takes_the_batches_that_its_configuration_allows(repository: Path, name: str) -> None:
    text = (repository / name / "config.pbtxt").read_text("utf-8")
    most = int(re.findall(r"max_batch_size: (\d+)", text)[0])
    sides = [64 if side == "-1" else int(side) for side in re.findall(r"input .*dims: \[(.*)\]", text)[0].split(", ")]
    run = Session(repository / name / "1" / "model.onnx")
    batch = np.random.default_rng(0).random((most, *sides), np.float32)
    together, alone = run(batch), run(batch[-1:])
    assert len(together) == len(re.findall(r"^output ", text, re.MULTILINE))
    for all_of_them, last in zip(together, alone, strict=True):
        assert len(all_of_them) == most
        np.testing.assert_allclose(all_of_them[-1:], last, atol=1e-4)


def test_a_graph_of_one_size_is_not_batched(repository: Path) -> None:
    session = Session(repository / RECOGNITION / "1" / "model.onnx")
    metadata = ModelMetadata.from_properties(session.properties, RECOGNITION)
    session.inputs = [SimpleNamespace(name="x", type="tensor(float)", shape=[1, 3, 48, 320])]
    session.outputs = [SimpleNamespace(name="index", type="tensor(int64)", shape=[1, "steps"])]
    assert triton.config(session, metadata).splitlines()[2:] == [
        "max_batch_size: 0",
        'input { name: "x" data_type: TYPE_FP32 dims: [1, 3, 48, 320] }',
        'output { name: "index" data_type: TYPE_INT64 dims: [1, -1] }',
    ]


def test_denormal_weights_are_removed(repository: Path) -> None:
    written = (repository / DETECTION / "1" / "model.onnx").read_bytes()
    assert without_denormals(written) == written


def over_there(repository: Path) -> Callable[[str], Run]:
    """What docs/deploying.md calls `remote`, with a session in place of the server."""

    def remote(name: str) -> Run:
        session = Session(repository / name / "1" / "model.onnx")

        def run(tensor: NDArray[np.float32]) -> tuple[NDArray[Any], ...]:
            return session(tensor)

        return run

    return remote


def test_the_pipeline_reads_the_same_with_remote_graphs(ocr: OCR, repository: Path) -> None:
    remote = over_there(repository)
    lines = OCR.from_stages(detect=ocr.detect, recognize=ocr.recognize)
    mine = lines.with_runs(lambda _, metadata: remote(metadata.name))
    pages = [engine.predict(PAGES / "sign.png")[0] for engine in (lines, mine)]
    assert [line.text for line in pages[0].lines] == [line.text for line in pages[1].lines]
    assert pages[0].lines


def test_a_missing_model_and_a_file_instead_of_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError):
        triton.export(["PP-OCRv9_det"], tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        triton.export([DETECTION], tmp_path / "file")
