"""What several tests need: the real engine, a metadata record of each task, and the pages."""

from __future__ import annotations

import hashlib
import io
import signal
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import PIL.Image
import pypdfium2
import pytest
from numpy.typing import NDArray

from ocr_onnx import OCR, Models, OCROptions
from ocr_onnx.inputs import documents, sources
from ocr_onnx.inputs.pdf import PdfiumDocument
from ocr_onnx.models import store
from ocr_onnx.models.metadata import ModelMetadata
from ocr_onnx.runtime.provider_errors import InstalledRuntime

PAGES = Path(__file__).parent / "pages"

PATIENCE = 180.0
"""Seconds after which something hangs: nothing takes as long, on however busy a machine."""

# A shell has the processes that it starts in the background ignore Ctrl-C, and their children too.
signal.signal(signal.SIGINT, signal.default_int_handler)

# On a machine with other work a case may take any time.
hypothesis.settings.register_profile("few", deadline=None, max_examples=25)
hypothesis.settings.register_profile("many", deadline=None)
hypothesis.settings.load_profile("few")

Array = NDArray[np.uint8]
RGB = PIL.Image.open(PAGES / "letter.png").convert("RGB")

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DETECTION = ModelMetadata("det", "text_detection", "BGR", 1 / 255, MEAN, STD, postprocess={"max_candidates": 1000})
RECOGNITION = ModelMetadata(
    "rec", "text_recognition", "BGR", 1 / 255, (0.5,) * 3, (0.5,) * 3, (3, 48, 320), charset=tuple("abcde ")
)
PAGE = ModelMetadata(
    "page", "doc_orientation", "RGB", 1 / 255, MEAN, STD, (3, 224, 224), resize_short=256, labels=("0", "90")
)
LINE = ModelMetadata("line", "textline_orientation", "RGB", 1 / 255, MEAN, STD, (3, 80, 160), labels=("0", "180"))
UNWARPING = ModelMetadata("UVDoc", "image_unwarping", "BGR", 1 / 255, (0.0,) * 3, (1.0,) * 3)


VERSION_5 = Models("PP-OCRv5_mobile_det", "PP-OCRv5_mobile_rec")
"""The models of most recordings, which PaddleOCR read with its own defaults."""

OFF = OCROptions(use_doc_orientation_classify=False, use_textline_orientation=False)
"""Both orientation stages off."""


@pytest.fixture(scope="session")
def ocr() -> OCR:
    """The engine with PaddleOCR's defaults and the models of the recordings."""
    return OCR(OCROptions.paddleocr(), models=VERSION_5)


@pytest.fixture
def version_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder for models with PP-OCRv4 in it: the embedded models under its names, where the recognizer reads F as f."""
    from graphs import with_metadata

    def read_otherwise(metadata: ModelMetadata) -> ModelMetadata:
        charset = tuple("f" if character == "F" else character for character in metadata.charset)
        return replace(metadata, name="PP-OCRv4_mobile_rec", charset=charset)

    home = tmp_path / "home"
    home.mkdir()
    with_metadata("PP-OCRv5_mobile_det", home, lambda metadata: replace(metadata, name="PP-OCRv4_mobile_det"))
    with_metadata("PP-OCRv5_mobile_rec", home, read_otherwise)
    monkeypatch.setenv(store.HOME_VARIABLE, str(home))


def only(source: Any) -> Array:
    (page,) = sources.read_pages(source)
    return page.image


def encoded(picture: PIL.Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


@pytest.fixture
def pdfs_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """PDFium runs in this process, where a test replaces parts of it."""
    monkeypatch.setattr(documents, "open_pdf", PdfiumDocument)


def pdf(*sizes: tuple[int, int]) -> bytes:
    document = pypdfium2.PdfDocument.new()
    for width, height in sizes:
        document.new_page(width, height)
    buffer = io.BytesIO()
    document.save(buffer)
    return buffer.getvalue()


def near(found: Array, expected: PIL.Image.Image, tolerance: float) -> bool:
    difference = found.astype(int) - np.asarray(expected.convert("RGB"))[:, :, ::-1]
    return float(np.abs(difference).mean()) < tolerance


def rc4(key: bytes, data: bytes) -> bytes:
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i, j, out = 0, 0, bytearray()
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)


def locked_pdf(password: str) -> bytes:
    """A page of 50 x 40 points that opens with a password: the standard handler, revision 2, RC4 of 40 bits."""
    data = pdf((50, 40))
    identity = bytes.fromhex(data.partition(b"/ID[<")[2].partition(b">")[0].decode())
    padding = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")
    padded = (password.encode() + padding)[:32]
    owner = rc4(hashlib.md5(padded, usedforsecurity=False).digest()[:5], padded)
    key = hashlib.md5(padded + owner + struct.pack("<i", -4) + identity, usedforsecurity=False).digest()[:5]
    user = rc4(key, padding)
    trailer = f"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O<{owner.hex()}>/U<{user.hex()}>>>"
    return data.replace(b"/Root", trailer.encode() + b"/Root")


CPU_WHEEL = InstalledRuntime({"onnxruntime": "1.32.0"}, ("AzureExecutionProvider", "CPUExecutionProvider"))

GPU_WHEEL = InstalledRuntime(
    {"onnxruntime-gpu": "1.31.1"},
    ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
    "13.0",
)
