"""PDFs and TIFFs: every page, in order, bounded; what is damaged is named."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from conftest import PAGES, RGB, encoded, locked_pdf, only, pdf

from ocr_onnx import InputOptions
from ocr_onnx.errors import (
    ImageTooLargeError,
    InputError,
    InputNotFoundError,
    UnreadableImageError,
)
from ocr_onnx.inputs import sources
from ocr_onnx.options import MAX_PIXELS


def test_every_page_of_a_tiff_is_read() -> None:
    frames = [PIL.Image.new("RGB", (20 + i, 30), (i * 50, 0, 0)) for i in range(3)]
    pages = list(sources.read_pages(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])))
    assert [(p.index, p.count, p.image.shape[1], int(p.image[0, 0, 2])) for p in pages] == [
        (0, 3, 20, 0),
        (1, 3, 21, 50),
        (2, 3, 22, 100),
    ]


def test_every_page_of_a_pdf_is_rendered_at_twice_its_points() -> None:
    pages = list(sources.read_pages(pdf((100, 50), (30, 40))))
    assert [(p.index, p.count, p.image.shape) for p in pages] == [(0, 2, (100, 200, 3)), (1, 2, (80, 60, 3))]


def test_the_resolution_of_a_pdf_page_is_that_of_rendering() -> None:
    (page,) = sources.read_pages(pdf((10, 10)), InputOptions(pdf_scale=3))
    assert (page.resolution, page.scale) == (216, 3)


def test_a_pdf_page_of_many_square_meters_is_rendered_smaller() -> None:
    image = only(pdf((14000, 14000)))
    assert 0.9 * MAX_PIXELS < image.shape[0] * image.shape[1] <= MAX_PIXELS


def test_a_pdf_is_known_by_its_contents(tmp_path: Path) -> None:
    path = tmp_path / "scan.jpg"
    path.write_bytes(pdf((50, 50)))
    assert only(path).shape == (100, 100, 3)


@pytest.mark.parametrize("form", ["TIFF", "GIF", "WEBP"])
def test_every_cut_of_several_frames_gives_pages_or_our_error(form: str) -> None:
    frames = [RGB.resize((90, 52)), RGB.resize((90, 52)).transpose(PIL.Image.Transpose.ROTATE_180)]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    outcomes = set()
    for length in range(0, len(data), max(1, len(data) // 60)):
        try:
            outcomes.add(len(list(sources.read_pages(data[:length]))))
        except InputError:
            outcomes.add(0)
    assert 0 in outcomes


def test_sixteen_bit_pages_are_decoded_one_by_one() -> None:
    frames = [PIL.Image.fromarray(np.full((30, 40), value, np.uint16)) for value in (0x9200, 0xB4FF)]
    pages = list(sources.read_pages(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])))
    assert [int(page.image[0, 0, 0]) for page in pages] == [0x92, 0xB4]


def test_an_image_that_contains_the_pdf_signature_is_an_image() -> None:
    assert only(encoded(RGB, "JPEG", comment=b"made from a %PDF-1.4 file")).shape == (520, 900, 3)


def test_an_extremely_wide_pdf_page_is_refused() -> None:
    data = pdf((200, 100))
    assert b"200 100" in data
    with pytest.raises(ImageTooLargeError, match="2000000000 x 1 pixels"):
        only(data.replace(b"200 100", b"1000000000 .001"))


def test_an_abandoned_pdf_does_not_block_other_threads() -> None:
    data = pdf((50, 50), (50, 50))
    for _ in range(60):
        holder: list[Any] = []
        pages = sources.read_pages(data)
        next(pages)
        holder += [pages, holder]
        del pages, holder
    gc.collect()
    assert len(list(sources.read_pages(data))) == 2


def test_an_encrypted_pdf_is_named() -> None:
    # RC4, 40 bits, from Adobe's manual: any user password but the empty one.
    trailer = b"/Encrypt<</Filter/Standard/V 1/R 2/P -4/O(" + b"o" * 32 + b")/U(" + b"u" * 32 + b")>>/ID[<00><00>]"
    data = pdf((50, 50)).replace(b"/Root", trailer + b"/Root")
    with pytest.raises(UnreadableImageError, match=r"assword.*save it without a password"):
        only(data)


def test_a_password_opens_an_encrypted_pdf() -> None:
    data = locked_pdf("sesame")
    (page,) = sources.read_pages(data, InputOptions(pdf_password="sesame"))
    assert page.image.shape == (80, 100, 3)
    for options in (None, InputOptions(pdf_password="barley")):
        with pytest.raises(UnreadableImageError, match="give its password as pdf_password"):
            list(sources.read_pages(data, options))


def test_a_password_does_not_affect_other_files() -> None:
    options = InputOptions(pdf_password="sesame")
    assert len(list(sources.read_pages([pdf((50, 50)), PAGES / "tiny.png"], options))) == 2


def test_the_pages_asked_for_keep_their_numbers() -> None:
    data = pdf(*((50 + i, 50) for i in range(6)))
    pages = list(sources.read_pages(data, InputOptions(pdf_pages="5-,2")))
    assert [(p.index, p.count, p.image.shape[1]) for p in pages] == [(1, 6, 102), (4, 6, 108), (5, 6, 110)]


def test_a_document_without_the_pages_asked_for_is_an_error() -> None:
    with pytest.raises(InputNotFoundError, match="has 2 pages and none of the requested pages 3-9"):
        list(sources.read_pages(pdf((50, 50), (50, 50)), InputOptions(pdf_pages="3-9")))


def test_a_page_of_a_tiff_that_cannot_be_read_is_named() -> None:
    data = encoded(PIL.Image.new("RGB", (20, 30)), "TIFF", save_all=True, append_images=[PIL.Image.new("F", (20, 30))])
    pages = sources.read_pages(data)
    assert next(pages).index == 0
    with pytest.raises(UnreadableImageError, match="page 2 of the input has 32-bit"):
        next(pages)


def test_pages_of_a_tiff_are_not_chosen_by_those_of_a_pdf() -> None:
    frames = [PIL.Image.new("RGB", (20, 30))] * 3
    data = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert len(list(sources.read_pages(data, InputOptions(pdf_pages="2")))) == 3


@pytest.mark.parametrize(("scale", "shape"), [(1, (50, 100, 3)), (0.5, (25, 50, 3)), (4.17, (209, 417, 3))])
def test_pages_are_rendered_at_the_scale_asked_for(scale: float, shape: tuple[int, ...]) -> None:
    (page,) = sources.read_pages(pdf((100, 50)), InputOptions(pdf_scale=scale))
    assert page.image.shape == shape


def test_a_pdf_page_is_rendered_within_the_limit_and_a_tiffs_is_refused() -> None:
    options = InputOptions(max_megapixels=0.01)
    (page,) = sources.read_pages(pdf((1000, 1000)), options)
    assert 9_000 < page.image.shape[0] * page.image.shape[1] <= 10_000
    with pytest.raises(ImageTooLargeError, match="10000 is the limit"):
        list(sources.read_pages(encoded(PIL.Image.new("RGB", (101, 100)), "TIFF"), options))


def test_a_fork_while_another_thread_renders_can_render() -> None:
    script = f"""
import os, sys, threading
from pathlib import Path
from ocr_onnx.inputs import documents, sources
data = bytes.fromhex({pdf((900, 900), (900, 900)).hex()!r})
list(sources.read_pages(data))  # Python's own locks of imports do not survive a fork.
stop = threading.Event()
def render():
    while not stop.is_set():
        list(sources.read_pages(data))
thread = threading.Thread(target=render)
thread.start()
codes = []
for _ in range(10):
    child = os.fork()
    if child == 0:
        os._exit(len(list(sources.read_pages(data))))
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
thread.join()
print(*codes)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split() == ["2"] * 10, done.stderr
