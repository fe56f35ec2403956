"""The HTTP server: sockets, timeouts of slow clients, and shutdown."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ocr_onnx.errors import OptionError
from ocr_onnx.inputs import sandbox
from ocr_onnx.service import logs
from ocr_onnx.service.app import create_app
from ocr_onnx.service.connections import Connections, Received
from ocr_onnx.service.engine import Engine
from ocr_onnx.service.scheduling import Scheduler
from ocr_onnx.service.settings import Settings
from ocr_onnx.service.supervisor import Supervisor

MakeEngine = Callable[[], Engine]
"""Loads the models; called in each worker."""

MAX_HEADER = 2**16
"""Bytes."""

BACKLOG = 512
"""Connections that the kernel queues until they are accepted."""

MAX_ACCEPTS = 128
"""Connections accepted in one iteration of the event loop, before `max_connections` is enforced."""

KEEP_ALIVE = 30
"""Seconds until an idle connection is closed."""

CHUNK = 2**14
"""Bytes that are parsed between two checks of the parsing time."""

PARSING_SECONDS, PARSING_SECONDS_PER_BYTE = 0.5, 2.5e-7
"""Limit of the CPU time for parsing one request. One-byte chunks need four times the limit per byte."""


class Protocol(H11Protocol):
    """uvicorn's protocol with timeouts for slow clients and a limit of the parsing time, which uvicorn lacks."""

    def __init__(self, settings: Settings, connections: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._settings, self._connections = settings, connections
        self._header_timer: asyncio.TimerHandle | None = None
        self._response_timer: asyncio.TimerHandle | None = None
        self._parsing = 0.0
        self._paused = 0.0
        self._left = settings.transfer_timeout

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection. Connections beyond the limit are aborted after their received data is read."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # Pauses writing until all is sent, which measures the waiting time.
        self._connections.add(self, self.client[0] if self.client else "")
        # The next iteration of the loop reads received data; the one after it enforces the limits.
        self.loop.call_soon(self.loop.call_soon, self._connections.trim, self)
        self._expect_header()

    @property
    def received(self) -> Received:
        """The part of a request that has been received."""
        if self.cycle is None or self.cycle.response_complete:
            return Received.NO_HEADER
        return Received.HEADER if self.cycle.more_body else Received.REQUEST

    def abort(self) -> None:
        """Close the connection immediately."""
        self.transport.abort()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        self._left = self._settings.transfer_timeout
        self._connections.response_sent(self)

    def data_received(self, data: bytes) -> None:
        """Parse received data. A header must be complete within `header_timeout`."""
        for start in range(0, len(data), CHUNK):
            if not self.transport.is_closing():
                self._parse(data[start : start + CHUNK])
        if self.received is Received.NO_HEADER:
            self._expect_header()
        else:
            _stop(self._header_timer)
            self._header_timer = None

    def _parse(self, data: bytes) -> None:
        cycle, begin = self.cycle, time.thread_time()
        super().data_received(data)
        taken = time.thread_time() - begin - len(data) * PARSING_SECONDS_PER_BYTE
        self._parsing = taken + (self._parsing if self.cycle is cycle else 0)
        if self._parsing > PARSING_SECONDS:
            self.transport.abort()

    def pause_writing(self) -> None:
        """Start the timer of a client that does not receive. `transfer_timeout` limits the sum of all pauses."""
        super().pause_writing()
        self._paused = self.loop.time()
        self._response_timer = self.loop.call_later(max(self._left, 0), self.transport.abort)

    def resume_writing(self) -> None:
        """Stop the timer, because all data is sent."""
        super().resume_writing()
        self._left -= self.loop.time() - self._paused
        _stop(self._response_timer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection."""
        _stop(self._header_timer)
        _stop(self._response_timer)
        self._connections.remove(self)
        super().connection_lost(exc)

    def _expect_header(self) -> None:
        if self._header_timer is None:
            self._header_timer = self.loop.call_later(self._settings.header_timeout, self.transport.abort)


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


class Server(uvicorn.Server):
    """uvicorn's server with graceful shutdown: it finishes accepted requests, refuses new ones, then exits with 0."""

    def __init__(self, config: uvicorn.Config, scheduler: Scheduler) -> None:
        super().__init__(config)
        self.scheduler = scheduler

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and log it: from then on, a signal starts the graceful shutdown.

        asyncio uses one backlog for accepting and for the kernel's queue, so the latter is set afterwards.
        """
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(BACKLOG)
            host, port = listener.getsockname()[:2]
            logs.event("listening", host=host, port=port, process=os.getpid())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Start the shutdown; a second Ctrl-C ends immediately."""
        if self.scheduler.draining and sig == signal.SIGINT:
            self.should_exit = self.force_exit = True
        self.scheduler.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Whether to exit: during shutdown, once all accepted requests are answered."""
        return await super().on_tick(counter) or (self.scheduler.draining and self.scheduler.open == 0)


def serve(settings: Settings, make_engine: MakeEngine) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code. Raises OptionError if the address cannot be used."""
    with _bound(settings) as listener:
        if settings.workers == 1:
            run(settings, make_engine, listener)
            return 0
        return Supervisor(partial(run, settings, make_engine, listener), settings.workers).run()


@contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    """A bound socket, closed at the end of the block. Clients cannot connect until a server listens."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            place = f"{settings.host} port {settings.port}"
            raise OptionError(
                f"{place} cannot be used: {error.strerror}; choose another with --host and --port"
            ) from error
        yield listener


def run(settings: Settings, make_engine: MakeEngine, listener: socket.socket) -> None:
    """Serve in this process until a signal."""
    sandbox.protect_this_process()
    logs.configure()
    make_server(settings, make_engine()).run([listener])
    logs.event("ended", process=os.getpid())


def make_server(settings: Settings, engine: Engine) -> Server:
    """Create a server to run on a socket."""
    app = create_app(settings, engine)
    connections = Connections(settings.max_connections, settings.max_connections_per_address)
    config = uvicorn.Config(
        app,
        http=partial(Protocol, settings, connections),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=MAX_ACCEPTS,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(settings.deadline + settings.transfer_timeout),
        h11_max_incomplete_event_size=MAX_HEADER,
    )
    return Server(config, app.state.service.scheduler)
