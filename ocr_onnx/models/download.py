"""Downloads: resumed after interruptions, limited in size and time, and verified before use.

Proxies and certificates are configured by environment variables (HTTPS_PROXY, SSL_CERT_FILE).

Unlike inputs/http.py, which keeps a file in memory and has a total deadline, this module resumes large files over several attempts
with a timeout per read, so the two share only urllib.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

from ocr_onnx import python_process
from ocr_onnx.errors import DownloadError, IntegrityError
from ocr_onnx.models.store import MAX_BYTES, sha256, writing

logger: logging.Logger = logging.getLogger(__name__)

OFFLINE_VARIABLE = "OCR_ONNX_OFFLINE"
"""Environment variable: if set to 1, nothing is downloaded."""

CHECKSUM_VARIABLE = "OCR_ONNX_REQUIRE_CHECKSUM"
"""Environment variable: if set to 1, a model is downloaded only if its sha256 is published or was recorded before."""

YES = frozenset({"1", "true", "yes"})

TIMEOUT = 30
"""Seconds without data after which a connection is closed."""

ATTEMPTS = 5
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
    for attempt in range(ATTEMPTS):
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
            problem: Exception = error
        except urllib.error.URLError as error:
            if isinstance(error.reason, socket.gaierror):
                raise DownloadError(
                    f"{url}: the host name cannot be resolved; check the network and HTTPS_PROXY"
                ) from error
            problem = error
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            problem = error
        else:
            return
        logger.info("%s: %s; attempt %d of %d", url, problem, attempt + 1, ATTEMPTS)
        if attempt + 1 < ATTEMPTS:
            time.sleep(PAUSE * 2**attempt)
    raise DownloadError(f"{url} cannot be downloaded: {problem}; check the network, HTTPS_PROXY and the address")


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
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310
        if response.status != PARTIAL:
            there = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else there + int(length)
        with writing(part):
            file = part.open("ab" if there else "wb", buffering=0)
        with file:
            while block := response.read(CHUNK):
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
    requirement: str, folder: Path, sha256s: Collection[str] = (), progress: Progress | None = None
) -> Path:
    """Download the wheel of NAME==VERSION from the Python index to `folder`, with pip and the user's pip settings.

    `sha256s` are the checksums of the package's wheels, one per platform; without them, any wheel of that name is
    accepted. A wheel that is already in `folder` is used. Raises DownloadError, or IntegrityError if the downloaded wheel
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
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        _download_package(requirement, scratch, progress)
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


def _download_package(requirement: str, folder: str, progress: Progress | None) -> None:
    """Download a wheel with pip; raise DownloadError, with the end of pip's output, if that fails."""
    command = python_process.isolated(
        "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", requirement
    )
    command += ["--dest", folder, "--disable-pip-version-check"]
    told = ""
    for attempt in range(ATTEMPTS):
        code, told = _run_pip(command, folder, progress)
        if code == 0:
            return
        if attempt + 1 < ATTEMPTS:
            time.sleep(PAUSE * 2**attempt)
    raise DownloadError(f"pip could not download {requirement}: {told[-1000:]}")


def _run_pip(command: list[str], folder: str, progress: Progress | None) -> tuple[int, str]:
    """Run pip, which downloads to its temporary folder first; return its exit code and what it wrote to standard error.

    pip shows no progress that a program can read, so `progress` gets the size of the files below `folder`.
    """
    environment = os.environ | {"TMPDIR": folder}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as told:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=told, env=environment)
        while True:
            try:
                code = process.wait(POLL)
                break
            except subprocess.TimeoutExpired:
                if progress is not None:
                    progress(_size_below(Path(folder)), None)
        told.seek(0)
        return code, told.read()


def _size_below(folder: Path) -> int:
    """Return the size of all files below a folder, in bytes; files that vanish meanwhile count as 0."""
    sizes = []
    for path in folder.rglob("*"):
        with suppress(OSError):
            sizes.append(path.stat().st_size)
    return sum(sizes)
