"""The FastAPI application and its routes."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.responses import Response

from ocr_onnx import __version__
from ocr_onnx.errors import OCRError
from ocr_onnx.inputs.decoding import Decoder
from ocr_onnx.inputs.decoding_client import DecodeLimits
from ocr_onnx.outputs import pdf
from ocr_onnx.outputs.formats import FORMATS, Writer
from ocr_onnx.service import keys, logs, messages, openapi, request_errors, responses
from ocr_onnx.service.access_log import CLIENT_CLOSED_REQUEST, AccessLogEntry, AccessLogMiddleware, log_entry
from ocr_onnx.service.bodies import BodyReader, ParsedRequest, RequestMemory
from ocr_onnx.service.budget import Budget, default_budget
from ocr_onnx.service.dialects import DIALECTS, MODEL, MODEL_METADATA, PAGE, Dialect
from ocr_onnx.service.engine import Engine
from ocr_onnx.service.fetch_pool import FetchPool
from ocr_onnx.service.inference import Inference, Kind, kind_of
from ocr_onnx.service.metrics import Metrics
from ocr_onnx.service.origin import add_origin_check
from ocr_onnx.service.page_encoding import EncodedPage
from ocr_onnx.service.page_route import add_page
from ocr_onnx.service.request_errors import ClientGoneError, RequestError
from ocr_onnx.service.scheduling import CancelToken, Scheduler
from ocr_onnx.service.settings import MEGABYTE, Settings
from ocr_onnx.service.streaming import CompleteResponse, NDJSONResponse, while_connected

ROUTES = frozenset(
    {"/ocr", "/health", "/ready", "/metrics", "/openapi.json", "/docs", "/", *(each.path for each in DIALECTS)}
)

INTERNAL_SERVER_ERROR = 500

URLS_REFUSED = "this server downloads no URLs: send the file in Base64, or start the server with --allow-url HOST"


@dataclass(frozen=True, slots=True)
class Service:
    """The state that routes share."""

    settings: Settings
    inference: Inference
    metrics: Metrics
    scheduler: Scheduler
    bodies: BodyReader
    keys: keys.Keys
    fetch_pool: FetchPool

    def client(self, request: Request) -> str:
        """Identify the client. Raises RequestError (401) without a required key."""
        return self.keys.client(request.headers, request.client.host if request.client else "")

    async def ocr(self, request: Request) -> Response:
        """Handle POST /ocr."""
        entry = log_entry(request.scope)
        async with AsyncExitStack() as stack:
            body, memory = await self._received(request, stack)
            parsed = await self.bodies.parse(request.headers, body, memory)
            entry.log_id = parsed.fields.log_id or entry.log_id
            accept = request.headers.get("accept", "")
            writer = writer_of(parsed.fields.format, accept)
            if writer is not None:
                writer.require()
            await stack.enter_async_context(self.scheduler.admission())
            token = CancelToken(self.settings.deadline)
            stack.callback(lambda: setattr(entry, "waited", token.waited))
            kind, pages = await while_connected(request.receive, self._start(parsed, memory, writer, token))
            await stack.enter_async_context(aclosing(pages))
            counted = _counted(pages, entry, memory)
            if writer is None and responses.NDJSON in accept:
                first = await while_connected(request.receive, anext(counted, None))
                return NDJSONResponse(stack.pop_all(), memory, first, counted, kind)
            found = await while_connected(request.receive, _all(counted))
            if writer is None:
                parts, media_type = responses.json_parts(entry.log_id, found, kind), responses.JSON
            else:
                parts, media_type = responses.document_parts(writer, found), writer.media_type
            return CompleteResponse(stack.pop_all(), memory, parts, media_type)

    async def speak(self, dialect: Dialect, request: Request) -> Response:
        """Handle a request in the protocol of another service."""
        entry, fields = log_entry(request.scope), messages.parse({"file": "in the body"})
        async with AsyncExitStack() as stack:
            body, memory = await self._received(request, stack)
            files = await dialect.files(request.headers, body)
            body.clear()
            memory.resize(sum(map(len, files)))
            await stack.enter_async_context(self.scheduler.admission())
            found, end = [], time.monotonic() + self.settings.deadline
            for data in files:
                token = CancelToken(end - time.monotonic())
                pages = self.scheduler.stream(self.inference.pages(data, fields, token, PAGE), token)
                async with aclosing(pages):
                    read = await while_connected(request.receive, _all(_counted(pages, entry, memory)))
                found.append([json.loads(page.body) for page in read])
            reply = json.dumps(dialect.reply(found), ensure_ascii=False).encode("utf-8", "replace")
            return CompleteResponse(stack.pop_all(), memory, [reply], responses.JSON)

    async def _received(self, request: Request, stack: AsyncExitStack) -> tuple[bytearray, RequestMemory]:
        """Receive the body of a request within all limits, which hold until the stack is closed."""
        client = self.client(request)
        stack.enter_context(self.scheduler.accepted())
        self.scheduler.refuse_if_full()
        stack.enter_context(self.scheduler.limited(client))
        memory = stack.enter_context(self.bodies.request_memory(self.scheduler))
        body = await self.bodies.receive(request, memory)
        log_entry(request.scope).received = len(body)
        return body, memory

    async def _start(
        self, parsed: ParsedRequest, memory: RequestMemory, writer: Writer | None, token: CancelToken
    ) -> tuple[Kind, AsyncGenerator[EncodedPage, None]]:
        """Download the file if necessary, and start reading it: its kind and its pages."""
        data = parsed.data
        if parsed.url is not None:
            data = await self._download(parsed.url, token)
            memory.grow(len(data))
        pages = self.inference.pages(data, parsed.fields, token, writer)
        return kind_of(data, parsed.fields.file_type), self.scheduler.stream(pages, token)

    async def _download(self, url: str, token: CancelToken) -> bytes:
        if not self.settings.allow_url:
            raise RequestError(422, URLS_REFUSED)
        return await self.fetch_pool.fetch(url, token)


def writer_of(name: str | None, accept: str) -> Writer | None:
    """The output format that a request chooses by name or by its Accept header; None: PaddleX's JSON.

    Accept chooses a format only if the client does not accept JSON, because many clients send a list of types by default.
    """
    if name is not None:
        return FORMATS[name]
    if responses.JSON in accept or responses.NDJSON in accept or "*/*" in accept:
        return None
    return next((writer for writer in FORMATS.values() if writer.media_type in accept), None)


async def _counted(
    pages: AsyncIterator[EncodedPage], entry: AccessLogEntry, memory: RequestMemory
) -> AsyncGenerator[EncodedPage, None]:
    """Count pages in the access log and in memory. Raises RequestError if they exceed the memory limit."""
    async for page in pages:
        entry.pages += 1
        memory.grow(len(page.body), response=True)
        yield page


async def _all(pages: AsyncIterator[EncodedPage]) -> list[EncodedPage]:
    return [page async for page in pages]


def create_app(settings: Settings, engine: Engine) -> FastAPI:
    """Create the application; `app.state.service` is the state that its routes share."""
    metrics = Metrics()
    scheduler = Scheduler(settings, metrics)
    known = () if settings.api_key_file is None else keys.load(settings.api_key_file)
    limits = DecodeLimits(max_pages=settings.max_pages or None, max_pixels=settings.max_pixels)
    decoder = Decoder(limits, settings.slots, modules=pdf.MODULES)
    total = default_budget(settings.workers) if settings.max_memory is None else round(settings.max_memory * MEGABYTE)
    inference = Inference(settings, engine, metrics, decoder, Budget(total))
    fetch_pool = FetchPool(settings, metrics, scheduler)
    bodies = BodyReader(settings, metrics)
    service = Service(settings, inference, metrics, scheduler, bodies, keys.Keys(known), fetch_pool)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        yield
        scheduler.close()
        fetch_pool.close()
        decoder.close()

    app = FastAPI(
        title=openapi.TITLE,
        description=openapi.DESCRIPTION,
        version=__version__,
        docs_url=None,  # Swagger UI and ReDoc load scripts from another host; page_route has /docs.
        redoc_url=None,
        redirect_slashes=False,  # The redirect would use the request's Host.
        lifespan=lifespan,
    )
    app.state.service = service
    add_origin_check(app, settings, keys=service.keys.required)
    app.add_middleware(AccessLogMiddleware, metrics=metrics, routes=ROUTES)
    _add_routes(app, service)
    _add_error_handlers(app)
    if settings.page:
        add_page(app)
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    enveloped: dict[int | str, dict[str, Any]] = {200: {"model": messages.Envelope}}
    plain: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
    secured: dict[str, Any] = {"security": [{name: []} for name in openapi.SECURITY]} if service.keys.required else {}

    @app.post(
        "/ocr",
        operation_id="infer",
        response_class=Response,
        responses=openapi.ocr_responses(),
        openapi_extra=openapi.body() | secured,
    )
    async def ocr(request: Request) -> Response:
        """Read the text of an image, or of the pages of a document."""
        return await service.ocr(request)

    for dialect in DIALECTS:
        speak = partial(service.speak, dialect)
        app.add_api_route(dialect.path, speak, methods=[dialect.method], include_in_schema=False, response_model=None)

    @app.get(f"/v2/models/{MODEL}", include_in_schema=False)
    async def model() -> Response:
        return Response(json.dumps(MODEL_METADATA), media_type=responses.JSON)

    # Probes of load balancers and monitors send HEAD.
    @app.get("/v2/health/live", include_in_schema=False)
    @app.head("/health", include_in_schema=False)
    @app.get("/health", response_class=Response, responses=enveloped)
    async def health(request: Request) -> Response:
        """Report that the server runs."""
        return responses.success(log_entry(request.scope).log_id, "Healthy")

    @app.get("/v2/health/ready", include_in_schema=False)
    @app.get(f"/v2/models/{MODEL}/ready", include_in_schema=False)
    @app.head("/ready", include_in_schema=False)
    @app.get("/ready", response_class=Response, responses=enveloped | openapi.error_responses(503))
    async def ready(request: Request) -> Response:
        """Report whether the server accepts requests; 503 during shutdown."""
        service.scheduler.refuse_if_draining()
        return responses.success(log_entry(request.scope).log_id, "Ready")

    @app.get(
        "/metrics",
        response_class=Response,
        responses=plain | openapi.error_responses(401),
        openapi_extra=secured,
    )
    async def metrics(request: Request) -> Response:
        """Metrics for Prometheus."""
        service.client(request)
        return Response(service.metrics.text(), 200, media_type=CONTENT_TYPE_LATEST)


def _add_error_handlers(app: FastAPI) -> None:
    """Answer every error with an envelope."""

    def failure(request: Request, error: RequestError) -> Response:
        entry = log_entry(request.scope)
        entry.log_id = error.log_id or entry.log_id
        return responses.failure(entry.log_id, error)

    @app.exception_handler(RequestError)
    async def on_request_error(request: Request, error: RequestError) -> Response:
        return failure(request, error)

    @app.exception_handler(OCRError)
    async def on_ocr_error(request: Request, error: OCRError) -> Response:
        found = request_errors.from_ocr_error(error)
        if found.status == INTERNAL_SERVER_ERROR:
            logs.logger.error("%s", error)
        return failure(request, found)

    @app.exception_handler(HTTPException)
    async def on_http_exception(request: Request, error: HTTPException) -> Response:
        response = failure(request, RequestError(error.status_code, error.detail))
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(ClientGoneError)
    async def on_client_gone(_: Request, __: ClientGoneError) -> Response:
        return Response(status_code=CLIENT_CLOSED_REQUEST)

    @app.exception_handler(Exception)
    async def on_exception(request: Request, _: Exception) -> Response:
        return failure(request, RequestError(INTERNAL_SERVER_ERROR, request_errors.INTERNAL))
