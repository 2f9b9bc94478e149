"""The process of a worker: a port for its front ends, probes for its supervisor, and a way out that finishes first."""

from __future__ import annotations

import asyncio
import contextlib
import http
import ipaddress
import logging
import signal
import socket
import ssl
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, Protocol

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from streamer.backends.workers.messages import ENGINE_FAILED, MAX_REQUEST_BYTES, NO_ROOM, retry_reason
from streamer.backends.workers.metrics_port import MetricsPort
from streamer.backends.workers.speaking import RETRY_AFTER_S
from streamer.backends.workers.worker import Worker
from streamer.errors import ConfigError, EngineError
from streamer.telemetry.traces import NO_TRACER, Tracer
from streamer.telemetry.worker_metrics import WorkerFigures, WorkerMetrics

logger = logging.getLogger(__name__)
WATCH_INTERVAL_S: Final = 0.1
LAST_WORDS_S: Final = 3.0
"""How long connections, and then the synthesizer, may take to end."""
MAX_CONNECTIONS: Final = 4096
HANDSHAKE_TIMEOUT_S: Final = 5.0
PING_INTERVAL_S: Final = 20.0
"""How often a front end is asked whether it is there; if it does not answer within as long, its sentences end."""


class WebSocketConnection:
    """Implements `FrameConnection` over a connection of `websockets`."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    async def receive(self) -> bytes | None:
        try:
            frame = await self._connection.recv(decode=False)
        except ConnectionClosed:
            return None
        assert isinstance(frame, bytes)
        return frame

    async def send(self, frame: bytes) -> None:
        try:
            await self._connection.send(frame)
        except ConnectionClosed as error:
            raise ConnectionError from error

    async def close(self, code: int, reason: str) -> None:
        await self._connection.close(code, reason)


class Reloads(Protocol):
    """Files that are read again: at a signal, and when they change."""

    async def watch(self) -> None:
        """Read again what has changed, until cancelled."""
        ...

    async def reload(self) -> object:
        """Read everything again; the log says what became of it."""
        ...


class WorkerServer:
    """Listens at once, speaks once its model is warm, and drains when it is stopped."""

    def __init__(
        self,
        worker: Worker,
        open_sockets: Callable[[], Sequence[socket.socket]],
        *,
        has_token: bool,
        tls: ssl.SSLContext | None = None,
        drain_timeout_s: float = 30.0,
        tracer: Tracer = NO_TRACER,
        reloads: Reloads | None = None,
        open_metrics_sockets: Callable[[], Sequence[socket.socket]] | None = None,
    ) -> None:
        """`open_sockets` opens the port, and may raise `ConfigError`. Without a token it must be this machine's own.

        `reloads` are the files that are read again while the worker runs. `open_metrics_sockets` opens the port of the
        figures; None: there is none.
        """
        self.worker = worker
        self._open_sockets = open_sockets
        self._has_token = has_token
        self._tls = tls
        self._drain_timeout_s = drain_timeout_s
        self._tracer = tracer
        self._reloads = reloads
        self._reading: set[asyncio.Task[object]] = set()
        self._server: list[Server] = []
        self._connections: set[ServerConnection] = set()
        self.metrics_port = None
        if open_metrics_sockets is not None:
            metrics = WorkerMetrics(worker.synthesizer.health, self._figures)
            self.metrics_port = MetricsPort(open_metrics_sockets, metrics, tls)
        self._is_stopping = asyncio.Event()
        self._is_hurried = asyncio.Event()
        self._is_closing = False

    @property
    def address(self) -> str:
        """The address that a front end on this machine connects to."""
        place = self._server[0].sockets[0].getsockname()
        host = f"[{place[0]}]" if ":" in place[0] else place[0]
        return f"{'ws' if self._tls is None else 'wss'}://{host}:{place[1]}"

    async def start(self) -> None:
        """Open the ports, and load the model and warm it up. Raises `ConfigError` and what loading raises."""
        sockets = await asyncio.to_thread(self._open_sockets)
        try:
            if self.metrics_port is not None:
                await self.metrics_port.open()
            self._check_addresses(sockets)
            for opened in sockets:
                self._server.append(await self._listen(opened))
            await self.worker.start()
        except BaseException:
            await self._close()
            # Only now, because a server that still listens would keep the number of a socket that is closed already.
            for opened in sockets:
                opened.close()
            raise

    async def run_until_stopped(self) -> None:
        """Serve until `stop`, SIGTERM or SIGINT, drain, and close. Raises `EngineError` if the engine died."""
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            for number in (signal.SIGTERM, signal.SIGINT):
                # Only the main thread may do this; elsewhere (in tests, in process) `stop` is called.
                with contextlib.suppress(ValueError, RuntimeError):
                    loop.add_signal_handler(number, self.stop)
                    stack.callback(loop.remove_signal_handler, number)
            if self._reloads is not None:
                self._begin_to_read(self._reloads.watch())
                with contextlib.suppress(ValueError, RuntimeError):
                    loop.add_signal_handler(signal.SIGHUP, self._reload)
                    stack.callback(loop.remove_signal_handler, signal.SIGHUP)
            failure = None
            try:
                while not self._is_stopping.is_set() and (failure := self.worker.failure()) is None:
                    await self._wait(self._is_stopping, WATCH_INTERVAL_S)
                if failure is None:
                    await self._drain()
            finally:
                for task in self._reading:
                    task.cancel()
                await asyncio.gather(*self._reading, return_exceptions=True)
                await self._close(ENGINE_FAILED if failure else 1001)
        if failure is not None:
            raise EngineError(failure)

    def stop(self) -> None:
        """Take nothing new, finish the open sentences, and end; a second call cuts them."""
        if self._is_stopping.is_set():
            self._is_hurried.set()
        self.worker.drain()
        self._is_stopping.set()

    def _reload(self) -> None:
        if self._reloads is not None:
            self._begin_to_read(self._reloads.reload())

    def _begin_to_read(self, reading: Coroutine[object, object, object]) -> None:
        task = asyncio.get_running_loop().create_task(reading)
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _drain(self) -> None:
        logger.info("draining", extra={"sentences": self.worker.num_open})
        tasks = [
            asyncio.create_task(self.worker.finished()),
            asyncio.create_task(self._is_hurried.wait()),
        ]
        await asyncio.wait(tasks, timeout=self._drain_timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _close(self, code: int = 1001) -> None:
        self._is_closing = True
        for server in self._server:
            server.close(close_connections=False)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S), asyncio.TaskGroup() as tasks:
                for connection in tuple(self._connections):
                    tasks.create_task(connection.close(code))
                for server in self._server:
                    tasks.create_task(server.wait_closed())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self.worker.close()
        if self.metrics_port is not None:  # the last one, so that the end of a drain can be watched
            await self.metrics_port.close()
        await asyncio.to_thread(self._tracer.close, LAST_WORDS_S)

    async def _listen(self, opened: socket.socket) -> Server:
        return await serve(
            self._converse,
            sock=opened,
            ssl=self._tls,
            # A page of the web must not speak through the browser of someone on this machine.
            origins=[None],
            compression=None,
            process_request=self._answer_probe,
            max_size=MAX_REQUEST_BYTES,
            ping_interval=PING_INTERVAL_S,
            ping_timeout=PING_INTERVAL_S,
            open_timeout=HANDSHAKE_TIMEOUT_S,
            close_timeout=1.0,
            server_header=None,
        )

    async def _converse(self, connection: ServerConnection) -> None:
        if self._is_closing:  # its handshake ended just before
            return await connection.close(1001)
        if len(self._connections) >= MAX_CONNECTIONS:
            return await connection.close(NO_ROOM, retry_reason(RETRY_AFTER_S))
        self._connections.add(connection)
        try:
            await self.worker.serve(WebSocketConnection(connection))
        finally:
            self._connections.discard(connection)

    def _answer_probe(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer `/livez` and `/readyz`; everything else is a handshake."""
        if request.path not in ("/livez", "/readyz"):
            return None
        status = self.worker.status()
        is_well = self.worker.failure() is None
        if request.path == "/readyz":
            is_well = is_well and status.is_ready and not status.is_draining
        code = http.HTTPStatus.OK if is_well else http.HTTPStatus.SERVICE_UNAVAILABLE
        return connection.respond(code, "ok\n" if is_well else f"{status.reason or 'draining'}\n")

    def _figures(self) -> WorkerFigures:
        status, sentences = self.worker.status(), self.worker.sentences
        return WorkerFigures(
            version=self.worker.version,
            model=self.worker.model_name,
            is_ready=status.is_ready and not status.is_draining,
            num_connections=len(self._connections),
            num_open=self.worker.num_open,
            num_ended={str(outcome): number for outcome, number in sentences.num_ended.items()},
            audio_s=sentences.audio_s,
        )

    def _check_addresses(self, sockets: Sequence[socket.socket]) -> None:
        for opened in sockets:
            address = str(opened.getsockname()[0]).partition("%")[0]
            if not self._has_token and not ipaddress.ip_address(address).is_loopback:
                raise ConfigError(
                    f"worker_host {address} can be reached from other machines: set worker_token_file, or listen on "
                    "127.0.0.1",
                    param="worker_host",
                )

    @staticmethod
    async def _wait(event: asyncio.Event, timeout_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await event.wait()
