"""What `ocr-onnx doctor` says of this machine, and of others whose answers were recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import backends
import pytest
from click.testing import CliRunner, Result
from conftest import CPU_WHEEL, GPU_WHEEL

from ocr_onnx.cli import diagnosis
from ocr_onnx.cli.diagnosis import Fact, Report, diagnose
from ocr_onnx.cli.main import main
from ocr_onnx.errors import OptionError
from ocr_onnx.installation import requirement
from ocr_onnx.models import store, zoo
from ocr_onnx.runtime import libraries, threads
from ocr_onnx.runtime.provider_specs import DRIVER

SECTIONS = [
    "versions",
    "onnxruntime",
    "providers",
    "libraries",
    "models",
    "threads",
    "fonts",
    "paths",
    "service",
    "requested",
]
EMBEDDED = [spec.name for spec in zoo.models().values() if spec.embedded]
no_driver = pytest.mark.skipif(not libraries.missing([DRIVER]), reason="this machine has NVIDIA's driver")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["doctor", *map(str, arguments)])


def of(report: Report, section: str) -> dict[str, Fact]:
    return {fact.name: fact for fact in report.facts if fact.section == section}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for models of its own."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv(store.HOME_VARIABLE, str(folder))
    return folder


@pytest.fixture
def gpu_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    """What onnxruntime-gpu answered on a machine without a GPU, on top of the real module."""
    answers = {
        "__version__": "1.31.1",
        "cuda_version": GPU_WHEEL.cuda,
        "get_available_providers": lambda: list(GPU_WHEEL.providers),
    }
    backends.change(monkeypatch, **answers)


def test_the_cpu_works_and_the_models_of_the_package_are_whole() -> None:
    report = diagnose()
    assert (report.works, str(report.placement)) == (True, "CPUExecutionProvider (the default)")
    assert of(report, "providers")["CPUExecutionProvider"].value == "works"
    models = of(report, "models")
    assert list(models) == EMBEDDED
    assert all(fact.value.startswith("verified, ") for fact in models.values())
    assert of(report, "threads")["used"].value == str(threads.cpu_count())


def test_each_fact_is_one_line_and_the_requested_device_is_last() -> None:
    result = invoke()
    lines = result.stdout.splitlines()
    assert (result.exit_code, lines[0], lines[-2]) == (0, "versions", "requested")
    assert lines[-1] == "  device cpu  works: CPUExecutionProvider (the default)"
    assert all(line in SECTIONS or line[:2] in {"  ", "? ", "! "} for line in lines)


@no_driver
def test_a_gpu_that_cannot_work_is_a_problem_with_its_cure_and_exit_code_1() -> None:
    result = invoke("--device", "gpu")
    *_, asked, why = result.stdout.splitlines()
    assert (result.exit_code, asked) == (1, "! device gpu  does not work")
    assert "CUDAExecutionProvider" in why
    assert " install " in why


@no_driver
def test_auto_works_everywhere() -> None:
    result = invoke("--device", "auto")
    assert result.exit_code == 0
    assert "device auto  works: CPUExecutionProvider (device auto: no usable GPU: " in result.stdout


def test_providers_are_asked_for_by_name() -> None:
    assert invoke("--provider", "CPUExecutionProvider").exit_code == 0
    result = invoke("--provider", "NoSuchExecutionProvider")
    assert (result.exit_code, "NoSuchExecutionProvider is not in" in result.stdout) == (1, True)


def test_an_unknown_device_is_an_error() -> None:
    with pytest.raises(OptionError, match="device is 'tpu'"):
        diagnose("tpu")


def test_the_json_has_every_fact_and_the_placement() -> None:
    found = json.loads(invoke("--json").stdout)
    assert found.keys() == {"works", "facts", "placement"}
    assert found["works"] is True
    assert found["placement"] == {
        "providers": [{"name": "CPUExecutionProvider", "options": {}}],
        "reason": "the default",
        "mode": "standard",
        "build_missing": False,
        "only": None,
        "others": [],
    }
    assert all(fact.keys() == {"section", "name", "value", "state", "explanation"} for fact in found["facts"])
    assert {fact["section"] for fact in found["facts"]} >= set(SECTIONS) - {"libraries"}
    assert json.loads(invoke("--json", "--provider", "NoSuchProvider").stdout)["placement"] is None


@no_driver
def test_missing_libraries_of_a_gpu_wheel_are_listed(gpu_wheel: None) -> None:
    report = diagnose("gpu")
    assert not report.works
    assert of(report, "libraries")["libcuda.so.1"] == Fact(
        "libraries", "libcuda.so.1", "missing: cannot open shared object file: No such file or directory", "warning"
    )
    assert "libnvinfer.so.10" in of(report, "libraries")
    providers = of(report, "providers")
    assert [name for name, fact in providers.items() if fact.state == "ok"][:1] == ["CPUExecutionProvider"]
    assert providers["CUDAExecutionProvider"].explanation.startswith(
        "CUDAExecutionProvider cannot start: there is no NVIDIA"
    )
    assert of(report, "onnxruntime")["built for CUDA"].value == "13.0"


def test_a_wheel_for_cpus_needs_no_libraries() -> None:
    assert not any(libraries.needed(name) for name in CPU_WHEEL.providers)


def test_two_wheels_at_once_are_noted_and_the_cpu_works_still(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxruntime", "onnxruntime-gpu"):
        info = tmp_path / f"{name.replace('-', '_')}-1.31.1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.31.1\n")
    monkeypatch.syspath_prepend(tmp_path)
    report = diagnose()
    package = of(report, "onnxruntime")["package"]
    assert (package.state, package.value) == ("warning", "onnxruntime 1.31.1 and onnxruntime-gpu 1.31.1")
    assert "pip uninstall -y onnxruntime onnxruntime-gpu, then" in package.explanation
    assert report.works


def test_a_changed_model_is_reported(home: Path) -> None:
    (home / "mine.onnx").write_bytes(b"no model")
    report = diagnose()
    mine = of(report, "models")["mine"]
    assert (mine.state, mine.value, report.works) == ("warning", "damaged", True)
    assert "mine.onnx has no receipt" in mine.explanation


def test_without_onnx_runtime_the_other_facts_are_printed_and_the_exit_code_is_1(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ocr_onnx", "doctor"]
    environment = os.environ | backends.hide(tmp_path, "onnxruntime")
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert f"! package  none\n    ONNX Runtime is not installed: pip install {requirement('cpu')}" in done.stdout
    assert "verified, " in done.stdout


def test_a_package_that_cannot_be_imported_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "MODULES", {"no_such_module": "pyclipper"})
    report = diagnose()
    fact = of(report, "versions")["pyclipper"]
    assert (fact.state, fact.value, report.works) == ("error", "cannot be imported", False)
    assert "pip install --force-reinstall pyclipper" in fact.explanation


def test_secrets_of_the_environment_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCR_ONNX_PDF_PASSWORD", "open sesame")
    monkeypatch.setenv("OCR_ONNX_OFFLINE", "1")
    output = invoke("--json").stdout
    assert "open sesame" not in output
    assert '"OCR_ONNX_OFFLINE"' in output
