"""Errors that people can act on: hostile values for every parameter of the public interface, and what each error says.

No other exception than this package's may leave a public call, and each names the thing, the cause and the remedy.
"""

from __future__ import annotations

import inspect
import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import OFF, PAGES

import ocr_onnx
from ocr_onnx import (
    OCR,
    DetectionOptions,
    InputOptions,
    LineOrientationOptions,
    Models,
    OCROptions,
    PaddleOCR,
    PageOrientationOptions,
    RecognitionOptions,
    TextDetection,
)
from ocr_onnx import pipeline as pipeline_module
from ocr_onnx.converters import convert
from ocr_onnx.errors import MAX_SHOWN, OCRError, shortened
from ocr_onnx.models import download, store
from ocr_onnx.stages.loading import Stages

pytestmark = pytest.mark.usefixtures("offline")

Attempt = Callable[[Any], object]

VALUES: tuple[Any, ...] = (
    None,
    True,
    7,
    -0.5,
    float("inf"),
    float("nan"),
    2**70,
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "x" * 5000,
    "y/" * 3000,
    "nothing.png",
    "nothing.onnx",
    "http://",
    "http://[::1",
    "https://exa mple/\n",
    "file:///etc/passwd",
    "~nobody/x.png",
    b"",
    b"x",
    b"\x89PNG\r\n\x1a\n",
    [None],
    [[[7]]],
    {"a": 1},
    (1, b"x"),
    ("a.png", b""),
    object(),
    Exception,
    len,
    np.zeros(0),
    np.zeros((2, 2, 9), np.uint8),
    np.full((5, 5, 3), np.nan),
    np.zeros((0, 5, 3), np.uint8),
    np.array("x"),
    np.array([object()]),
    io.BytesIO(b""),
    io.StringIO("x"),
)
"""Values of many types, most of which a parameter cannot have."""

REMEDY = re.compile(
    r"[:;,] .*\b(must be|give|use|run|check|choose|download|convert|export|save|install|call|open|scale|free|set|correct|change|see|did you mean|"
    r"must contain|may contain|remove|is not needed|pip install|read)\b",
    re.DOTALL,
)
"""The last part of a message: what to do."""

LONGEST = 1000
"""Characters of a message, without the value, which is cut after MAX_SHOWN."""


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of an official model must not begin a download."""
    monkeypatch.setenv(download.OFFLINE_VARIABLE, "1")


def files(folder: Path) -> Iterator[Path]:
    """Paths that cannot be read or written as they are."""
    (folder / "empty").mkdir()
    for name, content in {
        "zero.png": b"",
        "bad.pdf": b"%PDF-1.7 x",
        "a.txt": b"x",
        "OCR.yaml": b"a: [",
        "bad.onnx": b"x",
    }.items():
        (folder / name).write_bytes(content)
    (folder / "loop").symlink_to(folder / "loop")
    yield from sorted(folder.iterdir())
    yield folder / "a.txt" / "b.json"
    yield Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png"))
    if Path("/proc/self/mem").exists():
        (folder / "memory.png").symlink_to("/proc/self/mem")
        yield folder / "memory.png"
        yield Path("/proc/x.json")


def problem(error: BaseException, value: object, name: str) -> str | None:
    """What is wrong with an error; None: nothing."""
    message = str(error)
    if not isinstance(error, OCRError):
        return f"{type(error).__name__} leaves the call: {message}"
    if REMEDY.search(message) is None:
        return f"there is no remedy: {message}"
    if len(message) > LONGEST + MAX_SHOWN:
        return f"it has {len(message)} characters: {message[:200]}"
    shown = repr(value)[: MAX_SHOWN // 2].strip("'")
    parts = value if isinstance(value, tuple | list) else (value,)
    kinds = ("input", "array", "image", "file", "path", "model", "output format", "paddlex_config")
    names = (name.removesuffix("s"), *kinds, shown, *(str(part)[: MAX_SHOWN // 2] for part in parts))
    return None if any(each in message for each in names) else f"it does not name what is wrong: {message}"


def problems(name: str, attempt: Attempt, values: tuple[Any, ...]) -> Iterator[str]:
    for value in values:
        try:
            attempt(value)
        except BaseException as error:  # noqa: BLE001 it is what is searched for
            if (found := problem(error, value, name)) is not None:
                yield f"{name}, given {value!r:.80}: {found}"


@pytest.fixture(scope="module")
def stages() -> Stages:
    return OCR()._stages


def parameters(made: Callable[..., object]) -> list[str]:
    return [name for name, each in inspect.signature(made).parameters.items() if each.kind is not each.VAR_KEYWORD]


RECORDS = (
    OCROptions,
    DetectionOptions,
    RecognitionOptions,
    InputOptions,
    LineOrientationOptions,
    PageOrientationOptions,
)


@pytest.mark.parametrize("record", RECORDS)
def test_options(record: type) -> None:
    for each in fields(record):
        assert list(problems(each.name, lambda value, name=each.name: record(**{name: value}), VALUES)) == []  # type: ignore[misc]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", parameters(OCR))
def test_parameters_of_the_pipeline(name: str, stages: Stages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_module, "load_stages", lambda *_: stages)
    monkeypatch.setattr(pipeline_module, "_download_missing", lambda *_: None)
    assert list(problems(name, lambda value: OCR(**{name: value}), VALUES)) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["text_detection", "text_recognition", "textline_orientation"])
def test_models(name: str, tmp_path: Path) -> None:
    values = (*VALUES, *files(tmp_path))
    assert list(problems(name, lambda value: OCR(models=Models(**{name: value})), values)) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", parameters(PaddleOCR))
def test_parameters_of_paddleocr(name: str, stages: Stages, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pipeline_module, "load_stages", lambda *_: stages)
    monkeypatch.setattr(pipeline_module, "_download_missing", lambda *_: None)
    values = (*VALUES, *files(tmp_path)) if name.endswith(("_dir", "config")) else VALUES
    assert list(problems(name, lambda value: PaddleOCR(**{name: value}), values)) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", ["model_name", "model_dir", "device", "cpu_threads", "thresh", "limit_side_len", "engine"]
)
def test_parameters_of_a_single_model(name: str, tmp_path: Path) -> None:
    values = (*VALUES, *files(tmp_path)) if name == "model_dir" else VALUES
    assert list(problems(name, lambda value: TextDetection(**{name: value}), values)) == []


@pytest.mark.filterwarnings("ignore")
def test_inputs(ocr: OCR, tmp_path: Path) -> None:
    values = (*VALUES, *files(tmp_path))
    assert list(problems("input", lambda value: list(ocr.predict(value)), values)) == []


@pytest.mark.parametrize("method", ["save", "save_to_json", "save_to_img", "several", "format"])
def test_places_of_results(method: str, ocr: OCR, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = ocr.predict(PAGES / "blank.png", options=OFF)[0]
    places = tuple(files(tmp_path))
    attempts: dict[str, Attempt] = {
        "several": lambda value: ocr_onnx.save([result], value),
        "format": lambda value: result.save(tmp_path / "out.txt", value),
    }
    monkeypatch.chdir(tmp_path)
    attempt = attempts.get(method) or getattr(result, method)
    assert list(problems("path", attempt, (*VALUES, *places))) == []


@pytest.mark.parametrize("given", ["source", "target"])
def test_conversion(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = tuple(files(tmp_path))
    monkeypatch.chdir(tmp_path)
    attempt: Attempt = (
        (lambda value: convert(value, tmp_path / "made.onnx"))
        if given == "source"
        else (lambda value: convert(tmp_path, value))
    )
    assert list(problems(given, attempt, (*VALUES, *places))) == []


@pytest.mark.parametrize("function", [store.find, store.verify])
def test_names_of_models(function: Attempt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(store.HOME_VARIABLE, str(tmp_path))
    assert list(problems("name", function, VALUES)) == []


def test_a_message_without_a_remedy_or_a_name_is_noticed() -> None:
    assert problem(OSError("x"), 7, "a") == "OSError leaves the call: x"
    assert "no remedy" in (problem(OCRError("a is 7"), 7, "a") or "")
    assert "name" in (problem(OCRError("wrong: give another"), 7, "size") or "")
    assert problem(OCRError("a is 7: it must be 8"), 7, "a") is None


def test_a_long_value_keeps_its_beginning_and_its_end() -> None:
    path = f"/home/{'a' * 200}/invoice 7.pdf"
    assert shortened("short.png") == "short.png"
    assert shortened(path).startswith("/home/aaa")
    assert shortened(path).endswith("…aaaaaaaaaaaaaaa/invoice 7.pdf"[-20:])
    assert len(shortened("x" * 10**6)) == MAX_SHOWN + 1
    assert shortened("\x1b[31m\0") == "\ufffd[31m\ufffd"
