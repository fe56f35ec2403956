"""Responses of POST /ocr: sent in chunks, counted in memory until they are sent, aborted if the client disconnects."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterable
from contextlib import AsyncExitStack
from functools import partial
from typing import TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ocr_onnx.errors import OCRError
from ocr_onnx.service import request_errors, responses
from ocr_onnx.service.access_log import CLIENT_CLOSED_REQUEST, log_entry
from ocr_onnx.service.bodies import RequestMemory
from ocr_onnx.service.inference import Kind
from ocr_onnx.service.page_encoding import EncodedPage
from ocr_onnx.service.request_errors import ClientGoneError, RequestError

T = TypeVar("T")

CHUNK = 2**16
"""Bytes passed to the connection at a time. The connection copies unsent bytes, so larger chunks take more memory."""


class PagesResponse(Response):
    """A response that releases its request's resources only after it is sent."""

    def __init__(self, resources: AsyncExitStack, memory: RequestMemory, media_type: str) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._resources, self._memory = resources, memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response. If the client disconnects, the access log gets CLIENT_CLOSED_REQUEST."""
        entry = log_entry(scope)
        async with self._resources:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            try:
                await while_connected(receive, self._send(send, entry.log_id))
            except ClientGoneError:
                entry.status = CLIENT_CLOSED_REQUEST

    async def _send(self, send: Send, log_id: str) -> None:
        raise NotImplementedError


class CompleteResponse(PagesResponse):
    """All pages at once, with a Content-Length."""

    def __init__(
        self, resources: AsyncExitStack, memory: RequestMemory, parts: Iterable[bytes], media_type: str
    ) -> None:
        super().__init__(resources, memory, media_type)
        self._parts = deque(parts)
        length = sum(map(len, self._parts))
        self.headers["content-length"] = str(length)
        memory.resize(length)
        if length <= CHUNK:
            self._parts = deque([b"".join(self._parts)])

    async def _send(self, send: Send, log_id: str) -> None:  # noqa: ARG002 the parts have it
        while self._parts:
            part = self._parts.popleft()
            await _send_chunks(send, part)
            self._memory.resize(self._memory.size - len(part))
        await send({"type": "http.response.body", "body": b""})


class NDJSONResponse(PagesResponse):
    """Each page as a line, as soon as it is read."""

    def __init__(
        self,
        resources: AsyncExitStack,
        memory: RequestMemory,
        first: EncodedPage | None,
        rest: AsyncIterator[EncodedPage],
        kind: Kind,
    ) -> None:
        super().__init__(resources, memory, responses.NDJSON)
        self._first, self._rest, self._kind = first, rest, kind

    async def _send(self, send: Send, log_id: str) -> None:
        sent: list[EncodedPage] = []
        try:
            page, self._first = self._first, None
            while page is not None:
                await _send_chunks(send, responses.page_line(len(sent), page))
                self._memory.resize(self._memory.size - len(page.body))
                sent.append(page.without_body())
                page = await anext(self._rest, None)
            info = {"dataInfo": responses.data_info(sent, self._kind)}
            last = responses.envelope(log_id, 0, responses.SUCCESS) | info
        except (RequestError, OCRError) as error:
            failed = error if isinstance(error, RequestError) else request_errors.from_ocr_error(error)
            last = responses.envelope(log_id, failed.status, failed.message)
        await _send_chunks(send, responses.last_line(last))
        await send({"type": "http.response.body", "body": b""})


async def _send_chunks(send: Send, body: bytes) -> None:
    """Send a part of a body in chunks; each waits until the connection has sent the previous one."""
    for start in range(0, len(body), CHUNK):
        await send({"type": "http.response.body", "body": body[start : start + CHUNK], "more_body": True})
        await asyncio.sleep(0)  # `send` returns immediately on a lost connection; this lets the task be canceled.


async def while_connected(receive: Receive, work: Awaitable[T]) -> T:
    """Await `work`; cancel it and raise ClientGoneError if the client disconnects. The body must have been received."""

    async def disconnected() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    task, disconnect = asyncio.ensure_future(work), asyncio.ensure_future(disconnected())
    disconnect.add_done_callback(partial(_cancel, task))
    try:
        return await task
    except asyncio.CancelledError:
        if disconnect.done():
            raise ClientGoneError from None
        raise
    finally:
        disconnect.cancel()
        task.cancel()
        # A task refers to its exception, whose traceback refers to this frame: a cycle that holds memory until collected.
        del task, disconnect


def _cancel(task: asyncio.Future[T], disconnect: asyncio.Future[None]) -> None:
    """Cancel the task of a client that disconnected."""
    if not disconnect.cancelled():
        task.cancel()
