"""Answers of POST /ocr: sent in pieces, counted in memory until they are sent, and given up when the client leaves."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ocr_onnx.errors import OCRError
from ocr_onnx.service import envelopes, refusals
from ocr_onnx.service.access_log import CLIENT_GONE, entry_of
from ocr_onnx.service.bodies import Held
from ocr_onnx.service.inference import Kind
from ocr_onnx.service.page_answers import PageAnswer
from ocr_onnx.service.refusals import ClientGoneError, Refused

T = TypeVar("T")

PIECE = 2**16
"""Bytes that are handed to the connection at a time: what it has not sent of them is a second copy."""


class Answer(Response):
    """An answer that keeps its request's place, and what it counts in memory, until it is sent."""

    def __init__(self, kept: AsyncExitStack, held: Held, media_type: str) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._kept, self._held = kept, held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. Where the client leaves, the log has status 499."""
        entry = entry_of(scope)
        async with self._kept:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            try:
                await while_connected(receive, self._send(send, entry.log_id))
            except ClientGoneError:
                entry.status = CLIENT_GONE

    async def _send(self, send: Send, log_id: str) -> None:
        raise NotImplementedError


class Whole(Answer):
    """All pages in one JSON object."""

    def __init__(self, kept: AsyncExitStack, held: Held, log_id: str, pages: Sequence[PageAnswer], kind: Kind) -> None:
        super().__init__(kept, held, envelopes.JSON)
        self._parts = deque(envelopes.whole(log_id, pages, kind))
        length = sum(map(len, self._parts))
        self.headers["content-length"] = str(length)
        held.resize(length)
        if length <= PIECE:
            self._parts = deque([b"".join(self._parts)])

    async def _send(self, send: Send, log_id: str) -> None:  # noqa: ARG002 the parts have it
        while self._parts:
            part = self._parts.popleft()
            await _pieces(send, part)
            self._held.resize(self._held.size - len(part))
        await send({"type": "http.response.body", "body": b""})


class Lines(Answer):
    """The pages as they are done, one line each."""

    def __init__(
        self, kept: AsyncExitStack, held: Held, first: PageAnswer | None, rest: AsyncIterator[PageAnswer], kind: Kind
    ) -> None:
        super().__init__(kept, held, envelopes.LINES)
        self._first, self._rest, self._kind = first, rest, kind

    async def _send(self, send: Send, log_id: str) -> None:
        sent: list[PageAnswer] = []
        try:
            page, self._first = self._first, None
            while page is not None:
                await _pieces(send, envelopes.line(len(sent), page))
                self._held.resize(self._held.size - len(page.body))
                sent.append(page.without_body())
                page = await anext(self._rest, None)
            info = {"dataInfo": envelopes.data_info(sent, self._kind)}
            last = envelopes.said(log_id, 0, envelopes.SUCCESS) | info
        except (Refused, OCRError) as error:
            refused = error if isinstance(error, Refused) else refusals.of(error)
            last = envelopes.said(log_id, refused.status, refused.message)
        await _pieces(send, envelopes.last_line(last))
        await send({"type": "http.response.body", "body": b""})


async def _pieces(send: Send, body: bytes) -> None:
    """Send a part of an answer, piece by piece. Each waits until the connection has sent the one before."""
    for start in range(0, len(body), PIECE):
        await send({"type": "http.response.body", "body": body[start : start + PIECE], "more_body": True})
        await asyncio.sleep(0)  # On a lost connection `send` returns at once, and nothing would end the task.


async def while_connected(receive: Receive, work: Awaitable[T]) -> T:
    """The result of `work`. Raises ClientGoneError, and cancels it, if the client leaves. The body must have come."""

    async def leave() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    task, left = asyncio.ensure_future(work), asyncio.ensure_future(leave())
    left.add_done_callback(partial(_cancel, task))
    try:
        return await task
    except asyncio.CancelledError:
        if left.done():
            raise ClientGoneError from None
        raise
    finally:
        left.cancel()
        task.cancel()
        del (
            task,
            left,
        )  # A task has its exception, whose traceback has this frame: together only the collector frees them.


def _cancel(task: asyncio.Future[T], left: asyncio.Future[None]) -> None:
    """Cancel the work of a client that left."""
    if not left.cancelled():
        task.cancel()
