"""The settings of the service, each declared once: its default, range and help.

The options of `ocr-onnx serve` and the tables in docs/serving.md are generated from these declarations. This module loads
none of the service's packages, since the command line imports it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocr_onnx.declarations import check, check_number, option, option_of
from ocr_onnx.errors import OptionError
from ocr_onnx.options import MAX_SIDE, InputOptions
from ocr_onnx.runtime.threads import cpu_count

if TYPE_CHECKING:
    from ocr_onnx.service.fetching import FetchPolicy

MEGABYTE = 2**20

MIN_PAGE_MEMORY = 128
"""Megabytes; the smallest page needs about half."""

MAX_COUNT = 1_000_000
"""The largest number of connections, requests or pages."""

SECONDS_OF_A_DAY = 86_400

HOST_NAME = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.IGNORECASE)
"""A name of allow_host; internationalized names in their ASCII form (xn--)."""


def _seconds(help: str, *, default: float, beyond: str) -> Any:  # noqa: A002
    return option(help, default=default, minimum=0.05, maximum=SECONDS_OF_A_DAY, beyond=beyond)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the service. Raises OptionError for a value out of range.

    `max_megapixels` is lower than the library's default because clients of the service are not trusted.
    """

    host: str = option(
        "Address to listen on. An address that other machines can reach, such as 0.0.0.0, needs api_key_file or no_keys.",
        default="127.0.0.1",
    )
    port: int = option("Port to listen on. 0: any free port.", default=8080, minimum=0, maximum=65_535)
    workers: int = option(
        "Number of processes. Each loads the models; they share the CPU cores.", default=1, minimum=1, maximum=256
    )
    api_key_file: Path | None = option(
        "File with one API key per line. Requests then need a key. If not given, requests need no key.", default=None
    )
    no_keys: bool = option(
        "Accept requests from other machines without a key: everyone who can reach the port can use the service.",
        default=False,
    )
    allow_host: tuple[str, ...] = option(
        "Host name that requests without a key may use (ocr.example.com, *.example.com), besides localhost and IP "
        "addresses; may be repeated.",
        default=(),
    )
    allow_url: tuple[str, ...] = option(
        "Host from which the service may download files (example.com, *.example.com, host:8000); may be repeated. If not "
        "given, URLs are refused.",
        default=(),
    )
    allow_private: bool = option("Allow hosts of allow_url in private networks.", default=False)
    visualize: bool = option("Return images unless the request says otherwise.", default=True)
    page: bool = option("Serve the web page at /.", default=True)
    pdf_scale: float = option_of(InputOptions, "pdf_scale", default=InputOptions().pdf_scale)
    threads: int | None = option(
        "Requests that one process handles at a time. If not given, the number of CPU cores + 1.",
        default=None,
        minimum=1,
        maximum=MAX_COUNT,
        beyond="waits",
    )
    queue_size: int = option(
        "Requests that may wait in one process.", default=64, minimum=0, maximum=100_000, beyond="503"
    )
    deadline: float = _seconds(
        "Seconds from the request to its response.", default=120.0, beyond="504; 503 if processing had not started"
    )
    transfer_timeout: float = _seconds(
        "Seconds for receiving a request body. Also the total time that sending a response may wait for the client.",
        default=60.0,
        beyond="408; a response is aborted",
    )
    header_timeout: float = _seconds(
        "Seconds for receiving a request header.", default=10.0, beyond="closes the connection"
    )
    max_connections: int = option(
        "Connections of one process.",
        default=500,
        minimum=1,
        maximum=MAX_COUNT,
        beyond="replaces the oldest connection without a complete request; if there is none, closes the new one",
    )
    max_connections_per_address: int = option(
        "Connections of one process from one IPv4 address or IPv6 /64 network. 0: no limit, for use behind a reverse proxy.",
        default=100,
        minimum=0,
        maximum=MAX_COUNT,
        beyond="as for max_connections, among the connections of that address",
    )
    max_per_client: int | None = option(
        "Requests that one client (its API key, else its address) may have in one process at a time. If not given, no limit.",
        default=None,
        minimum=1,
        maximum=MAX_COUNT,
        beyond="429",
    )
    max_body_megabytes: float = option(
        "Size of one request body, in units of 2**20 bytes.", default=64.0, minimum=0.001, maximum=2047, beyond="413"
    )
    max_waiting_megabytes: float = option(
        "Total size of the bodies, files and unsent responses in one process, in units of 2**20 bytes.",
        default=512.0,
        minimum=0.001,
        maximum=MAX_COUNT,
        beyond="503; 422 if one response alone exceeds it",
    )
    max_memory: float | None = option(
        "Memory for the pages that one process reads at a time, in units of 2**20 bytes. If not given, 80 % of the memory "
        "that the container or machine has left at startup, divided by workers.",
        default=None,
        minimum=MIN_PAGE_MEMORY,
        maximum=2**30,
        beyond="waits; 503 at the deadline; 422 if one page alone exceeds it",
    )
    max_megapixels: float = option_of(
        InputOptions, "max_megapixels", default=50.0, beyond="422; PDF pages are rendered smaller"
    )
    max_pages: int = option(
        "Pages to read of a document. 0: all.",
        default=10,
        minimum=0,
        maximum=MAX_COUNT,
        beyond="further pages are not read",
    )
    max_lines: int = option(
        "Text regions to consider on one page.",
        default=1000,
        minimum=1,
        maximum=100_000,
        beyond="further regions are not read",
    )
    max_side: int = option(
        "Longest side of a page for detection, in pixels.",
        default=MAX_SIDE,
        minimum=32,
        maximum=MAX_SIDE,
        beyond="the page is reduced",
    )
    max_output_size: tuple[int, int] = (2000, 2000)
    """(height, width) to which returned images are reduced; `max_output_img_size` of a pipeline file."""

    def __post_init__(self) -> None:
        check(self)
        check_number("max_waiting_megabytes", self.max_waiting_megabytes, self.max_body_megabytes)
        _ = self.fetch_policy
        if not isinstance(self.max_output_size, tuple | list) or len(self.max_output_size) != 2:
            raise OptionError(f"max_output_size is {self.max_output_size!r}: it must be (height, width)")
        for side in self.max_output_size:
            check_number("max_output_size", side, 1, 65_500, whole=True)
        self._check_access()

    def _check_access(self) -> None:
        for name in self.allow_host:
            if not HOST_NAME.fullmatch(name):
                raise OptionError(
                    f"allow_host has {name!r}: give a name without scheme and port, such as ocr.example.com or *.example.com"
                )
        if self.no_keys and self.api_key_file is not None:
            raise OptionError("api_key_file and no_keys are both given: remove one of them")
        if not (self.local or self.no_keys or self.api_key_file):
            raise OptionError(
                f"host is {self.host!r}, which other machines can reach, and requests need no API key: give --api-key-file "
                "FILE with one key per line, or --no-keys if everyone who can reach the port may use the service"
            )

    @property
    def local(self) -> bool:
        """Whether only this machine can connect."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def max_body(self) -> int:
        """`max_body_megabytes` in bytes."""
        return round(self.max_body_megabytes * MEGABYTE)

    @property
    def max_waiting(self) -> int:
        """`max_waiting_megabytes` in bytes."""
        return round(self.max_waiting_megabytes * MEGABYTE)

    @property
    def max_pixels(self) -> int:
        """`max_megapixels` in pixels."""
        return round(self.max_megapixels * 1e6)

    @property
    def fetch_policy(self) -> FetchPolicy:
        """The hosts from which files are downloaded, and the limits of a download."""
        from ocr_onnx.service.fetching import FetchPolicy

        return FetchPolicy(self.allow_url, self.max_body, self.transfer_timeout, private=self.allow_private)

    @property
    def slots(self) -> int:
        """Requests that one process handles at a time."""
        return cpu_count() + 1 if self.threads is None else self.threads


def from_serving_block(block: object) -> dict[str, Any]:
    """The fields of Settings in the `Serving` block of a pipeline file. Raises OptionError if it is no mapping.

    Reads `visualize`, and of `extra` `max_num_input_imgs` (null: no limit) and `max_output_img_size`. Images are returned in
    the response, so the block's storage settings have no effect.
    """
    if block is None:
        return {}
    extra = block.get("extra") or {} if isinstance(block, dict) else None
    if not isinstance(block, dict) or not isinstance(extra, dict):
        raise OptionError(
            "Serving of the pipeline file is not a mapping: write visualize, and extra with its limits, below it"
        )
    found: dict[str, Any] = {}
    if block.get("visualize") is not None:
        found["visualize"] = block["visualize"]
    if "max_num_input_imgs" in extra:
        found["max_pages"] = extra["max_num_input_imgs"] or 0
    size = extra.get("max_output_img_size")
    if size is not None:
        found["max_output_size"] = tuple(size) if isinstance(size, list) else size
    return found
