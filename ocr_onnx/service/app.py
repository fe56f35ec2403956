"""The application: its routes, and what they answer."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ocr_onnx import __version__
from ocr_onnx.errors import OCRError
from ocr_onnx.service import documentation, envelopes, keys, logs, messages, refusals
from ocr_onnx.service.access_log import CLIENT_GONE, Entry, Journal, entry_of
from ocr_onnx.service.bodies import Asked, Bodies, Held
from ocr_onnx.service.budget import Budget, default_budget
from ocr_onnx.service.decoding import DecodeLimits, Decoder
from ocr_onnx.service.engine import Engine
from ocr_onnx.service.fetchers import Fetchers
from ocr_onnx.service.inference import Inference, Kind, kind_of
from ocr_onnx.service.metrics import Metrics
from ocr_onnx.service.origin import guard
from ocr_onnx.service.page_answers import PageAnswer
from ocr_onnx.service.page_route import add_page
from ocr_onnx.service.refusals import ClientGoneError, Refused
from ocr_onnx.service.scheduling import Wanted, Work
from ocr_onnx.service.sending import Lines, Whole, while_connected
from ocr_onnx.service.settings import MEGABYTE, Settings

ROUTES = frozenset({"/ocr", "/health", "/ready", "/metrics", "/openapi.json", "/"})

FAULT = 500

NO_URL = "addresses are not fetched here: send the file in Base64, or start the server with --allow-url HOST"


@dataclass(frozen=True, slots=True)
class Service:
    """What the routes share."""

    settings: Settings
    inference: Inference
    metrics: Metrics
    work: Work
    bodies: Bodies
    keys: keys.Keys
    fetchers: Fetchers

    def client(self, request: Request) -> str:
        """Who asks. Raises Refused (401) for one without a key where keys are asked for."""
        return self.keys.client(request.headers, request.client.host if request.client else "")

    async def ocr(self, request: Request) -> Response:
        """Answer POST /ocr."""
        client, entry = self.client(request), entry_of(request.scope)
        async with AsyncExitStack() as stack:
            stack.enter_context(self.work.taken())
            self.work.refuse_if_full()
            stack.enter_context(self.work.of_client(client))
            held = stack.enter_context(self.bodies.held(self.work))
            body = await self.bodies.receive(request, held)
            entry.received = len(body)
            asked = await self.bodies.take_apart(request.headers, body, held)
            entry.log_id = asked.ask.log_id or entry.log_id
            await stack.enter_async_context(self.work.admission())
            kind, pages = await while_connected(request.receive, self._begin(asked, held))
            await stack.enter_async_context(aclosing(pages))
            noted = _noted(pages, entry, held)
            if envelopes.LINES in request.headers.get("accept", ""):
                first = await while_connected(request.receive, anext(noted, None))
                return Lines(stack.pop_all(), held, first, noted, kind)
            found = await while_connected(request.receive, _all(noted))
            return Whole(stack.pop_all(), held, entry.log_id, found, kind)

    async def _begin(self, asked: Asked, held: Held) -> tuple[Kind, AsyncGenerator[PageAnswer, None]]:
        """What a file is, and its pages."""
        wanted = Wanted(self.settings.deadline)
        data = asked.data
        if asked.url is not None:
            data = await self._fetched(asked.url, wanted)
            held.grow(len(data))
        items = self.inference.pages(data, asked.ask, wanted)
        return kind_of(data, asked.ask.file_type), self.work.stream(items, wanted)

    async def _fetched(self, url: str, wanted: Wanted) -> bytes:
        if not self.settings.allow_url:
            raise Refused(422, NO_URL)
        return await self.fetchers.fetch(url, wanted)


async def _noted(pages: AsyncIterator[PageAnswer], entry: Entry, held: Held) -> AsyncGenerator[PageAnswer, None]:
    """The same, counted. Raises Refused where they are too many to hold."""
    begin = time.monotonic()
    async for page in pages:
        entry.waited = time.monotonic() - begin if entry.waited is None else entry.waited
        entry.pages += 1
        held.grow(len(page.body), answer=True)
        yield page


async def _all(pages: AsyncIterator[PageAnswer]) -> list[PageAnswer]:
    return [page async for page in pages]


def create_app(settings: Settings, engine: Engine) -> FastAPI:
    """The application; `app.state.service` is what its routes share."""
    metrics = Metrics()
    work = Work(settings, metrics)
    known = () if settings.api_key_file is None else keys.load(settings.api_key_file)
    limits = DecodeLimits(max_pages=settings.max_pages or None, max_pixels=settings.max_pixels)
    decoder = Decoder(limits, settings.slots)
    total = default_budget(settings.workers) if settings.max_memory is None else round(settings.max_memory * MEGABYTE)
    inference = Inference(settings, engine, metrics, decoder.pages, Budget(total))
    fetchers = Fetchers(settings, metrics, work)
    service = Service(settings, inference, metrics, work, Bodies(settings, metrics), keys.Keys(known), fetchers)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        yield
        work.close()
        fetchers.close()
        decoder.close()

    app = FastAPI(
        title=documentation.TITLE,
        description=documentation.DESCRIPTION,
        version=__version__,
        docs_url=None,  # They load scripts of another host.
        redoc_url=None,
        redirect_slashes=False,  # It would point to whatever host a request names.
        lifespan=lifespan,
    )
    app.state.service = service
    guard(app, settings, keys=service.keys.asked_for)
    app.add_middleware(Journal, metrics=metrics, routes=ROUTES)
    _add_routes(app, service)
    _add_errors(app)
    if settings.page:
        add_page(app)
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    answers: dict[int | str, dict[str, Any]] = {200: {"model": messages.Answer}}
    plain: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
    secured: dict[str, Any] = (
        {"security": [{name: []} for name in documentation.SECURITY]} if service.keys.asked_for else {}
    )

    @app.post(
        "/ocr",
        operation_id="infer",
        response_class=Response,
        responses=documentation.answers(),
        openapi_extra=documentation.body() | secured,
    )
    async def ocr(request: Request) -> Response:
        """Read the text of a picture, or of a document's pages."""
        return await service.ocr(request)

    @app.get("/health", response_class=Response, responses=answers)
    async def health(request: Request) -> Response:
        """Whether the server runs."""
        return envelopes.answer(entry_of(request.scope).log_id, "Healthy")

    @app.get("/ready", response_class=Response, responses=answers | documentation.refusals(503))
    async def ready(request: Request) -> Response:
        """Whether the server takes requests; 503 once it is to end."""
        service.work.refuse_if_draining()
        return envelopes.answer(entry_of(request.scope).log_id, "Ready")

    @app.get(
        "/metrics",
        response_class=Response,
        responses=plain | documentation.refusals(401),
        openapi_extra=secured,
    )
    async def metrics(request: Request) -> Response:
        """Numbers for Prometheus."""
        service.client(request)
        return Response(service.metrics.text(), 200, media_type=CONTENT_TYPE_LATEST)


def _add_errors(app: FastAPI) -> None:
    """Every error has the form of an answer."""

    def answered(request: Request, refused: Refused) -> Response:
        entry = entry_of(request.scope)
        entry.log_id = refused.log_id or entry.log_id
        return envelopes.refusal(entry.log_id, refused)

    @app.exception_handler(Refused)
    async def refuse(request: Request, refused: Refused) -> Response:
        return answered(request, refused)

    @app.exception_handler(OCRError)
    async def explain(request: Request, error: OCRError) -> Response:
        refused = refusals.of(error)
        if refused.status == FAULT:
            logs.logger.error("%s", error)
        return answered(request, refused)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        response = answered(request, Refused(error.status_code, error.detail))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(ClientGoneError)
    async def leave(_: Request, __: ClientGoneError) -> Response:
        return Response(status_code=CLIENT_GONE)

    @app.exception_handler(Exception)
    async def fail(request: Request, _: Exception) -> Response:
        return answered(request, Refused(FAULT, refusals.INTERNAL))
