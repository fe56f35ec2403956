"""A request's body: received within bounds, and taken apart."""

from __future__ import annotations

import asyncio
import binascii
import re
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, NamedTuple

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ocr_onnx.inputs import is_address
from ocr_onnx.service import wire
from ocr_onnx.service.metrics import Metrics
from ocr_onnx.service.refusals import ClientGoneError, Refused
from ocr_onnx.service.settings import Settings
from ocr_onnx.service.work import Work

DATA_URL = re.compile(r"data:[^,;]*(;[^,;]*)*;base64,", re.IGNORECASE)

NOT_BASE64 = "file is neither Base64 nor an http or https address"

FIELDS = 32
"""The most fields of a form."""

LONGEST_KIND = 1000
"""Characters of a Content-Type: taking one apart is slow."""

VALUES = 100_000
"""The most values in a JSON body: as Python's objects they take many times their length, and no request has more than 20."""

SPACE = b" \t\r\n\f\v"

BLOCK = 2**20
"""Bytes of a form that are parsed before others have their turn."""

FORM, JSON = "multipart/form-data", "application/json"


class Asked(NamedTuple):
    """A request, taken apart."""

    ask: wire.OCRRequest
    """Without `file`, which may be large."""
    data: bytes
    """The file; empty where it is to be fetched."""
    url: str | None


class InMemory(MultiPartParser):
    """Uploads are documents of others: they are never written to a disk."""

    spool_max_size = sys.maxsize


class Bodies:
    """All bodies that are in memory."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._taken = 0

    @asynccontextmanager
    async def receive(self, request: Request, work: Work) -> AsyncGenerator[bytearray, None]:
        """A request's body, counted for as long as it is needed.

        Raises Refused: 413 where it is too large, 408 where it is too slow, 503 where too much is in memory.
        """
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._settings.max_body:
            raise self._too_large()
        body = bytearray()
        with self._counted() as count:
            try:
                async with asyncio.timeout(self._settings.transfer_timeout):
                    async for block in _blocks(request):
                        count(len(block))
                        body += block
                        self._check(len(body), work)
            except TimeoutError:
                seconds = self._settings.transfer_timeout
                raise Refused(408, f"the request took longer than {seconds:g} seconds to arrive", close=True) from None
            yield body

    @contextmanager
    def keep(self, length: int, work: Work) -> Iterator[None]:
        """Count what else a request has in memory. Raises Refused (503) where that is too much."""
        with self._counted() as count:
            count(length)
            self._check(length, work)
            yield

    @contextmanager
    def _counted(self) -> Iterator[Callable[[int], None]]:
        """What counts the bytes of one body, until it is no longer needed."""
        taken = 0

        def count(more: int) -> None:
            nonlocal taken
            taken += more
            self._taken += more
            self._metrics.waiting_bytes.inc(more)

        try:
            yield count
        finally:
            count(-taken)

    def _check(self, length: int, work: Work) -> None:
        if length > self._settings.max_body:
            raise self._too_large()
        if self._taken > self._settings.max_waiting:
            self._metrics.refused.labels("bodies").inc()
            raise Refused(503, "the server has too much waiting: try again", retry_after=work.retry_after())

    def _too_large(self) -> Refused:
        megabytes = self._settings.max_body_megabytes
        return Refused(413, f"the request has more than {megabytes:g} MB: send a smaller file")


async def _blocks(request: Request) -> AsyncGenerator[bytes, None]:
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def take_apart(headers: Headers, body: bytearray) -> Asked:
    """What a body asks for. Raises Refused: 415 for a kind that is not read, 422 for what cannot be understood."""
    if headers.get("content-encoding", "identity") != "identity":
        raise Refused(415, "a body with a Content-Encoding is not read: send it as it is")
    given = headers.get("content-type", JSON)
    kind = given.partition(";")[0].strip().lower() if len(given) <= LONGEST_KIND else ""
    if kind == FORM:
        form = await _form(headers, body)
        try:
            return await asyncio.to_thread(_of_form, form)
        finally:
            await form.close()
    if kind == JSON or (kind.startswith("application/") and kind.endswith("+json")):
        return await asyncio.to_thread(_of_json, body)
    raise Refused(415, f"the body must be {JSON} or {FORM}")


def _of_json(body: bytearray) -> Asked:
    if sum(body.count(sign) for sign in (b",", b"[", b"{")) > VALUES:
        raise Refused(422, f"the body has more than {VALUES} values: send the fields of a request alone")
    return _asked(wire.parse(bytes(body)))


async def _form(headers: Headers, body: bytearray) -> FormData:
    async def blocks() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(body), BLOCK):
            yield bytes(body[start : start + BLOCK])
            await asyncio.sleep(0)

    charset = parse_options_header(headers["Content-Type"])[1].get(b"charset", b"utf-8")
    if charset.lower() != b"utf-8":  # Some of Python's take hours, others raise what nobody expects.
        raise Refused(415, "a form is read as UTF-8 alone: send it so")
    try:
        parser = InMemory(headers, blocks(), max_files=1, max_fields=FIELDS, max_part_size=len(body))
        return await parser.parse()
    except (MultiPartException, KeyError) as error:
        reason = error.message if isinstance(error, MultiPartException) else "its Content-Type has no boundary"
        raise Refused(422, f"the form cannot be read: {reason}") from None


def _of_form(form: FormData) -> Asked:
    """Fields of a form are text: an empty one, or null, is as if it were not there."""
    fields: dict[str, Any] = {}
    for name, value in form.items():
        if isinstance(value, str) and value not in {"", "null"}:
            fields[name] = int(value) if name == "fileType" and value in {"0", "1"} else value
    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        return _asked(wire.parse(fields))
    ask = wire.parse(fields | {"file": "an upload"})
    data = upload.file.read()
    if not data:
        raise Refused(422, "file is empty")
    return Asked(ask, data, None)


def _asked(ask: wire.OCRRequest) -> Asked:
    without = ask.model_copy(update={"file": ""})
    if is_address(ask.file):
        return Asked(without, b"", ask.file)
    return Asked(without, decode(ask.file), None)


def decode(text: str) -> bytes:
    """Base64, with or without the beginning of a data URL; white space is passed over. Raises Refused (422)."""
    start = DATA_URL.match(text[:256])
    try:
        encoded = text[start.end() if start else 0 :].encode("ascii").translate(None, SPACE)
        data = binascii.a2b_base64(encoded, strict_mode=True)
    except (ValueError, UnicodeEncodeError):
        raise Refused(422, NOT_BASE64) from None
    if not data:
        raise Refused(422, "file is empty")
    return data
