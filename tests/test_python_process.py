"""Supervisor that this package starts run no code of the current folder."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from conftest import PAGES

import ocr_onnx
from ocr_onnx import python_process
from ocr_onnx.converters import environment, toolchain
from ocr_onnx.converters.paddle import run_paddle
from ocr_onnx.errors import ConversionError, OCRError
from ocr_onnx.inputs.decoding import Decoder
from ocr_onnx.inputs.decoding_client import DecodeLimits
from ocr_onnx.models import download, store
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.options import InputOptions
from ocr_onnx.runtime.session import Session

PACKAGE = Path(ocr_onnx.__file__).parent

MODULES = ("pip", "onnx", "json", "numpy", "cv2", "venv", "runpy", "tempfile", "signal", "ocr_onnx", "sitecustomize")


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that any of the modules in the current folder writes when it is imported."""
    marker, folder = tmp_path / "ran", tmp_path / "hostile"
    text = f"open({str(marker)!r}, 'a').write(__name__ + chr(10))\n"
    for name in (*MODULES, "multiprocessing/__init__"):
        file = folder / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")
    monkeypatch.chdir(folder)
    return marker


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from, in place of the network; it holds one of ocr-onnx-nothing 1.0."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    information = "ocr_onnx_nothing-1.0.dist-info"
    with zipfile.ZipFile(folder / "ocr_onnx_nothing-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{information}/METADATA", "Metadata-Version: 2.1\nName: ocr-onnx-nothing\nVersion: 1.0\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")
    for name, value in (("PIP_NO_INDEX", "1"), ("PIP_FIND_LINKS", str(folder)), ("PIP_CONFIG_FILE", os.devnull)):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OCR_ONNX_HOME", str(tmp_path / "home"))
    return folder


def test_a_package_is_fetched_without_running_the_current_folder(ran: Path, index: Path, tmp_path: Path) -> None:
    wheel = download.fetch_package("ocr-onnx-nothing==1.0", tmp_path / "fetched")
    assert (wheel.name, ran.exists()) == ("ocr_onnx_nothing-1.0-py3-none-any.whl", False)


def test_graph_tools_are_installed_without_running_the_current_folder(
    ran: Path, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (wheel,) = index.iterdir()
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"ocr-onnx-nothing==1.0 --hash=sha256:{store.sha256(wheel)}\n", "utf-8")
    monkeypatch.setattr(environment, "LOCK", lock)
    monkeypatch.setattr(toolchain, "PACKAGES", ("ocr-onnx-nothing",))
    toolchain._fetch(toolchain._folder())
    assert list(toolchain._folder().glob("*.dist-info"))
    assert not ran.exists()


def test_a_graph_is_rewritten_without_running_the_current_folder(ran: Path, tmp_path: Path) -> None:
    source = tmp_path / "damaged.onnx"
    source.write_bytes(b"no graph")
    path = store.find("PP-LCNet_x1_0_textline_ori")
    metadata = ModelMetadata.from_properties(Session(path).properties, str(path))
    with pytest.raises(ConversionError, match="it is not an ONNX file"):
        toolchain._run(source, tmp_path / "made.onnx", metadata)
    assert not ran.exists()


def test_paddle_is_started_without_running_the_current_folder(ran: Path) -> None:
    with pytest.raises(ConversionError, match=r"nothing\.so"):
        run_paddle("export_old", "nothing.so", "model", "params", "raw.onnx", "17")
    assert not ran.exists()


def test_an_environment_is_asked_without_running_the_current_folder(ran: Path) -> None:
    assert "Usage" in environment.run(Path(sys.executable), "--help")
    assert environment._version(sys.executable) == f"{sys.version_info[0]}.{sys.version_info[1]}"
    assert not ran.exists()


def test_pictures_are_decoded_without_running_the_current_folder(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend("")
    decoder = Decoder(DecodeLimits(), 1)
    try:
        assert len(list(decoder.pages((PAGES / "tiny.png").read_bytes(), "image", InputOptions()))) == 1
    finally:
        decoder.close()
    assert not ran.exists()


def test_serving_processes_are_started_without_running_the_current_folder(ran: Path, tmp_path: Path) -> None:
    script = tmp_path / "ocr-onnx"
    script.write_text("from ocr_onnx.cli.main import main\nif __name__ == '__main__':\n    main()\n", "utf-8")
    command = [sys.executable, str(script), "serve", "--port", "0", "--workers", "2"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        listening = (line for line in process.stderr if json.loads(line)["message"] == "listening")
        assert len({json.loads(next(listening))["process"] for _ in range(2)}) == 2
        process.send_signal(signal.SIGTERM)
        process.communicate()
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, ran.exists()) == (0, False)


@pytest.mark.parametrize("executable", ["", "/usr/bin/uwsgi", "/opt/scanner/scanner", None])
def test_a_program_that_embeds_python_is_not_started_again(
    executable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    for command in (python_process.isolated, python_process.multiprocessing_context):
        with pytest.raises(OCRError, match="embeds Python"):
            command()


def test_a_frozen_program_is_not_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(OCRError, match="embeds Python"):
        python_process.function("ocr_onnx.cli.main")


@pytest.mark.parametrize("name", ["python", "python3.14t", "pypy3.11", ".python3-wrapped", "Python", "graalpy"])
def test_interpreters_are_known_by_their_names(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", f"/somewhere/{name}")
    assert python_process.interpreter() == f"/somewhere/{name}"


def builds_python_command(path: Path) -> bool:
    """Whether a module names the interpreter, chooses how multiprocessing starts it, or lists an option of it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in {"executable", "_base_executable", "get_context"}:
            return True
        listed = node.elts if isinstance(node, ast.List) else ()
        if any(isinstance(each, ast.Constant) and each.value in {"-c", "-m", "-I", "-P"} for each in listed):
            return True
    return False


def test_one_module_alone_builds_the_commands_of_python_processes() -> None:
    assert [path.stem for path in PACKAGE.rglob("*.py") if builds_python_command(path)] == ["python_process"]


def test_pyinstaller_finds_a_hook_for_the_data_files() -> None:
    (entry,) = (each for each in entry_points(group="pyinstaller40") if each.value.startswith("ocr_onnx."))
    (folder,) = entry.load()()
    assert "collect_data_files" in Path(folder, "hook-ocr_onnx.py").read_text("utf-8")
