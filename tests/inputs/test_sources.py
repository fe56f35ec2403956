"""What a caller can give: files, folders, bytes, arrays, and lists of them."""

from __future__ import annotations

import base64
import io
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from conftest import PAGES, RGB, Array, encoded, only, pdf

from ocr_onnx import InputOptions, Page
from ocr_onnx.errors import (
    InputError,
    InputNotFoundError,
    UnreadableImageError,
    UnsupportedInputError,
)
from ocr_onnx.inputs import sources


def test_a_path_and_its_bytes_are_the_same_picture() -> None:
    path = PAGES / "letter.png"
    np.testing.assert_array_equal(only(path), only(path.read_bytes()))
    np.testing.assert_array_equal(only(path), only(str(path)))


def test_a_page_has_its_origin() -> None:
    (page,) = sources.read_pages(PAGES / "letter.png")
    assert (page.path, page.index, page.count) == (str(PAGES / "letter.png"), None, None)


def test_a_name_in_chinese_is_read(tmp_path: Path) -> None:
    path = tmp_path / "登机牌 é.png"
    path.write_bytes((PAGES / "letter.png").read_bytes())
    assert only(path).shape == (520, 900, 3)


def test_a_folder_is_read_below_too_and_in_natural_order(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("page10.png", "page9.png", "b/page1.png", "notes.txt"):
        (tmp_path / name).write_bytes((PAGES / "tiny.png").read_bytes())
    found = [Path(str(page.path)).relative_to(tmp_path).as_posix() for page in sources.read_pages(tmp_path)]
    assert found == ["b/page1.png", "page9.png", "page10.png"]


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match="no image or PDF"):
        only(tmp_path)


def test_an_array_that_is_filled_anew_does_not_change_the_page_before() -> None:
    frame = np.zeros((5, 6, 3), np.uint8)

    def frames() -> Any:
        for level in (10, 20):
            frame[:] = level
            yield frame

    assert [int(page.image.max()) for page in list(sources.read_pages(frames()))] == [10, 20]


def test_lists_are_read_one_after_the_other() -> None:
    pages = list(sources.read_pages([PAGES / "tiny.png", np.zeros((5, 6, 3), np.uint8)]))
    assert [page.image.shape for page in pages] == [(20, 42, 3), (5, 6, 3)]


def test_reading_is_lazy() -> None:
    taken = iter([PAGES / "tiny.png", PAGES / "nowhere.png"])
    pages = sources.read_pages(taken)
    assert isinstance(next(pages), Page)
    assert next(taken) == PAGES / "nowhere.png"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match=r"nowhere\.png does not exist"):
        only(tmp_path / "nowhere.png")


def test_a_path_that_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UnreadableImageError, match="not a regular file"):
        only(tmp_path / "pipe.png")


@pytest.mark.parametrize(("path", "cause"), [("", "is empty"), ("a\0b.png", "null"), (".x" * 2500, "too long")])
def test_impossible_paths_are_refused(path: str, cause: str) -> None:
    with pytest.raises(InputError, match=cause):
        only(path)


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
@pytest.mark.parametrize("content", [(PAGES / "tiny.png").read_bytes(), bytes(1000)], ids=["with slashes", "without"])
def test_base64_is_recognized(content: bytes, prefix: str) -> None:
    text = base64.b64encode(content).decode()
    with pytest.raises(UnsupportedInputError, match="looks like Base64") as caught:
        only(prefix + text)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("thing", [None, 7, 1.5, {"image": "page.png"}])
def test_other_objects_are_refused(thing: object) -> None:
    with pytest.raises(UnsupportedInputError, match=type(thing).__name__):
        only(thing)


# Patterns.


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """A folder with pages, some below, and notes."""
    for name in (
        "page10.png",
        "page9.png",
        "page9.txt",
        "sub/deep/page1.PNG",
        "sub/page2.tif",
        ".hidden.png",
        "[1].png",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((PAGES / "tiny.png").read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("page*", ["page9.png", "page10.png"]),
        ("page?.*", ["page9.png"]),
        ("[p]age1[0-9].png", ["page10.png"]),
        ("*/*.tif", ["sub/page2.tif"]),
        ("**/page*", ["page9.png", "page10.png", "sub/deep/page1.PNG", "sub/page2.tif"]),
        ("sub/**", ["sub/deep/page1.PNG", "sub/page2.tif"]),
        ("[1].png", ["[1].png"]),
    ],
)
def test_a_pattern_gives_pictures_in_natural_order(scans: Path, pattern: str, found: list[str]) -> None:
    pages = sources.read_pages(scans / pattern)
    assert [Path(str(page.path)).relative_to(scans).as_posix() for page in pages] == found


@pytest.mark.parametrize("pattern", ["*.jpg", "*.txt", "nowhere/**", "[2].png"])
def test_a_pattern_that_matches_nothing_is_an_error(scans: Path, pattern: str) -> None:
    with pytest.raises(InputNotFoundError, match="matches no image or PDF"):
        only(scans / pattern)


def test_an_error_about_suffixes_names_only_those_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputNotFoundError, match=r"\.gif \.jfif") as error:
        only(tmp_path)
    assert ".heic" not in str(error.value)


# File objects.


def test_an_open_file_is_read_named_and_left_open() -> None:
    with (PAGES / "tiny.png").open("rb") as file:
        (page,) = sources.read_pages(file)
        assert not file.closed
    assert page.path == str(PAGES / "tiny.png")
    np.testing.assert_array_equal(page.image, only(PAGES / "tiny.png"))


def test_bytes_in_memory_have_no_name() -> None:
    (page,) = sources.read_pages(io.BytesIO((PAGES / "tiny.png").read_bytes()))
    assert page.path is None


def test_a_document_in_a_zip_file_is_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/a.pdf", pdf((50, 50), (50, 50)))
    with zipfile.ZipFile(tmp_path / "a.zip") as archive, archive.open("in/a.pdf") as file:
        assert [(p.path, p.index) for p in sources.read_pages(file)] == [("in/a.pdf", 0), ("in/a.pdf", 1)]


def test_a_pipe_that_gives_a_little_at_a_time_is_read_to_its_end() -> None:
    class Trickle(io.RawIOBase):
        left = (PAGES / "tiny.png").read_bytes()

        def read(self, _: int = -1, /) -> bytes:
            block, self.left = self.left[:7], self.left[7:]
            return block

    assert only(Trickle()).shape == (20, 42, 3)


def test_an_endless_file_is_read_up_to_the_limit() -> None:
    class Endless:
        given = 0

        def read(self, size: int) -> bytes:
            self.given += size
            return bytes(size)

    file = Endless()
    with pytest.raises(UnreadableImageError, match="larger than 5000000 bytes: raise max_bytes"):
        list(sources.read_pages(file, InputOptions(max_bytes=5_000_000)))
    assert file.given < 7_000_000


closed = io.BytesIO(b"text")
closed.close()


@pytest.mark.parametrize(
    ("file", "cause"),
    [
        (io.StringIO("text"), "returns str instead of bytes: open it with mode 'rb'"),
        (io.BytesIO(), r"is empty, or at its end: .* call seek\(0\)"),
        (io.BytesIO(b"text"), "neither a PDF nor an image"),
        (closed, "cannot be read: I/O operation on closed file"),
    ],
    ids=["text", "empty", "no picture", "closed"],
)
def test_file_objects_that_give_no_picture_are_refused(file: Any, cause: str) -> None:
    with pytest.raises(InputError, match=cause):
        only(file)


# Mixtures.


def test_inputs_of_all_types_can_be_mixed() -> None:
    path = PAGES / "tiny.png"
    data = path.read_bytes()
    mixed: list[sources.Source] = [
        path,
        str(path),
        data,
        bytearray(data),
        memoryview(data),
        io.BytesIO(data),
        PIL.Image.open(path),
        only(path),
    ]
    several: list[sources.Source] = [mixed, (data,), iter([path])]
    pages = list(sources.read_pages(each for each in several))
    assert [page.image.shape for page in pages] == [(20, 42, 3)] * 10


def test_a_folder_is_opened_file_by_file(scans: Path) -> None:
    pages = sources.read_pages(scans)
    next(pages)
    (scans / "page10.png").write_bytes(b"changed since")
    found: list[str | None] = []
    with pytest.raises(UnreadableImageError, match=r"page10\.png"):
        found.extend(page.path for page in pages)


def test_hidden_files_and_thumbnails_of_a_folder_are_not_read(tmp_path: Path) -> None:
    scans = tmp_path / ".hidden parent" / "scans"
    names = ["a.png", "b.jfif", "c.JPE", "._a.png", ".trash/d.png", "@eaDir/a.png/SYNOPHOTO_THUMB_M.png", "in/e.png"]
    for name in names:
        (scans / name).parent.mkdir(parents=True, exist_ok=True)
        (scans / name).write_bytes((PAGES / "tiny.png").read_bytes())
    found = [Path(str(page.path)).relative_to(scans).as_posix() for page in sources.read_pages(scans)]
    assert found == ["a.png", "b.jfif", "c.JPE", "in/e.png"]
    (named,) = sources.read_pages(scans / "._a.png")
    assert named.path == str(scans / "._a.png")


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_can_be_given_with_a_name(kind: Any) -> None:
    data = kind((PAGES / "tiny.png").read_bytes())
    first, second = sources.read_pages([("upload.png", data), (PAGES / "tiny.png")])
    assert (first.path, second.path) == ("upload.png", str(PAGES / "tiny.png"))
    (error,) = sources.read_pages_or_errors(("upload.png", b"broken"))
    assert isinstance(error, UnreadableImageError)
    assert error.source == "upload.png"
    assert "upload.png is neither" in str(error)


def test_a_whole_file_given_as_a_path_is_not_repeated_in_the_error() -> None:
    (error,) = sources.read_pages_or_errors("iVBORw0KGgo" * 100_000)
    assert isinstance(error, UnsupportedInputError)
    assert len(str(error)) < 300


class Proxy:
    """A file object whose methods are found by __getattr__, as those of tempfile and of Flask's uploads."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __iter__(self) -> Any:
        return iter(self._file)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF"])
def test_a_file_object_behind_a_proxy_is_one_input(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(RGB, form)
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.seek(0)
        for each in (file, Proxy(io.BytesIO(data)), [Proxy(io.BytesIO(data))]):
            assert np.array_equal(only(each), only(data))
    # Since Python 3.12, isinstance does not find what __getattr__ would give.
    assert not hasattr(type(Proxy(None)), "read")
    assert sources.is_materialized(Proxy(io.BytesIO(data)))


def test_an_upload_that_is_read_asynchronously_is_refused_with_the_remedy() -> None:
    class Upload:
        file = io.BytesIO(encoded(RGB, "PNG"))

        async def read(self, size: int = -1) -> bytes:
            return self.file.read(size)

    with pytest.raises(UnsupportedInputError, match=r"asynchronous read\(\).*x\.file"):
        only(Upload())
    assert only(Upload().file).shape[2] == 3


class Tensor:
    """A tensor of another library, which can be iterated too."""

    def __init__(self, array: Array, error: Exception | None = None) -> None:
        self.array, self.error = array, error

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        if self.error is not None:
            raise self.error
        return self.array

    def __iter__(self) -> Any:
        return iter([Tensor(row) for row in self.array])


def test_a_tensor_of_another_library_is_an_image() -> None:
    image = only(PAGES / "tiny.png")
    assert np.array_equal(only(Tensor(image)), image)
    on_gpu = Tensor(image, TypeError("can't convert cuda:0 device type tensor to numpy"))
    (error, page) = sources.read_pages_or_errors([on_gpu, image])
    assert isinstance(error, UnsupportedInputError)
    assert "Tensor" in str(error)
    assert isinstance(page, Page)


def test_an_array_of_files_is_a_list_of_files() -> None:
    column = np.empty(2, object)
    column[:] = [encoded(RGB, "PNG"), PAGES / "tiny.png"]
    assert [page.image.shape for page in sources.read_pages(column)] == [
        only(RGB).shape,
        only(PAGES / "tiny.png").shape,
    ]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_a_file_object_may_return_any_kind_of_bytes(kind: Any) -> None:
    class File:
        def __init__(self) -> None:
            self.left = [kind(b""), kind(encoded(RGB, "PNG"))]

        def read(self, _: int) -> Any:
            return self.left.pop()

    assert np.array_equal(only(File()), only(RGB))


@pytest.mark.parametrize(
    "url", ["data:image/png;base64,iVBORw0KGgo=", "data:;base64,AAAA", "data:image/png;charset=utf-8;base64,AAAA"]
)
def test_a_data_url_of_any_length_is_answered_with_the_remedy(url: str) -> None:
    with pytest.raises(UnsupportedInputError, match="b64decode"):
        only(url)


@pytest.mark.parametrize("kind", [str, object])
def test_an_array_of_paths_is_a_list_of_paths(kind: Any) -> None:
    paths = [str(PAGES / "tiny.png"), str(PAGES / "letter.png")]
    pages = list(sources.read_pages(np.array([paths], kind)))
    assert [page.path for page in pages] == paths
