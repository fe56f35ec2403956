"""The documents of a batch: from files, folders, patterns, lists, archives and addresses of fsspec."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from ocr_onnx.batch.listing import Document, documents
from ocr_onnx.errors import InputError, InputNotFoundError
from ocr_onnx.options import InputOptions


def listed(*inputs: str | Path, options: InputOptions | None = None) -> list[Document | InputError]:
    return list(documents(map(str, inputs), options or InputOptions()))


def contents(found: Iterable[Document | InputError]) -> dict[str, bytes]:
    """The content of each document by its name, read as a process on another machine does."""
    assert not [each for each in found if isinstance(each, InputError)]
    copies = [pickle.loads(pickle.dumps(each)) for each in found]  # noqa: S301 made here
    return {each.name: each.read() for each in copies}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "b.txt", ".hidden.png", "sub/c.PDF"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path


def tar(path: Path, names: Iterable[str], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return path


def test_a_folder_gives_the_images_and_pdfs_in_it_and_below(folder: Path) -> None:
    assert contents(listed(folder)) == {f"{folder}/a.png": b"a.png", f"{folder}/sub/c.PDF": b"sub/c.PDF"}


def test_a_pattern_gives_what_it_matches(folder: Path) -> None:
    assert contents(listed(folder / "*")) == {f"{folder}/a.png": b"a.png"}
    assert list(contents(listed(folder / "**" / "*.PDF"))) == [f"{folder}/sub/c.PDF"]


def test_a_file_of_any_suffix_is_read_if_it_is_named(folder: Path) -> None:
    (folder / "scan").write_bytes(b"scan")
    assert contents(listed(folder / "scan")) == {f"{folder}/scan": b"scan"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.txt", "a.png\n\nsub/c.PDF\n"),
        ("list.csv", "id,path\n1,a.png\n2,sub/c.PDF\n"),
        ("bare.csv", "a.png\nsub/c.PDF\n"),
    ],
)
def test_a_list_gives_its_names_which_are_relative_to_it(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, "utf-8")
    assert contents(listed(folder / name)) == {f"{folder}/a.png": b"a.png", f"{folder}/sub/c.PDF": b"sub/c.PDF"}


@pytest.mark.parametrize(
    ("suffix", "mode"), [(".tar", "w"), (".tar.gz", "w:gz"), (".tgz", "w:gz"), (".tar.xz", "w:xz")]
)
def test_a_tar_archive_gives_its_images_and_pdfs(tmp_path: Path, suffix: str, mode: str) -> None:
    path = tar(tmp_path / f"x{suffix}", ("1.png", "1.json", "d/2.pdf"), mode)
    assert contents(listed(path)) == {f"{path}/1.png": b"1.png", f"{path}/d/2.pdf": b"d/2.pdf"}


def test_a_zip_archive_gives_its_images_and_pdfs(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("1.png", "1.json", "d/2.pdf"):
            archive.writestr(name, name)
    assert contents(listed(path)) == {f"{path}/1.png": b"1.png", f"{path}/d/2.pdf": b"d/2.pdf"}


def test_members_of_a_zip_archive_that_have_one_name_are_each_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a.png", b"older")
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.png", b"newer")
    assert [each.read() for each in listed(tmp_path / "x.zip") if isinstance(each, Document)] == [b"older", b"newer"]


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
def test_hidden_members_and_archives_in_an_archive_are_no_documents(tmp_path: Path, suffix: str) -> None:
    # macOS adds a hidden file to each file of an archive.
    names = ("./1.png", "./._1.png", "__MACOSX/d/._2.png", ".cache/3.png", "@eaDir/4.png", "more.zip", "../5.png")
    path = tmp_path / f"x{suffix}"
    if suffix == ".tar":
        tar(path, names, "w")
    else:
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, name)
    assert list(contents(listed(path))) == [f"{path}/./1.png", f"{path}/../5.png"]


def test_a_range_in_a_name_stands_for_each_number(tmp_path: Path) -> None:
    for number in (8, 9, 10):
        tar(tmp_path / f"s-{number:03}.tar", [f"{number}.png"])
    assert list(contents(listed(tmp_path / "s-{008..010}.tar")).values()) == [b"8.png", b"9.png", b"10.png"]
    assert list(contents(listed(tmp_path / "s-{010..008}.tar")).values()) == [b"10.png", b"9.png", b"8.png"]


@pytest.mark.parametrize("place", [600, 1100], ids=["content", "header"])
def test_a_damaged_archive_is_an_error_after_its_good_members(tmp_path: Path, place: int) -> None:
    path = tar(tmp_path / "x.tar", ("1.png", "2.png"))
    data = bytearray(path.read_bytes())
    path.write_bytes(data[:place] if place == 600 else data[:1024] + b"\xff" * 512 + data[1536:])
    first, error = listed(path, tmp_path / "missing.png")[:2]
    assert isinstance(first, Document)
    assert isinstance(error, InputError)
    assert "x.tar cannot be listed" in str(error)


def test_one_bad_file_of_a_folder_is_an_error_and_the_others_are_listed(folder: Path) -> None:
    (folder / "bad.zip").write_bytes(b"no archive")
    (folder / "bad.png").symlink_to(folder / "missing")
    found = listed(folder)
    assert sorted(str(each.source).rpartition("/")[2] for each in found if isinstance(each, InputError)) == [
        "bad.png",
        "bad.zip",
    ]
    assert len(found) == 4


@pytest.mark.parametrize("name", ["missing.png", "missing.csv", "x://y/z.png"])
def test_an_input_that_does_not_exist_is_an_error(tmp_path: Path, name: str) -> None:
    (error,) = listed(name if "://" in name else tmp_path / name)
    assert isinstance(error, InputError)


def test_a_document_larger_than_max_bytes_is_refused(folder: Path) -> None:
    with gzip.open(folder / "x.tar.gz", "wb") as file:
        file.write(tar(folder / "x.tar", ["12345.png"]).read_bytes())
    inputs = (folder / "a.png", folder / "x.tar", folder / "x.tar.gz")
    for each in listed(*inputs, options=InputOptions(max_bytes=4)):
        if isinstance(each, Document):
            with pytest.raises(InputError, match="raise max_bytes"):
                each.read()
        else:
            assert "raise max_bytes" in str(each)


def test_the_version_of_a_document_changes_with_its_content(folder: Path) -> None:
    (before,) = listed(folder / "a.png")
    (folder / "a.png").write_bytes(b"other content")
    (after,) = listed(folder / "a.png")
    assert isinstance(before, Document)
    assert isinstance(after, Document)
    assert before.version != after.version


def test_a_pattern_may_have_several_parts_for_any_number_of_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a/x.png", "a/b/c/d/x.png", "a/b/y.png", "e/x.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert sorted(contents(listed("**/b/**/*.png"))) == ["a/b/c/d/x.png", "a/b/y.png"]
    assert sorted(contents(listed("[ae]/**/x.png"))) == ["a/b/c/d/x.png", "a/x.png", "e/x.png"]


@pytest.mark.parametrize("pattern", [".", "**/*.png"], ids=["folder", "pattern"])
def test_a_symbolic_link_that_leads_back_is_not_followed(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    (tmp_path / "in" / "sub" / "a.png").write_bytes(b"a")
    (tmp_path / "in" / "sub" / "loop").symlink_to("..")
    (tmp_path / "in" / "own").symlink_to("own")
    (tmp_path / "in" / "other").symlink_to("sub")
    found = contents(listed(tmp_path / "in" / pattern))
    assert sorted(found) == [str(tmp_path / "in" / name) for name in ("other/a.png", "sub/a.png")]


def test_a_subfolder_that_cannot_be_listed_is_an_error_and_the_others_are_listed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = os.scandir

    def fail(path: str) -> Any:
        if path.endswith("sub"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", fail)
    document, error = sorted(listed(folder), key=lambda each: isinstance(each, InputError))
    assert isinstance(document, Document)
    assert isinstance(error, InputError)
    assert (error.source, "Permission denied" in str(error)) == (f"{folder}/sub", True)


@pytest.mark.parametrize("name", ["", "*.png", "*/*.pdf"])
def test_a_folder_or_pattern_without_documents_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.docx").write_bytes(b"")
    (error,) = listed(tmp_path / name)
    assert isinstance(error, InputNotFoundError)
    assert "has no image, PDF, tar or zip archive" in str(error)


@pytest.mark.parametrize("pattern", [".", "**/*.p*"], ids=["folder", "pattern"])
def test_the_output_is_no_input(folder: Path, pattern: str) -> None:
    (folder / "result" / "files").mkdir(parents=True)
    (folder / "result" / "files" / "a.png.pdf").write_bytes(b"searchable")
    (folder / "link").symlink_to("result")
    found = list(documents([str(folder / pattern)], InputOptions(), [folder / "link"]))
    assert sorted(contents(found)) == [f"{folder}/a.png", *([f"{folder}/sub/c.PDF"] if pattern == "." else [])]


@pytest.mark.parametrize("pattern", [".", "*.p*", "**/*.[pP]*"])
def test_an_output_folder_that_is_the_input_gives_its_documents_without_the_files_of_the_output(
    folder: Path, pattern: str
) -> None:
    (folder / "files").mkdir()
    (folder / "files" / "a.png.pdf").write_bytes(b"searchable")
    found = list(documents([str(folder / pattern)], InputOptions(), [folder, folder / "files"]))
    assert sorted(contents(found)) == [f"{folder}/a.png", *([f"{folder}/sub/c.PDF"] if pattern != "*.p*" else [])]


def test_the_thumbnails_of_a_synology_nas_are_no_documents(folder: Path) -> None:
    (folder / "@eaDir").mkdir()
    (folder / "@eaDir" / "a.png").write_bytes(b"small")
    assert len(listed(folder)) == 2


@pytest.mark.parametrize("name", [".", "*.pdf", "pipe.pdf"])
def test_a_named_pipe_is_an_error_and_not_waited_for(folder: Path, name: str) -> None:
    os.mkfifo(folder / "pipe.pdf")
    (error,) = (each for each in listed(folder / name) if isinstance(each, InputError))
    assert error.source == f"{folder}/pipe.pdf"
    assert "is not a regular file: copy its content to a regular file" in str(error)


def test_a_name_in_a_list_may_be_no_utf_8(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xe4.png")).write_bytes(b"a")
    (tmp_path / "list.txt").write_bytes(b"\xe4.png\r\n")
    assert contents(listed(tmp_path / "list.txt")) == {rf"{tmp_path}/\xe4.png": b"a"}


def test_the_memory_for_a_list_does_not_grow_with_it(tmp_path: Path) -> None:
    def peak(names: int) -> int:
        (tmp_path / "list.txt").write_text("a.png\n" * names, "utf-8")
        tracemalloc.start()
        try:
            assert sum(1 for _ in documents([str(tmp_path / "list.txt")], InputOptions())) == names
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    (tmp_path / "a.png").touch()
    peak(10)
    assert peak(20_000) < peak(10) + 200_000  # 20,000 names alone would take a megabyte.


def test_a_list_that_names_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("list.txt\n", "utf-8")
    (error,) = listed(tmp_path / "list.txt")
    assert isinstance(error, InputError)


def test_a_list_on_fsspec_names_documents_beside_it() -> None:
    system = fsspec.filesystem("memory")
    system.pipe("/lists/a.png", b"a")
    system.pipe("/lists/list.txt", b"a.png\nmemory://lists/a.png\n")
    found = listed("memory://lists/list.txt")
    assert len(found) == 2
    assert contents(found) == {"memory:///lists/a.png": b"a"}


def test_hidden_files_at_an_address_of_fsspec_are_no_documents() -> None:
    system = fsspec.filesystem("memory")
    for name in ("/.home/scans/a.png", "/.home/scans/._a.png", "/.home/scans/.cache/b.png"):
        system.pipe(name, name.encode())
    assert list(contents(listed("memory:///.home/scans")).values()) == [b"/.home/scans/a.png"]


def test_an_address_of_fsspec_is_a_folder_a_pattern_or_a_file() -> None:
    system = fsspec.filesystem("memory")
    for name in ("/scans/a.png", "/scans/sub/b.pdf", "/scans/c"):
        system.pipe(name, name.encode())
    both = {"memory:///scans/a.png": b"/scans/a.png", "memory:///scans/sub/b.pdf": b"/scans/sub/b.pdf"}
    assert {name.replace(":////", ":///"): data for name, data in contents(listed("memory://scans")).items()} == both
    assert list(contents(listed("memory://scans/*.png")).values()) == [b"/scans/a.png"]
    assert list(contents(listed("memory://scans/c")).values()) == [b"/scans/c"]
    (error,) = listed("memory://scans/missing.png")
    assert isinstance(error, InputError)
