"""Decoding in processes of their own: the same pages as in this one, and what hostile files and killed processes do."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Literal

import numpy as np
import PIL.Image
import pytest
from bombs import document, drawing, form, gif, nested_forms, png, resident, slow, tiff
from conftest import PAGES, PATIENCE, RGB, encoded, only, pdf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocr_onnx import InputOptions
from ocr_onnx.errors import (
    ImageTooLargeError,
    InputError,
    InputNotFoundError,
    NotEnoughMemoryError,
    UnreadableImageError,
)
from ocr_onnx.inputs import images
from ocr_onnx.inputs.decoding import Decoder
from ocr_onnx.inputs.decoding_client import DecodeLimits
from ocr_onnx.inputs.sources import unwrap
from ocr_onnx.types import Page

TINY = (PAGES / "tiny.png").read_bytes()
THREE = pdf((50, 40), (60, 40), (70, 40))
TIGHT = DecodeLimits(memory=2**28, cpu_seconds=1, wall_seconds=PATIENCE)
"""A tenth of the memory and of the processor time that the bombs below would take, and as much time as they need for them."""

Kind = Literal["image", "pdf"]


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    with closing(Decoder(DecodeLimits(), 1)) as found:
        yield found


@pytest.fixture(scope="module")
def tight() -> Iterator[Decoder]:
    with closing(Decoder(TIGHT, 1)) as found:
        list(found.pages(TINY, "image", InputOptions()))
        yield found


def pages(decoder: Decoder, data: bytes, kind: Kind = "image", options: InputOptions | None = None) -> list[Page]:
    with closing(decoder.pages(data, kind, InputOptions() if options is None else options)) as found:
        return list(map(unwrap, found))


@pytest.mark.skipif("AVIF" not in images.FORMATS, reason="this Pillow cannot decode AVIF")
def test_avif_is_decoded(decoder: Decoder) -> None:
    data = encoded(RGB, "AVIF")
    assert np.array_equal(pages(decoder, data)[0].image, only(data))


@pytest.mark.parametrize("name", ["tiny.png", "noisy.jpg"])
def test_an_image_decodes_as_it_does_in_this_process(decoder: Decoder, name: str) -> None:
    data = (PAGES / name).read_bytes()
    (page,) = pages(decoder, data)
    assert np.array_equal(page.image, only(data))
    assert (page.path, page.index, page.count) == (None, None, None)


def test_the_caller_may_change_the_pixels(decoder: Decoder) -> None:
    (page,) = pages(decoder, TINY)
    page.image[:] = 7
    (again,) = pages(decoder, TINY)
    assert (page.image == 7).all()
    assert np.array_equal(again.image, only(TINY))
    assert page.image.flags.c_contiguous


def test_the_pages_of_a_pdf_come_in_order(decoder: Decoder) -> None:
    found = pages(decoder, THREE, "pdf", InputOptions(pdf_pages="2-", pdf_scale=1))
    assert [(p.index, p.count, p.image.shape) for p in found] == [(1, 3, (40, 60, 3)), (2, 3, (40, 70, 3))]


def test_the_frames_of_a_tiff_come_in_order(decoder: Decoder) -> None:
    tiff = encoded(RGB, "TIFF", save_all=True, append_images=[RGB.rotate(90, expand=True)])
    assert [p.image.shape[:2] for p in pages(decoder, tiff)] == [RGB.size[::-1], RGB.size]


def test_at_most_max_pages_are_decoded() -> None:
    tiff = encoded(RGB, "TIFF", save_all=True, append_images=[RGB] * 4)
    with closing(Decoder(DecodeLimits(max_pages=2), 1)) as decoder:
        assert [p.index for p in pages(decoder, THREE, "pdf")] == [0, 1]
        assert [p.index for p in pages(decoder, tiff)] == [0, 1]
        assert len(pages(decoder, TINY)) == 1


def test_options_reach_the_process(decoder: Decoder) -> None:
    with pytest.raises(ImageTooLargeError, match="reduce it, or split it into parts"):
        pages(decoder, TINY, options=InputOptions(max_megapixels=1e-6))


@pytest.mark.parametrize(
    ("data", "kind", "error", "text"),
    [
        (b"", "image", UnreadableImageError, "is empty"),
        (b"", "pdf", UnreadableImageError, "is empty"),
        (b"hello", "image", UnreadableImageError, "is neither a PDF nor an image of a supported format"),
        (TINY[:-30], "image", UnreadableImageError, "is truncated"),
        (THREE[:200], "pdf", UnreadableImageError, "cannot be opened as a PDF"),
        (THREE, "image", UnreadableImageError, "is a PDF, not an image: send it with"),
        (TINY, "pdf", UnreadableImageError, "is not a PDF: send an image with"),
    ],
)
def test_errors_of_the_process_are_raised_unchanged(
    decoder: Decoder, data: bytes, kind: Kind, error: type[InputError], text: str
) -> None:
    with pytest.raises(error, match=text) as caught:
        pages(decoder, data, kind)
    assert type(caught.value) is error


def test_missing_pages_are_named_in_the_error(decoder: Decoder) -> None:
    with pytest.raises(InputNotFoundError, match="has 3 pages and none of the requested pages 7"):
        pages(decoder, THREE, "pdf", InputOptions(pdf_pages="7"))


REFUSED = (ImageTooLargeError, NotEnoughMemoryError, UnreadableImageError)

BOMBS: dict[str, tuple[Kind, Callable[[], bytes]]] = {
    "a PNG of 400 megapixels": ("image", lambda: png(20_000, 20_000, 20_000)),
    "a PNG that fits the pixels and not the memory": ("image", lambda: png(13_000, 13_000, 13_000)),
    "a PNG that says it is huge": ("image", lambda: png(2**31 - 1, 2**31 - 1, 0)),
    "a GIF that says it is huge": ("image", lambda: gif(1, 2**16 - 1)),
    "a TIFF that says it is huge": ("image", lambda: tiff(2**31 - 1, 2**31 - 1)),
    "a TIFF of huge tiles": ("image", lambda: tiff(100, 100, (322, 2**17), (323, 2**17), (324, 8), (325, 1))),
    "a TIFF of a million frames": ("image", lambda: tiff(10, 10, frames=1_000_000)),
    "a PDF that draws without end": ("pdf", lambda: drawing(b"0 0 600 800 re f\n" * 3_000_000)),
    "a PDF that takes long to draw": ("pdf", slow),
    "a PDF of forms in forms": ("pdf", lambda: nested_forms(12, 20)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_decompression_bombs_are_refused_within_the_limits_and_the_next_image_is_read(
    tight: Decoder, name: str
) -> None:
    kind, make = BOMBS[name]
    data = make()
    before, begin = resident(), time.monotonic()
    with pytest.raises(REFUSED):
        pages(tight, data, kind)
    assert time.monotonic() - begin < TIGHT.wall_seconds
    assert np.array_equal(pages(tight, TINY)[0].image, only(TINY))
    assert resident() - before < 2**25


HARMLESS: dict[str, tuple[Kind, Callable[[], bytes]]] = {
    "a PNG whose text unpacks to 200 MB": (
        "image",
        lambda: png(1000, 1000, 1000, (b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000_000), 9))),
    ),
    "a PNG of more rows than it says": ("image", lambda: png(1000, 1000, 400_000)),
    "a GIF of many frames": ("image", lambda: gif(20_000)),
    "an endless page": ("pdf", lambda: drawing(b"0 0 1 1 re f", box=b"0 0 1e30 1e30")),
    "a form that draws itself": (
        "pdf",
        lambda: drawing(b"/F Do", form(b"/F Do /F Do", b"/XObject<</F 5 0 R>>"), resources=b"/XObject<</F 5 0 R>>"),
    ),
    "a tree of pages that is its own branch": (
        "pdf",
        lambda: document(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[2 0 R 2 0 R]/Count 9>>"),
    ),
    "arrays in arrays": ("pdf", lambda: document(b"<</Type/Catalog/Pages 2 0 R>>", b"[" * 1_000_000)),
    "unbalanced states": ("pdf", lambda: drawing(b"q " * 5_000_000)),
    "a hundred million pages": (
        "pdf",
        lambda: document(b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[]/Count 100000000>>"),
    ),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_other_decompression_bombs_are_read_or_refused_within_the_limits(tight: Decoder, name: str) -> None:
    kind, make = HARMLESS[name]
    data = make()
    before, begin = resident(), time.monotonic()
    try:
        with closing(tight.pages(data, kind, InputOptions(max_megapixels=20))) as outcomes:
            found = next(map(unwrap, outcomes), None)
    except InputError:
        found = None
    assert found is None or found.image.size <= 60_000_000
    del found
    assert time.monotonic() - begin < TIGHT.wall_seconds
    assert np.array_equal(pages(tight, TINY)[0].image, only(TINY))
    assert resident() - before < 2**25


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_files_are_read_or_refused(tight: Decoder, data: st.DataObject) -> None:
    small = encoded(RGB.resize((40, 30)), "TIFF")
    files: list[tuple[Kind, bytes]] = [("image", TINY), ("pdf", THREE), ("image", small), ("image", gif(3))]
    kind, whole = data.draw(st.sampled_from(files))
    damaged = bytearray(whole)
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), max_size=8)):
        damaged[place] = value
    try:
        pages(tight, bytes(damaged), kind, InputOptions(max_megapixels=4))
    except InputError as error:
        told = str(error)
    else:
        told = ""
    assert "ended the process" not in told


def test_a_page_that_cannot_be_decoded_costs_no_other_page(decoder: Decoder) -> None:
    frames = [PIL.Image.new(mode, (20, 30)) for mode in ("L", "F", "L")]
    data = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    first, error, last = decoder.pages(data, "image", InputOptions())
    assert isinstance(first, Page)
    assert isinstance(error, UnreadableImageError)
    assert isinstance(last, Page)
    assert (first.index, error.page, last.index) == (0, 2, 2)
    assert len(pages(decoder, TINY)) == 1
