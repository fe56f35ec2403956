"""A request's body: received within bounds, and taken apart."""

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
from ocr_onnx.service.refusals import ClientGoneError, Refused
from ocr_onnx.service.scheduling import Work
from ocr_onnx.service.settings import MEGABYTE, Settings

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

LARGE = 2**20
"""Bytes; larger bodies are parsed one at a time."""

FORM, JSON = "multipart/form-data", "application/json"

SMALLER = "send fewer pages, or ask for visualize false or application/x-ndjson"


class Asked(NamedTuple):
    """A request, taken apart."""

    ask: messages.OCRRequest
    """Without `file`, which may be large."""
    data: bytes
    """The file; empty where it is to be fetched."""
    url: str | None


class InMemory(MultiPartParser):
    """Uploads are documents of others: they are never written to a disk."""

    spool_max_size: int = sys.maxsize


class Held:
    """The bytes of one request in memory: of its body, then its file, then its answer."""

    def __init__(self, bodies: Bodies, work: Work) -> None:
        self._bodies, self._work = bodies, work
        self.size: int = 0

    def resize(self, size: int) -> None:
        """Set the count to what is held now, which may be above the limit."""
        self._bodies.count(size - self.size)
        self.size = size

    def grow(self, more: int, *, answer: bool = False) -> None:
        """Count more bytes, of an answer or what was sent. Raises Refused (503, 422) if that is too much together."""
        self.resize(self.size + more)
        self._bodies.check(self.size if answer else 0, self._work)


class Bodies:
    """All bodies, files and answers that are in memory. Belongs to one event loop."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings, self._metrics = settings, metrics
        self._taken = 0
        self._parsing = asyncio.Lock()

    @contextmanager
    def held(self, work: Work) -> Iterator[Held]:
        """The count of one request, until it is answered."""
        held = Held(self, work)
        try:
            yield held
        finally:
            held.resize(0)

    async def receive(self, request: Request, held: Held) -> bytearray:
        """A request's body.

        Raises Refused: 413 where it is too large, 408 where it is too slow, 503 where too much is in memory.
        """
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._settings.max_body:
            raise self._too_large()
        body = bytearray()
        try:
            async with asyncio.timeout(self._settings.transfer_timeout):
                async for block in _blocks(request):
                    held.grow(len(block))
                    body += block
                    if len(body) > self._settings.max_body:
                        raise self._too_large()
        except TimeoutError:
            seconds = self._settings.transfer_timeout
            raise Refused(408, f"the request took longer than {seconds:g} seconds to arrive", close=True) from None
        return body

    async def take_apart(self, headers: Headers, body: bytearray, held: Held) -> Asked:
        """What a body asks for; it is emptied. Raises what `take_apart` raises.

        Parsing holds the body a second time, so large bodies are parsed one at a time.
        """
        async with self._parsing if len(body) > LARGE else nullcontext():
            asked = await take_apart(headers, body)
        body.clear()
        held.resize(len(asked.data))
        return asked

    def count(self, more: int) -> None:
        """Count bytes of a request."""
        self._taken += more
        self._metrics.waiting_bytes.inc(more)

    def check(self, answer: int, work: Work) -> None:
        """Raise Refused where too much is held: 422 by an answer alone, else 503."""
        most = self._settings.max_waiting
        if answer > most:
            raise Refused(422, f"the answer has more than {most / MEGABYTE:g} MB: {SMALLER}")
        if self._taken > most:
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
    ask = messages.parse(body)
    body.clear()
    return _asked(ask)


async def _form(headers: Headers, body: bytearray) -> FormData:
    async def blocks() -> AsyncGenerator[bytes, None]:
        while body:
            block = bytes(body[:BLOCK])
            del body[:BLOCK]
            yield block
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
        return _asked(messages.parse(fields))
    ask = messages.parse(fields | {"file": "an upload"})
    data = upload.file.read()
    if not data:
        raise Refused(422, "file is empty")
    return Asked(ask, data, None)


def _asked(ask: messages.OCRRequest) -> Asked:
    without = ask.model_copy(update={"file": ""})
    if is_url(ask.file):
        return Asked(without, b"", ask.file)
    return Asked(without, decode(ask.file), None)


def decode(text: str) -> bytes:
    """Base64, with or without the beginning of a data URL; white space is passed over. Raises Refused (422)."""
    start = DATA_URL.match(text[:256])
    try:
        data = _unpacked(text[start.end() if start else 0 :])
    except ValueError:
        raise Refused(422, NOT_BASE64) from None
    if not data:
        raise Refused(422, "file is empty")
    return data


def _unpacked(text: str) -> bytes:
    """Raises ValueError where it is no Base64. Only text with white space is copied."""
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except binascii.Error:
        return binascii.a2b_base64(text.encode("ascii").translate(None, SPACE), strict_mode=True)
