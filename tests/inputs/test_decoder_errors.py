"""Whatever a decoder raises becomes an InputError of the input or page that it belongs to; other inputs and pages are read."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageCms
import pypdfium2
import pytest
from conftest import RGB, encoded, pdf

from ocr_onnx import InputOptions
from ocr_onnx.errors import InputError, NotEnoughMemoryError, UnreadableImageError, UnsupportedInputError
from ocr_onnx.inputs import decoder_errors, sources
from ocr_onnx.inputs.sources import read_pages_or_errors
from ocr_onnx.runtime import memory
from ocr_onnx.types import Page

SMALL = RGB.resize((90, 52))


class StrangeError(Exception):
    """No exception that the package knows."""


RAISED = [
    KeyError(34712),
    MemoryError(),
    StrangeError("from another library"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    PIL.ImageCms.PyCMSError("cannot build transform"),
    ZeroDivisionError(),
    AssertionError(),
    RecursionError(),
    AttributeError("no such tag"),
    StopIteration(),
    PIL.UnidentifiedImageError("an embedded image"),
    EOFError(),
    cv2.error("OpenCV: assertion failed"),
]


def raising(error: Exception) -> Callable[..., Any]:
    def fake(*_: Any, **__: Any) -> Any:
        raise error

    return fake


def described(outcomes: Any) -> list[str | int | None]:
    """The page numbers of errors as text, the indices of pages as numbers."""
    return [f"error of {each.page}" if isinstance(each, InputError) else each.index for each in outcomes]


@pytest.mark.parametrize("error", RAISED, ids=repr)
@pytest.mark.parametrize(
    ("owner", "function", "data"),
    [
        (PIL.Image, "open", encoded(SMALL, "PNG")),
        (cv2, "imdecode", encoded(SMALL, "JPEG")),
        (PIL.Image.Image, "convert", encoded(SMALL, "GIF")),
        (PIL.Image.Image, "convert", encoded(SMALL, "TIFF")),
        (pypdfium2, "PdfDocument", pdf((50, 50))),
        (pypdfium2.PdfPage, "render", pdf((50, 50))),
        (pypdfium2.PdfPage, "get_size", pdf((50, 50))),
    ],
    ids=lambda value: str(value)[:30],
)
def test_an_exception_of_a_decoder_becomes_an_error_of_this_package(
    error: Exception, owner: Any, function: str, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, function, raising(error))
    outcomes = list(read_pages_or_errors([data, np.zeros((5, 6), np.uint8)]))
    assert isinstance(outcomes[-1], Page)
    for outcome in outcomes[:-1]:
        # Pillow decodes what OpenCV refuses.
        assert isinstance(outcome, UnreadableImageError | NotEnoughMemoryError | Page), outcome
    assert len(outcomes) == 2


@pytest.mark.parametrize("error", RAISED, ids=repr)
def test_an_exception_of_a_pillow_image_becomes_an_error_of_this_package(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = SMALL.copy()
    monkeypatch.setattr(picture, "convert", raising(error))
    monkeypatch.setattr(picture, "load", raising(error))
    (outcome,) = read_pages_or_errors(picture)
    assert isinstance(outcome, UnreadableImageError | NotEnoughMemoryError)


def test_an_exception_of_the_users_generator_is_not_converted() -> None:
    def inputs() -> Any:
        yield np.zeros((5, 6), np.uint8)
        raise StrangeError

    with pytest.raises(StrangeError):
        list(read_pages_or_errors(inputs()))


def test_an_exception_of_a_file_object_becomes_an_error_of_this_package() -> None:
    class Broken(io.RawIOBase):
        def read(self, _: int = -1) -> bytes:
            raise StrangeError("connection reset")

    (error,) = read_pages_or_errors(Broken())
    assert isinstance(error, UnreadableImageError)
    assert "connection reset" in str(error)


def test_the_message_of_a_decoder_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PIL.Image, "open", raising(StrangeError("secret " * 1000)))
    (error,) = read_pages_or_errors(b"x")
    assert len(str(error)) < 600


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "GIF", "WEBP"])
def test_an_image_that_exceeds_the_memory_limit_is_refused_before_it_is_decoded(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encoded(PIL.Image.new("L", (6000, 4000)), form)
    monkeypatch.setattr(memory, "remaining", lambda: 2**20)
    monkeypatch.setattr(PIL.Image.Image, "convert", raising(AssertionError("decoded")))
    monkeypatch.setattr(cv2, "imdecode", raising(AssertionError("decoded")))
    (error,) = read_pages_or_errors(data)
    assert isinstance(error, NotEnoughMemoryError)
    assert "MB" in str(error)


def test_a_pdf_page_that_exceeds_the_memory_limit_costs_no_other_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "remaining", lambda: 2**20)
    outcomes = list(read_pages_or_errors(pdf((50, 50), (3000, 3000), (50, 50))))
    assert described(outcomes) == [0, "error of 2", 2]
    assert isinstance(outcomes[1], NotEnoughMemoryError)


def test_a_file_for_which_memory_is_lacking_costs_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, huge = tmp_path / "small.png", tmp_path / "huge.tif"
    small.write_bytes(encoded(SMALL, "PNG"))
    with huge.open("wb") as file:
        file.truncate(2**40)  # A sparse file.
    monkeypatch.setattr(memory, "remaining", lambda: 2**30)
    error, page = read_pages_or_errors([huge, small])
    assert isinstance(error, NotEnoughMemoryError)
    assert error.source == str(huge)
    assert isinstance(page, Page)


@pytest.mark.parametrize("kind", ["a path", "a file object", "named bytes"])
def test_a_lack_of_memory_while_a_file_is_read_is_an_error_of_that_file(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "page.png"
    path.write_bytes(encoded(SMALL, "PNG"))
    opened = path.open("rb")
    monkeypatch.setattr(Path, "read_bytes", raising(MemoryError()))
    monkeypatch.setattr(sources, "_read_stream", raising(MemoryError()))
    monkeypatch.setattr(sources, "_read_content", raising(MemoryError()))
    given: dict[str, Any] = {"a path": path, "a file object": opened, "named bytes": (str(path), b"x")}
    with opened:
        error, page = read_pages_or_errors([given[kind], np.zeros((5, 6), np.uint8)])
    assert isinstance(error, NotEnoughMemoryError)
    assert error.source == str(path)
    assert isinstance(page, Page)


def test_a_webp_that_exceeds_the_memory_limit_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "remaining", lambda: 2**20)
    monkeypatch.setattr(PIL.Image, "open", raising(AssertionError("opened")))
    (error,) = read_pages_or_errors(encoded(PIL.Image.new("L", (6000, 4000)), "WEBP"))
    assert isinstance(error, NotEnoughMemoryError)


# Pages.


def compression_of_page(data: bytes, number: int, value: int) -> bytes:
    """The TIFF with another compression (tag 259) for one page, counted from 0."""
    changed = bytearray(data)
    (at,) = struct.unpack_from("<I", changed, 4)
    for page in range(number + 1):
        (count,) = struct.unpack_from("<H", changed, at)
        entries = range(at + 2, at + 2 + 12 * count, 12)
        for entry in entries if page == number else ():
            if struct.unpack_from("<H", changed, entry)[0] == 259:
                struct.pack_into("<H", changed, entry + 8, value)
        (at,) = struct.unpack_from("<I", changed, at + 2 + 12 * count)
    return bytes(changed)


def tiff_of(*frames: PIL.Image.Image, **options: Any) -> bytes:
    return encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:], **options)


@pytest.mark.parametrize("compression", [34712, 34661, 9, 65000])
@pytest.mark.parametrize("bad", range(4))
def test_a_tiff_page_of_unknown_compression_costs_only_itself(bad: int, compression: int) -> None:
    data = compression_of_page(tiff_of(*[SMALL] * 4), bad, compression)
    outcomes = list(read_pages_or_errors(data))
    assert described(outcomes) == [f"error of {bad + 1}" if page == bad else page for page in range(4)]
    assert str(outcomes[bad]).startswith(f"page {bad + 1} of the input")
    assert "another format" in str(outcomes[bad])
    assert "0x" not in str(outcomes[bad])


@pytest.mark.parametrize("bad", range(3))
def test_a_tiff_page_of_too_many_pixels_costs_only_itself(bad: int) -> None:
    frames = [PIL.Image.new("L", (101, 100) if page == bad else (90, 52)) for page in range(3)]
    outcomes = read_pages_or_errors(tiff_of(*frames), InputOptions(max_megapixels=0.01))
    assert described(outcomes) == [f"error of {bad + 1}" if page == bad else page for page in range(3)]


def test_a_big_tiff_is_read_page_by_page() -> None:
    frames = [PIL.Image.new("L", (20 + page, 30), page) for page in range(3)]
    outcomes = list(read_pages_or_errors(tiff_of(*frames, big_tiff=True)))
    assert [each.image.shape[1] for each in outcomes if isinstance(each, Page)] == [20, 21, 22]


def test_the_pages_after_the_end_of_a_truncated_tiff_are_an_error() -> None:
    whole = tiff_of(*[SMALL] * 3)
    (first,) = struct.unpack_from("<I", whole, 4)
    (count,) = struct.unpack_from("<H", whole, first)
    (second,) = struct.unpack_from("<I", whole, first + 2 + 12 * count)
    assert described(read_pages_or_errors(whole[:second])) == [0, "error of 2"]


@pytest.mark.usefixtures("pdfs_in_this_process")
@pytest.mark.parametrize("bad", range(3))
def test_a_pdf_page_that_cannot_be_opened_costs_only_itself(bad: int, monkeypatch: pytest.MonkeyPatch) -> None:
    get = pypdfium2.PdfDocument.__getitem__

    def fake(self: pypdfium2.PdfDocument, index: int) -> pypdfium2.PdfPage:
        if index == bad:
            raise pypdfium2.PdfiumError("Failed to load page.")
        return get(self, index)

    monkeypatch.setattr(pypdfium2.PdfDocument, "__getitem__", fake)
    outcomes = list(read_pages_or_errors(pdf(*[(50, 50)] * 3)))
    assert described(outcomes) == [f"error of {bad + 1}" if page == bad else page for page in range(3)]


@pytest.mark.parametrize("box", [(100, 0, 150, 50), (-60, -60, -10, -10), (0, 50, 50, 90)])
def test_a_crop_box_outside_the_media_box_is_ignored(box: tuple[int, int, int, int]) -> None:
    document = pypdfium2.PdfDocument.new()
    document.new_page(50, 40).set_cropbox(*box)
    document.new_page(30, 40)
    buffer = io.BytesIO()
    document.save(buffer)
    assert [page.image.shape for page in sources.read_pages(buffer.getvalue())] == [(80, 100, 3), (80, 60, 3)]


def test_an_error_says_which_input_and_page_it_belongs_to(tmp_path: Any) -> None:
    tiff, text = tmp_path / "three.tif", tmp_path / "text.png"
    tiff.write_bytes(compression_of_page(tiff_of(*[SMALL] * 3), 1, 34712))
    text.write_bytes(b"text")
    missing = str(tmp_path / "missing.png")
    errors = [each for each in read_pages_or_errors([tiff, text, missing]) if isinstance(each, InputError)]
    assert [(error.source, error.page) for error in errors] == [(str(tiff), 2), (str(text), None), (missing, None)]


def test_only_the_pages_of_a_tiff_are_read_not_their_copies() -> None:
    def marked(size: tuple[int, int], **tags: int) -> PIL.Image.Image:
        picture = PIL.Image.new("L", size)
        picture.encoderinfo = {"tiffinfo": {int(tag[1:]): value for tag, value in tags.items()}}
        return picture

    frames = [marked((90, 52), t254=2), marked((45, 26), t254=1), marked((90, 53), t254=2), marked((22, 13), t255=2)]
    outcomes = list(read_pages_or_errors(tiff_of(*frames)))
    assert [(each.image.shape[:2], each.index, each.count) for each in outcomes if isinstance(each, Page)] == [
        ((52, 90), 0, 2),
        ((53, 90), 1, 2),
    ]
    (only,) = read_pages_or_errors(tiff_of(*frames[1:2]))
    assert isinstance(only, Page)


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_an_empty_pillow_crop_is_refused(size: tuple[int, int]) -> None:
    (error,) = read_pages_or_errors(RGB.crop((10, 10, 10 + size[0], 10 + size[1])))
    assert isinstance(error, UnsupportedInputError)
    assert "at least one pixel" in str(error)


def test_a_float_image_of_two_axes_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.zeros((52, 90), np.float32))
    (error,) = read_pages_or_errors(encoded(SMALL, "PNG"))
    assert isinstance(error, UnsupportedInputError)


def test_a_gray_result_of_opencv_becomes_three_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: np.full((52, 90), 7, np.uint8))
    (page,) = sources.read_pages(encoded(SMALL, "PNG"))
    assert page.image.shape == (52, 90, 3)


def test_the_limit_of_memory_of_opencv_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    error = cv2.error("Insufficient memory")
    error.code = cv2.Error.STS_NO_MEM
    with pytest.raises(NotEnoughMemoryError, match="needs more memory"), decoder_errors.decoder_errors("page.png"):
        raise error


@pytest.mark.usefixtures("pdfs_in_this_process")
@pytest.mark.parametrize("form", ["PDF", "TIFF"])
def test_a_file_of_many_bad_pages_ends_after_a_hundred(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pypdfium2.PdfPage, "render", raising(StrangeError("no")))
    monkeypatch.setattr(PIL.Image.Image, "convert", raising(StrangeError("no")))
    tiny = [PIL.Image.new("L", (2, 2))] * 103
    outcomes = list(read_pages_or_errors(pdf(*[(5, 5)] * 103) if form == "PDF" else tiff_of(*tiny)))
    assert described(outcomes) == [*(f"error of {page}" for page in range(1, 101)), "error of None"]
    assert "after page 100 are skipped" in str(outcomes[-1])
