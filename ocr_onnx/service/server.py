"""The processes that serve: sockets, slow clients, and how they end."""

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
from ocr_onnx.service import logs, sandbox
from ocr_onnx.service.app import create_app
from ocr_onnx.service.connections import Connections, Received
from ocr_onnx.service.engine import Engine
from ocr_onnx.service.processes import Processes
from ocr_onnx.service.scheduling import Work
from ocr_onnx.service.settings import Settings

MakeEngine = Callable[[], Engine]
"""Loads the models; called in each process."""

LARGEST_HEADER = 2**16
"""Bytes."""

BACKLOG = 512
"""Connections that the system holds until they are taken."""

TAKEN = 128
"""Connections that are taken in one turn of the event loop, before `max_connections` is enforced."""

KEEP_ALIVE = 30
"""Seconds that an idle connection is kept."""

PIECE = 2**14
"""Bytes that are parsed before it is looked at what that took."""

PARSING = (0.5, 2.5e-7)
"""Processor seconds that parsing a request may take, and how many more a byte: chunks of a byte take four times as many."""


class Protocol(H11Protocol):
    """uvicorn's, which waits for slow clients forever, and parses whatever they send: this one cuts them off."""

    def __init__(self, settings: Settings, admitted: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._settings, self._admitted = settings, admitted
        self._header: asyncio.TimerHandle | None = None
        self._answer: asyncio.TimerHandle | None = None
        self._parsing = 0.0
        self._paused = 0.0
        self._left = settings.transfer_timeout

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection; one that is too many is cut once what has come on it is read."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # Writing pauses until all is sent, so that it is known what is not taken.
        self._admitted.add(self, self.client[0] if self.client else "")
        # The loop reads in its next turn what has already come, and in the turn after that the connections are counted.
        self.loop.call_soon(self.loop.call_soon, self._admitted.trim, self)
        self._expect_header()

    @property
    def received(self) -> Received:
        """How much of a request has come."""
        if self.cycle is None or self.cycle.response_complete:
            return Received.NO_HEADER
        return Received.HEADER if self.cycle.more_body else Received.REQUEST

    def cut(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    def on_response_complete(self) -> None:
        """The connection is idle again, unless the next request has already come."""
        super().on_response_complete()
        self._left = self._settings.transfer_timeout
        self._admitted.answered(self)

    def data_received(self, data: bytes) -> None:
        """Take a piece of a request. Between requests, a header must come whole in its time."""
        for start in range(0, len(data), PIECE):
            if not self.transport.is_closing():
                self._parse(data[start : start + PIECE])
        if self.received is Received.NO_HEADER:
            self._expect_header()
        else:
            _stop(self._header)
            self._header = None

    def _parse(self, data: bytes) -> None:
        cycle, begin = self.cycle, time.thread_time()
        super().data_received(data)
        taken = time.thread_time() - begin - len(data) * PARSING[1]
        self._parsing = taken + (self._parsing if self.cycle is cycle else 0)
        if self._parsing > PARSING[0]:
            self.transport.abort()

    def pause_writing(self) -> None:
        """The client does not take its answer: in all it may keep the server waiting for `transfer_timeout`."""
        super().pause_writing()
        self._paused = self.loop.time()
        self._answer = self.loop.call_later(max(self._left, 0), self.transport.abort)

    def resume_writing(self) -> None:
        """The client has taken what was sent."""
        super().resume_writing()
        self._left -= self.loop.time() - self._paused
        _stop(self._answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        _stop(self._header)
        _stop(self._answer)
        self._admitted.forget(self)
        super().connection_lost(exc)

    def _expect_header(self) -> None:
        if self._header is None:
            self._header = self.loop.call_later(self._settings.header_timeout, self.transport.abort)


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


class Server(uvicorn.Server):
    """uvicorn's, that first answers what it has taken, refuses what comes meanwhile, and then ends with 0."""

    def __init__(self, config: uvicorn.Config, work: Work) -> None:
        super().__init__(config)
        self.work = work

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen. The event loop takes its backlog for both, so the one of the system is set after it."""
        await super().startup(sockets)
        for listener in sockets or []:
            listener.listen(BACKLOG)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Begin to end; a second Ctrl-C ends at once."""
        if self.work.draining and sig == signal.SIGINT:
            self.should_exit = self.force_exit = True
        self.work.draining = True

    async def on_tick(self, counter: int) -> bool:
        """Whether to end now: once all is answered."""
        return await super().on_tick(counter) or (self.work.draining and self.work.open == 0)


def serve(settings: Settings, make_engine: MakeEngine) -> int:
    """Serve until told to end; returns the exit code. Raises OptionError where the address is taken."""
    with _bound(settings) as listener:
        if settings.workers == 1:
            run(settings, make_engine, listener)
            return 0
        return Processes(partial(run, settings, make_engine, listener), settings.workers).run()


@contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    """A socket at the address, which is closed in the end; nobody can connect before a server listens."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            place = f"{settings.host} port {settings.port}"
            raise OptionError(
                f"{place} cannot be used: {error.strerror}; give another with --host and --port"
            ) from error
        yield listener


def run(settings: Settings, make_engine: MakeEngine, listener: socket.socket) -> None:
    """Serve in this process, until a signal tells it to end."""
    sandbox.protect_this_process()
    logs.configure()
    server = make_server(settings, make_engine())
    host, port = listener.getsockname()[:2]
    logs.event("listening", host=host, port=port, process=os.getpid())
    server.run([listener])
    logs.event("ended", process=os.getpid())


def make_server(settings: Settings, engine: Engine) -> Server:
    """A server, ready to be run on a socket."""
    app = create_app(settings, engine)
    admitted = Connections(settings.max_connections, settings.max_connections_per_address)
    config = uvicorn.Config(
        app,
        http=partial(Protocol, settings, admitted),  # type: ignore[arg-type]
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=TAKEN,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(settings.deadline + settings.transfer_timeout),
        h11_max_incomplete_event_size=LARGEST_HEADER,
    )
    return Server(config, app.state.service.work)
