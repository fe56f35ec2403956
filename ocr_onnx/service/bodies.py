"""Request bodies: received with limits of size, time and memory, then parsed."""

from __future__ import annotations

import asyncio
import binascii
import re
import sys
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

from fastapi import Request
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from ocr_onnx.inputs.urls import is_url
from ocr_onnx.service import messages
from ocr_onnx.service.metrics import Metrics
from ocr_onnx.service.request_errors import ClientGoneError, RequestError
from ocr_onnx.service.scheduling import Scheduler
from ocr_onnx.service.settings import MEGABYTE, Settings

DATA_URL = re.compile(r"data:[^,;]*(;[^,;]*)*;base64,", re.IGNORECASE)

NOT_BASE64 = "file is neither Base64 nor an http or https URL"

MAX_FORM_FIELDS = 32

MAX_CONTENT_TYPE = 1000
"""Characters of a Content-Type header; parsing a longer one is slow."""

MAX_JSON_VALUES = 100_000
"""Values in a JSON body. As Python objects they take many times their size, and no valid request has more than 20."""

WHITESPACE = b" \t\r\n\f\v"

BLOCK = 2**20
"""Bytes of a form that are parsed before the event loop serves other requests."""

LARGE = 2**20
"""Bytes; larger bodies are parsed one at a time."""

FORM, JSON = "multipart/form-data", "application/json"

REDUCE_RESPONSE = "send fewer pages, or use visualize false or application/x-ndjson"


class ParsedRequest(NamedTuple):
    """A parsed request body."""

    fields: messages.OCRRequest
    """The fields without `file`, which may be large."""
    data: bytes
    """The file; empty if it is to be downloaded from `url`."""
    url: str | None


class InMemoryMultiPartParser(MultiPartParser):
    """Never writes uploads to disk, because they may be confidential."""

    spool_max_size: int = sys.maxsize


class RequestMemory:
    """The size in bytes of what one request holds in memory: its body, then its file, then its response."""

    def __init__(self, bodies: BodyReader, scheduler: Scheduler) -> None:
        self._bodies, self._scheduler = bodies, scheduler
        self.size: int = 0

    def resize(self, size: int) -> None:
        """Set the size, without a check of the limits."""
        self._bodies.count(size - self.size)
        self.size = size

    def grow(self, more: int, *, response: bool = False) -> None:
        """Add bytes of the body or of the response. Raises RequestError (503, or 422 for a response) beyond the limits."""
        self.resize(self.size + more)
        self._bodies.check(self.size if response else 0, self._scheduler)


class BodyReader:
    """Receives and parses bodies, and tracks the memory of all requests. Belongs to one event loop."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._total = 0
        self._parsing = asyncio.Lock()

    @contextmanager
    def request_memory(self, scheduler: Scheduler) -> Iterator[RequestMemory]:
        """Track the memory of one request until the block ends."""
        memory = RequestMemory(self, scheduler)
        try:
            yield memory
        finally:
            memory.resize(0)

    async def receive(self, request: Request, memory: RequestMemory) -> bytearray:
        """Receive the body of a request.

        Raises RequestError: 413 if it is too large, 408 if it is too slow, 503 if all requests hold too much memory.
        """
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._settings.max_body:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.transfer_timeout):
                async for block in _blocks(request):
                    memory.grow(len(block))
                    body += block
                    if len(body) > self._settings.max_body:
                        raise self._too_large()
        except TimeoutError:
            seconds = self._settings.transfer_timeout
            raise RequestError(408, f"the request took longer than {seconds:g} seconds to arrive", close=True) from None
        return body

    async def parse(self, headers: Headers, body: bytearray, memory: RequestMemory) -> ParsedRequest:
        """Parse a body, which is emptied. Raises RequestError as `parse_body`.

        Parsing holds the body a second time, so large bodies are parsed one at a time.
        """
        async with self._parsing if len(body) > LARGE else nullcontext():
            parsed = await parse_body(headers, body)
        body.clear()
        memory.resize(len(parsed.data))
        return parsed

    def count(self, more: int) -> None:
        """Add to the total size of all requests."""
        self._total += more
        self._metrics.waiting_bytes.inc(more)

    def check(self, response: int, scheduler: Scheduler) -> None:
        """Raise RequestError: 422 if a response of this size alone exceeds the limit, 503 if all requests together do."""
        limit = self._settings.max_waiting
        if response > limit:
            raise RequestError(422, f"the response is larger than {limit / MEGABYTE:g} MB: {REDUCE_RESPONSE}")
        if self._total > limit:
            self._metrics.refused.labels("bodies").inc()
            raise RequestError(
                503, "the server holds too many bodies and responses: try again", retry_after=scheduler.retry_after()
            )

    def _too_large(self) -> RequestError:
        megabytes = self._settings.max_body_megabytes
        return RequestError(413, f"the request body is larger than {megabytes:g} MB: send a smaller file")


async def _blocks(request: Request) -> AsyncGenerator[bytes, None]:
    more = True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def parse_body(headers: Headers, body: bytearray) -> ParsedRequest:
    """Parse a body as JSON or as a form. Raises RequestError: 415 for another content type, 422 if it is invalid."""
    if headers.get("content-encoding", "identity") != "identity":
        raise RequestError(415, "Content-Encoding is not supported: send the body uncompressed")
    header = headers.get("content-type", JSON)
    media_type = header.partition(";")[0].strip().lower() if len(header) <= MAX_CONTENT_TYPE else ""
    if media_type == FORM:
        form = await _read_form(headers, body)
        try:
            return await asyncio.to_thread(_parse_form, form)
        finally:
            await form.close()
    if media_type == JSON or (media_type.startswith("application/") and media_type.endswith("+json")):
        return await asyncio.to_thread(_parse_json, body)
    raise RequestError(415, f"the Content-Type must be {JSON} or {FORM}")


def check_json(body: bytearray) -> None:
    """Raise RequestError (422) for a JSON body with more values than any valid request."""
    if sum(body.count(sign) for sign in (b",", b"[", b"{")) > MAX_JSON_VALUES:
        raise RequestError(422, f"the body has more than {MAX_JSON_VALUES} values: send only the fields of a request")


def _parse_json(body: bytearray) -> ParsedRequest:
    check_json(body)
    fields = messages.parse(body)
    body.clear()
    return _with_file(fields)


async def _read_form(headers: Headers, body: bytearray) -> FormData:
    async def blocks() -> AsyncGenerator[bytes, None]:
        while body:
            block = bytes(body[:BLOCK])
            del body[:BLOCK]
            yield block
            await asyncio.sleep(0)

    charset = parse_options_header(headers["Content-Type"])[1].get(b"charset", b"utf-8")
    if charset.lower() != b"utf-8":  # Some of Python's codecs take hours, others raise unexpected exceptions.
        raise RequestError(415, "the charset of a form must be UTF-8")
    try:
        parser = InMemoryMultiPartParser(
            headers, blocks(), max_files=1, max_fields=MAX_FORM_FIELDS, max_part_size=len(body)
        )
        return await parser.parse()
    except (MultiPartException, KeyError) as error:
        reason = error.message if isinstance(error, MultiPartException) else "its Content-Type has no boundary"
        raise RequestError(422, f"the form is invalid: {reason}") from None


def _parse_form(form: FormData) -> ParsedRequest:
    """Fields of a form are text; an empty one, or `null`, counts as absent."""
    fields: dict[str, Any] = {}
    for name, value in form.items():
        if isinstance(value, str) and value not in {"", "null"}:
            fields[name] = int(value) if name == "fileType" and value in {"0", "1"} else value
    upload = form.get("file")
    if not isinstance(upload, UploadFile):
        return _with_file(messages.parse(fields))
    parsed = messages.parse(fields | {"file": "an upload"})
    data = upload.file.read()
    if not data:
        raise RequestError(422, "file is empty")
    return ParsedRequest(parsed, data, None)


def _with_file(fields: messages.OCRRequest) -> ParsedRequest:
    """Move `file` out of the fields: decoded, or as a URL."""
    without = fields.model_copy(update={"file": ""})
    if is_url(fields.file):
        return ParsedRequest(without, b"", fields.file)
    return ParsedRequest(without, decode(fields.file), None)


def decode(text: str) -> bytes:
    """Decode Base64 or a data URL; whitespace is ignored. Raises RequestError (422)."""
    start = DATA_URL.match(text[:256])
    try:
        data = _decode_base64(text[start.end() if start else 0 :])
    except ValueError:
        raise RequestError(422, NOT_BASE64) from None
    if not data:
        raise RequestError(422, "file is empty")
    return data


def _decode_base64(text: str) -> bytes:
    """Raises ValueError if the text is not Base64. Text is copied only if it has whitespace."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return binascii.a2b_base64(text.encode("ascii").translate(None, WHITESPACE), strict_mode=True)
