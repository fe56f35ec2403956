"""List the documents of a batch: files, folders, patterns, manifests, tar and zip archives, URLs and addresses of fsspec.

Documents are listed lazily, so that memory does not grow with their number.
"""

from __future__ import annotations

import csv
import glob
import io
import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeAlias, TypeVar

from ocr_onnx.errors import InputError, InputNotFoundError, UnreadableImageError, shortened
from ocr_onnx.inputs.sources import LISTED, SCHEME, is_hidden
from ocr_onnx.inputs.urls import is_url
from ocr_onnx.installation import requirement
from ocr_onnx.options import InputOptions

MANIFESTS = (".txt", ".csv")
TAR, COMPRESSED_TAR = ".tar", (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
ARCHIVES = (TAR, *COMPRESSED_TAR, ".zip")

BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")
"""A range of numbers in a name, as WebDataset writes the names of shards: `pages-{000..123}.tar`."""

RECURSIVE = "**"
"""The part of a pattern that stands for any number of folders."""

PATH_COLUMN = "path"
"""The column of a CSV manifest with the names of documents; without a column of this name, the first one."""

OPEN_ARCHIVES = 4
"""Zip archives that a process keeps open."""

Found = TypeVar("Found")

Open: TypeAlias = "partial[IO[bytes]]"
"""Opens a file; can be pickled."""


def printable(name: str) -> str:
    """Return a name with escapes in place of bytes that are no UTF-8, which JSON and SQLite cannot contain."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class Document:
    """A file to read."""

    name: str
    """Its path or address; for a member of an archive, the archive's followed by the member's."""
    version: str | None
    """Changes if the content changes, such as size and time of modification; None: unknown without reading the content."""
    read: Callable[[], bytes]
    """Returns the content; can be pickled. Raises InputError."""


def documents(
    inputs: Iterable[str], options: InputOptions, written: Collection[Path] = ()
) -> Iterator[Document | InputError]:
    """Yield the documents of inputs, and the error of each input that cannot be listed.

    An input is a file, a folder, a pattern, a manifest (.txt with one name a line; .csv with a column `path`), an archive
    (.tar, .tar.gz, .zip), an http or https URL, or another address that fsspec opens, such as s3://bucket/scans/. A range
    `{000..123}` in a name stands for each of its numbers. Folders and patterns leave out what is in the folders `written`, those
    of the output, unless they are the input itself.
    """
    for each in inputs:
        for name in _with_numbers(each):
            yield from _or_error(name, _documents(name, options, written))


def _or_error(name: str, found: Iterator[Document | InputError]) -> Iterator[Document | InputError]:
    """Yield the documents of an input; an error ends them, and is yielded."""
    try:
        yield from found
    except InputError as error:
        error.source = name
        yield error
    except Exception as error:  # noqa: BLE001 File systems of fsspec, tarfile and zipfile raise errors of many kinds.
        failure = _failure(name, "listed", error)
        failure.source = name
        yield failure


def _failure(name: str, verb: str, error: Exception) -> InputError:
    """Return the InputError for an error of a file system or an archive."""
    remote = SCHEME.match(name)
    if isinstance(error, FileNotFoundError):
        return InputNotFoundError(f"{shortened(name)} does not exist: check the {'address' if remote else 'path'}")
    cure = "check it, or copy it again"
    if remote:
        cure = "check the address, the network and the credentials, which fsspec's package takes from the environment or from files"
    return UnreadableImageError(f"{shortened(name)} cannot be {verb}: {error}; {cure}")


def _some(name: str, found: Iterable[Found]) -> Iterator[Found]:
    """Yield what was found in a folder or for a pattern; raises InputNotFoundError if it is nothing."""
    empty = True
    for each in found:
        empty = False
        yield each
    if empty:
        raise InputNotFoundError(
            f"{shortened(name)} has no image, PDF, tar or zip archive: check it; a file with another suffix is read if it is named itself"
        )


def _with_numbers(name: str) -> Iterator[str]:
    """Yield the names that a name with ranges of numbers stands for."""
    found = BRACES.search(name)
    if found is None or Path(name).exists():
        yield name
        return
    first, last = int(found[1]), int(found[2])
    # As in a shell, a range can go down.
    for number in range(first, last + 1) if first <= last else range(first, last - 1, -1):
        yield from _with_numbers(f"{name[: found.start()]}{number:0{len(found[1])}}{name[found.end() :]}")


def _documents(name: str, options: InputOptions, written: Collection[Path]) -> Iterator[Document | InputError]:
    if is_url(name):
        yield Document(name, None, partial(_fetch, name, options))
    elif SCHEME.match(name):
        yield from _remote(name, options, written)
    elif (is_folder := Path(name).is_dir()) or (glob.has_magic(name) and not Path(name).exists()):
        for path in _some(name, _walk(name, written) if is_folder else _matching(name, written)):
            yield from [path] if isinstance(path, InputError) else _or_error(path, _file(path, options))
    elif name.lower().endswith(MANIFESTS):
        with Path(name).open("rb") as file:
            yield from documents(_manifest(file, name), options, written)
    else:
        yield from _file(name, options)


def _walk(root: str, written: Collection[Path]) -> Iterator[str | InputError]:
    """Yield the documents and archives in a folder and its subfolders, in no order, and the errors of subfolders.

    Left out are hidden ones, the folders `written`, and a folder that a symbolic link leads back to.
    """
    own = {_identity(each) for each in written if each.exists()}
    folders: list[tuple[str, tuple[tuple[int, int], ...]]] = [(root, ())]
    while folders:
        path, above = folders.pop()
        try:
            identity = _identity(path)
            if identity in above or (identity in own and above):
                continue
            inside = (*above, identity)
            with os.scandir(path) as entries:
                for entry in entries:
                    if is_hidden(entry.name):
                        continue
                    if _is_folder(entry):
                        folders.append((entry.path, inside))
                    elif _is_document(entry.name):
                        yield entry.path
        except OSError as error:
            failure = _failure(path, "listed", error)
            failure.source = path
            yield failure


def _matching(pattern: str, written: Collection[Path]) -> Iterator[str | InputError]:
    """Yield what a pattern matches; `**` follows no symbolic link that leads back, which glob would follow without end."""
    parts = Path(pattern).parts
    if RECURSIVE not in parts:
        start = Path(*takewhile(lambda part: not glob.has_magic(part), parts)).resolve()
        own = {each.resolve() for each in written} - {start}
        found = filter(_is_document, glob.iglob(pattern))  # noqa: PTH207 Path.glob takes no absolute pattern
        yield from (each for each in found if own.isdisjoint(Path(each).resolve().parents))
        return
    place = parts.index(RECURSIVE)
    for root in filter(os.path.isdir, glob.iglob(str(Path(*parts[:place])))):  # noqa: PTH207
        for each in _walk(root, written):
            if isinstance(each, InputError):
                yield each
            elif _matches(Path(each).relative_to(root).parts, parts[place:]):
                yield each.removeprefix("./")


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Return whether the parts of a path match those of a pattern."""
    if not pattern:
        return not parts
    if pattern[0] == RECURSIVE:
        return any(_matches(parts[i:], pattern[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _identity(path: str | Path) -> tuple[int, int]:
    status = os.stat(path)  # noqa: PTH116 for a million folders
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # A symbolic link to itself.
        return False


def _is_document(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in LISTED or name.lower().endswith(ARCHIVES)


def _is_member(name: str) -> bool:
    """Return whether a member of an archive is an image or a PDF that is not hidden."""
    return PurePosixPath(name).suffix.lower() in LISTED and not _has_hidden_part(name)


def _has_hidden_part(path: str) -> bool:
    """Return whether a file is hidden, or in a hidden folder."""
    return any(is_hidden(part) for part in PurePosixPath(path).parts if part != "..")


def _manifest(file: IO[bytes], own: str) -> Iterator[str]:
    """Yield the names in a manifest; those that are relative paths are relative to its folder."""
    folder = own[: own.rindex("/")] if SCHEME.match(own) else os.path.dirname(own)  # noqa: PTH120 keeps the spelling
    # Names of files may be no UTF-8.
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
        for name in _column(text) if own.lower().endswith(".csv") else (line.rstrip("\r\n") for line in text):
            is_absolute = SCHEME.match(name) or os.path.isabs(name) or not folder  # noqa: PTH117 for a million names
            if name:
                yield name if is_absolute else f"{folder}/{name}"


def _column(file: IO[str]) -> Iterator[str]:
    """Yield the column of a CSV file with the names of documents."""
    rows = csv.reader(file)
    heads = next(rows, [])
    column = heads.index(PATH_COLUMN) if PATH_COLUMN in heads else 0
    if PATH_COLUMN not in heads and heads:
        yield heads[0]
    yield from (row[column] for row in rows if len(row) > column)


def _file(path: str, options: InputOptions) -> Iterator[Document | InputError]:
    """Yield a file on this machine, or the members of an archive."""
    try:
        status = os.stat(path)  # noqa: PTH116 for a million files
    except OSError as error:
        raise InputNotFoundError(f"{shortened(path)} cannot be opened: {error.strerror}; check the path") from error
    if not stat.S_ISREG(status.st_mode):  # Opening a named pipe would wait without end.
        raise UnreadableImageError(
            f"{shortened(path)} is not a regular file: copy its content to a regular file, or remove it"
        )
    yield from _opened(path, partial(open, path, "rb"), f"{status.st_size}-{status.st_mtime_ns}", options)


def _remote(address: str, options: InputOptions, written: Collection[Path]) -> Iterator[Document | InputError]:
    """Yield the documents at an address of fsspec: of a folder, a pattern, a manifest, or one file."""
    try:
        import fsspec
    except ImportError as error:
        raise _missing(address) from error
    try:
        system, path = fsspec.core.url_to_fs(address)
        if glob.has_magic(path):
            found: Iterable[str] = _some(address, filter(_is_document, system.glob(path)))
        elif system.isdir(path):
            walked = system.walk(path)
            found = _some(
                address,
                (
                    f"{folder}/{name}"
                    for folder, _, names in walked
                    for name in sorted(names)
                    if _is_document(name) and not _has_hidden_part(f"{folder}/{name}".removeprefix(path))
                ),
            )
        elif address.lower().endswith(MANIFESTS):
            with _open_remote(address) as file:
                yield from documents(_manifest(file, address), options, written)
            return
        else:
            found = [path]
        for each in found:
            url = system.unstrip_protocol(each)
            yield from _or_error(url, _remote_file(system, each, url, options))
    except ImportError as error:
        raise _missing(address, f" ({error})") from error


def _missing(address: str, reason: str = "") -> InputNotFoundError:
    return InputNotFoundError(
        f"{shortened(address)} needs fsspec and its package for this scheme: pip install {requirement('batch')} s3fs (or gcsfs, "
        f"adlfs){reason}"
    )


def _remote_file(system: Any, path: str, url: str, options: InputOptions) -> Iterator[Document | InputError]:
    yield from _opened(url, partial(_open_remote, url), str(system.ukey(path)), options)


def _open_remote(address: str) -> Any:
    import fsspec

    return fsspec.open(address, "rb").open()


def _opened(name: str, opener: Open, version: str, options: InputOptions) -> Iterator[Document | InputError]:
    """Yield a document, or the members of an archive, which `opener` opens."""
    lower = name.lower()
    if lower.endswith((TAR, *COMPRESSED_TAR)):
        yield from _tar(name, opener, version, options.max_bytes)
    elif lower.endswith(".zip"):
        yield from _zip(name, opener, version, options.max_bytes)
    else:
        yield Document(printable(name), version, partial(_whole, opener, name, options.max_bytes))


def _tar(name: str, opener: Open, version: str, limit: int) -> Iterator[Document]:
    """Yield the documents in a tar archive. Those of a compressed one carry their content, since it can only be read in order."""
    plain = name.lower().endswith(TAR)
    with opener() as file, tarfile.open(fileobj=file, mode="r:" if plain else "r:*") as archive:
        for member in archive:
            archive.members.clear()  # type: ignore[attr-defined]  # Otherwise, memory would grow with the archive.
            if not member.isreg() or not _is_member(member.name):
                continue
            label = f"{name}/{member.name}"
            read = partial(_part, opener, label, (member.offset_data, member.size), limit)
            if not plain:
                content = archive.extractfile(member)
                read = partial(_given, content.read(limit + 1) if content is not None else b"", label, limit)
            yield Document(printable(label), f"{version}@{member.offset_data}", read)
        if plain:
            _check_end(file, archive.offset)


def _check_end(file: IO[bytes], offset: int) -> None:
    """Raise ReadError if a tar archive goes on after its last member: tarfile stops silently at a damaged header."""
    file.seek(offset)
    if any(file.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError(f"the header at byte {offset} is damaged, so that later members are not found")


def _zip(name: str, opener: Open, version: str, limit: int) -> Iterator[Document]:
    for member in _zip_file(opener.func, opener.args).infolist():
        if _is_member(member.filename):
            label = f"{name}/{member.filename}"
            read = partial(_zip_member, opener, label, member, limit)
            yield Document(printable(label), f"{version}@{member.header_offset}", read)


@lru_cache(OPEN_ARCHIVES)
def _zip_file(opener: Callable[..., IO[bytes]], arguments: tuple[Any, ...]) -> zipfile.ZipFile:
    file = opener(*arguments)
    try:
        return zipfile.ZipFile(file)
    except zipfile.BadZipFile:
        file.close()
        raise


def _fetch(url: str, options: InputOptions) -> bytes:
    from ocr_onnx.inputs import http

    return http.fetch(url, options)


def _whole(opener: Open, name: str, limit: int) -> bytes:
    with _reading(name), opener() as file:
        return _given(file.read(limit + 1), name, limit)


def _part(opener: Open, name: str, place: tuple[int, int], limit: int) -> bytes:
    offset, size = place
    with _reading(name), opener() as file:
        file.seek(offset)
        return _given(file.read(min(size, limit + 1)), name, limit)


def _zip_member(opener: Open, name: str, member: zipfile.ZipInfo, limit: int) -> bytes:
    with _reading(name), _zip_file(opener.func, opener.args).open(member) as file:
        return _given(file.read(limit + 1), name, limit)


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Convert errors of reading a document to UnreadableImageError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # File systems of fsspec raise errors of many libraries; zipfile raises RuntimeError.
        raise _failure(name, "read", error) from error


def _given(data: bytes, name: str, limit: int) -> bytes:
    if len(data) > limit:
        raise UnreadableImageError(f"{shortened(name)} is larger than {limit} bytes: raise max_bytes")
    return data
