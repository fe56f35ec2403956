"""What the service is set to: where it listens, how much it takes, what one request may ask."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ocr_onnx.errors import OptionError
from ocr_onnx.options import MAX_PIXELS, MAX_SIDE, check_number
from ocr_onnx.runtime.threads import cpu_count
from ocr_onnx.service.fetching import FetchPolicy

MEGABYTE = 2**20

LEAST_MEMORY = 128
"""Megabytes; the smallest page needs about half."""

HOST_NAME = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.IGNORECASE)
"""A name of allow_host; names in other letters in their ASCII form (xn--)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The service's settings. Raises OptionError for a value outside its range."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0: any that is free."""
    workers: int = 1
    """Processes, each with an engine of its own."""
    threads: int | None = None
    """Requests that one process works on at a time; None: one more than its cores."""
    queue_size: int = 64
    """Requests that may wait in one process for those; the next is answered with 503."""
    deadline: float = 120.0
    """Seconds from a request's arrival to its answer."""
    transfer_timeout: float = 60.0
    """Seconds within which a request's body must have come; seconds for which an answer may wait, in all, to be taken."""
    header_timeout: float = 10.0
    """Seconds within which a request's header must have come."""
    max_connections: int = 500
    """Connections that one process holds; the next one replaces the oldest that waits for its client."""
    max_connections_per_address: int = 100
    """Of those, from one client address, or one IPv6 network (/64); 0: no limit, as behind a reverse proxy."""
    max_per_client: int | None = None
    """Requests that one client (its API key, else its address) may have in one process at a time; the next gets 429."""
    max_body_megabytes: float = 64.0
    """Of one request's body, in units of 2**20 bytes."""
    max_waiting_megabytes: float = 512.0
    """Of all bodies, files and unsent answers in one process together."""
    max_megapixels: float = 50.0
    """Of one page; PDF pages are rendered smaller instead."""
    max_memory: float | None = None
    """Of all pages that one process reads at a time, in units of 2**20 bytes; None: budget.SHARE of what is left at the start.

    A page waits until the others leave enough; one that needs more by itself is refused.
    """
    max_pages: int | None = 10
    """The first pages of a document that are read; None: all."""
    max_lines: int = 1000
    """The most regions that detection looks at on one page."""
    max_side: int = MAX_SIDE
    """The longest side of a page that detection is given, in pixels."""
    pdf_scale: float = 2.0
    """PDF pages are rendered at this times 72 dots an inch."""
    visualize: bool = True
    """Send pictures where a request does not say."""
    max_output_size: tuple[int, int] = (2000, 2000)
    """Pictures sent are reduced to this (height, width)."""
    allow_url: tuple[str, ...] = ()
    """Hosts from which `file` may be fetched, as fetching.FetchPolicy has them. None: no address is fetched."""
    allow_private: bool = False
    """Those hosts may be in private networks."""
    api_key_file: Path | None = None
    """A key a line. None: requests need no key."""
    no_keys: bool = False
    """Let other machines connect although requests need no key."""
    allow_host: tuple[str, ...] = ()
    """Names (ocr.example.com, *.example.com) that the Host header may have besides localhost, if requests need no key."""
    page: bool = True
    """Serve the page at /."""

    def __post_init__(self) -> None:
        check_number("port", self.port, 0, 65_535, whole=True)
        check_number("workers", self.workers, 1, 256, whole=True)
        check_number("queue_size", self.queue_size, 0, 100_000, whole=True)
        for name in ("deadline", "transfer_timeout", "header_timeout"):
            check_number(name, getattr(self, name), 0.05, 86_400)
        check_number("max_connections", self.max_connections, 1, 1_000_000, whole=True)
        check_number("max_connections_per_address", self.max_connections_per_address, 0, 1_000_000, whole=True)
        check_number("max_body_megabytes", self.max_body_megabytes, 0.001, 2047)
        check_number("max_waiting_megabytes", self.max_waiting_megabytes, self.max_body_megabytes, 1_000_000)
        check_number("max_megapixels", self.max_megapixels, 1e-6, MAX_PIXELS / 1e6)
        if self.max_memory is not None:
            check_number("max_memory", self.max_memory, LEAST_MEMORY, 2**30)
        check_number("max_lines", self.max_lines, 1, 100_000, whole=True)
        check_number("max_side", self.max_side, 32, MAX_SIDE, whole=True)
        for name in ("threads", "max_per_client", "max_pages"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), 1, 1_000_000, whole=True)
        self._check_kinds()
        self._check_keys()

    def _check_kinds(self) -> None:
        _ = self.fetch_policy
        if not isinstance(self.max_output_size, tuple | list) or len(self.max_output_size) != 2:
            raise OptionError(f"max_output_size is {self.max_output_size!r}: it must be (height, width)")
        for side in self.max_output_size:
            check_number("max_output_size", side, 1, 65_500, whole=True)
        if not isinstance(self.visualize, bool):
            raise OptionError(f"visualize is {self.visualize!r}: it must be True or False")

    def _check_keys(self) -> None:
        for name in self.allow_host:
            if not HOST_NAME.fullmatch(name):
                raise OptionError(
                    f"allow_host has {name!r}: give a name without scheme and port, such as ocr.example.com or *.example.com"
                )
        if self.no_keys and self.api_key_file is not None:
            raise OptionError("api_key_file and no_keys are both given: leave out one of them")
        if not (self.local or self.no_keys or self.api_key_file):
            raise OptionError(
                f"host is {self.host!r}, which other machines can reach, and requests need no API key: give --api-key-file "
                "FILE with a key a line, or --no-keys if everyone who can reach the port may use the service"
            )

    @property
    def local(self) -> bool:
        """Whether this machine alone can connect."""
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def max_body(self) -> int:
        """Of one request, in bytes."""
        return round(self.max_body_megabytes * MEGABYTE)

    @property
    def max_waiting(self) -> int:
        """Of all bodies, files and unsent answers together, in bytes."""
        return round(self.max_waiting_megabytes * MEGABYTE)

    @property
    def max_pixels(self) -> int:
        """Of one page."""
        return round(self.max_megapixels * 1e6)

    @property
    def fetch_policy(self) -> FetchPolicy:
        """Which addresses are fetched."""
        return FetchPolicy(self.allow_url, self.max_body, self.transfer_timeout, private=self.allow_private)

    @property
    def slots(self) -> int:
        """Requests that one process works on at a time."""
        return cpu_count() + 1 if self.threads is None else self.threads


def of_serving_block(block: object) -> dict[str, Any]:
    """What a pipeline file's `Serving` says, as fields of Settings. Raises OptionError where it is no such block.

    `visualize`, and of `extra` `max_num_input_imgs` (null: no limit) and `max_output_img_size`; pictures are sent in the
    answer, so where to store them has no meaning here.
    """
    if block is None:
        return {}
    extra = block.get("extra") or {} if isinstance(block, dict) else None
    if not isinstance(block, dict) or not isinstance(extra, dict):
        raise OptionError("Serving of the pipeline file is no mapping: it has visualize, and extra with its limits")
    found: dict[str, Any] = {}
    if block.get("visualize") is not None:
        found["visualize"] = block["visualize"]
    if "max_num_input_imgs" in extra:
        found["max_pages"] = extra["max_num_input_imgs"]
    size = extra.get("max_output_img_size")
    if size is not None:
        found["max_output_size"] = tuple(size) if isinstance(size, list) else size
    return found
