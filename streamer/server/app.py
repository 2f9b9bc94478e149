"""The server as a whole: the port, who gets in, the sessions, the watch over the engine, and the way out.

`assembly` gives it a configuration and a synthesizer; it owns both until `run_until_stopped` returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final, cast

from websockets.asyncio.server import Server as WebSocketServer
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from streamer.config import Config
from streamer.errors import ConfigError, EngineError
from streamer.server import access
from streamer.server.admission import Admission, ApiKeys
from streamer.server.connection import HttpOrWebSocketConnection
from streamer.server.http import STREAM_PATH, Routes, json_response, refusal, response
from streamer.server.native.messages import PROTOCOL
from streamer.server.native.protocol import create_protocol
from streamer.server.native.replies import package_version
from streamer.server.service import Service
from streamer.server.session import CloseRequest, Session
from streamer.server.upgrade import Upgrade
from streamer.speech.pipeline import prepare
from streamer.synthesis import Synthesizer
from streamer.telemetry.metrics import CONTENT_TYPE, Metrics
from streamer.voices.presets import language_of

logger = logging.getLogger(__name__)
WATCH_INTERVAL_S: Final = 0.25
CLOSE_TIMEOUT_S: Final = 3.0
LAST_WORDS_S: Final = 3.0
OVERSIZE: Final = 4
"""A message up to so many times too large is still read, so that the answer can name its utterance."""


class Server:
    """Listens as soon as it starts, speaks once the synthesizer is warm, and drains when stopped."""

    def __init__(self, config: Config, synthesizer: Synthesizer) -> None:
        self.metrics = Metrics()
        self.metrics.read_engine(lambda: synthesizer.health().engine)
        self._config = config
        self._synthesizer = synthesizer
        self._service = Service(
            config,
            synthesizer,
            Admission(config.limits),
            ApiKeys.read(config.server.api_keys_file),
            self.metrics,
        )
        self._sessions: set[Session] = set()
        self._no_session = asyncio.Event()
        self._no_session.set()
        self._stop_requested = asyncio.Event()
        self._failure: EngineError | None = None
        self._is_warm = False
        self._routes = self._build_routes()
        self._listener: WebSocketServer | None = None

    @property
    def port(self) -> int:
        """The port it listens on, also where the configuration asked for any free one."""
        assert self._listener is not None, "start() comes first"
        return int(self._listener.sockets[0].getsockname()[1])

    @property
    def num_sessions(self) -> int:
        """How many clients are connected."""
        return len(self._sessions)

    @property
    def is_ready(self) -> bool:
        return self._is_warm and not self._stop_requested.is_set() and self._synthesizer.health().ready

    async def start(self) -> None:
        """Open the port, then warm the synthesizer up.

        Raises `OSError` for the port, `ConfigError` for a default voice that is not there, `EngineError`.
        """
        limits, server = self._config.limits, self._config.server
        self._listener = await serve(
            self._serve_session,
            server.host,
            server.port,
            process_request=self._process_request,
            select_subprotocol=_select_subprotocol,
            subprotocols=[Subprotocol(PROTOCOL)],
            compression=None,
            open_timeout=limits.auth_timeout_s,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=limits.ping_interval_s,
            ping_timeout=limits.ping_timeout_s,
            max_size=(OVERSIZE * limits.max_message_bytes,) * 2,
            max_queue=8,
            write_limit=16_384,
            server_header="streamer",
            create_connection=cast("type[ServerConnection]", self._create_connection),
        )
        try:
            await self._synthesizer.start()
            self._check_default_voice()
            await asyncio.to_thread(prepare, self._synthesizer)
        except BaseException:
            await self._close()
            raise
        self._is_warm = True
        self.metrics.describe_build(version=package_version(), model=self._synthesizer.info.name)
        self.metrics.engine_up.set(1)
        self.metrics.ready.set(1)

    def _check_default_voice(self) -> None:
        voice, voices = self._config.speech.voice, self._synthesizer.info.voices
        if voice is not None and voice not in voices:
            raise ConfigError(f"voice {voice!r}: the model has {', '.join(voices)}", param="voice")

    async def run_until_stopped(self) -> None:
        """Serve until `stop`, SIGTERM or SIGINT, drain, close. Raises `EngineError` if the engine died."""
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            for number in (signal.SIGTERM, signal.SIGINT):
                # Only the main thread may do this; elsewhere (in tests, in process) `stop` is called.
                with contextlib.suppress(ValueError, RuntimeError):
                    loop.add_signal_handler(number, self.stop)
                    stack.callback(loop.remove_signal_handler, number)
            try:
                async with asyncio.TaskGroup() as tasks:
                    watch = tasks.create_task(self._watch())
                    await self._stop_requested.wait()
                    await self._end_sessions()
                    watch.cancel()
            finally:
                await self._close()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop accepting, let the open utterances finish, and return from `run_until_stopped`; twice: now."""
        if self._stop_requested.is_set():
            for session in tuple(self._sessions):
                session.end(CloseRequest(1001, "the server stops"))
        self._stop_requested.set()

    async def _end_sessions(self) -> None:
        grace_s = self._config.limits.drain_timeout_s if self._failure is None else 0.0
        if self._failure is not None:
            ending = CloseRequest(1011, "the engine failed", error=self._failure)
        else:
            ending = CloseRequest(1001, "the server stops", grace_s=grace_s)
        for session in tuple(self._sessions):
            session.end(ending)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s + LAST_WORDS_S):
                await self._no_session.wait()

    async def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            try:
                async with asyncio.timeout(LAST_WORDS_S + CLOSE_TIMEOUT_S):
                    await self._listener.wait_closed()
            except TimeoutError:
                for connection in self._listener.connections:
                    connection.transport.abort()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._synthesizer.close()

    async def _watch(self) -> None:
        """Notice what nobody else would: a dead engine, a blocked loop, a buffer that only grows."""
        while True:
            asleep_s = time.monotonic()
            await asyncio.sleep(WATCH_INTERVAL_S)
            self.metrics.event_loop_lag.observe(max(0.0, time.monotonic() - asleep_s - WATCH_INTERVAL_S))
            health = self._synthesizer.health()
            self.metrics.engine_up.set(health.alive)
            self.metrics.ready.set(self.is_ready)
            if not health.alive and self._failure is None:
                self._fail(EngineError(health.reason or "the engine is dead"))
            self._sweep_write_buffers()

    def _fail(self, error: EngineError) -> None:
        logger.error("engine failed", extra={"reason": error.message})
        self._failure = error
        for session in tuple(self._sessions):
            session.end(CloseRequest(1011, "the engine failed", error=error))
        self._stop_requested.set()

    def _sweep_write_buffers(self) -> None:
        """Cut connections whose unsent bytes pile up: pongs do so outside of every queue."""
        assert self._listener is not None
        num_bytes = 0
        for connection in self._listener.connections:
            unsent = connection.transport.get_write_buffer_size()
            num_bytes += unsent
            if unsent > self._config.limits.max_write_buffer_bytes:
                self.metrics.slow_clients_closed.inc()
                connection.transport.abort()
        self.metrics.egress_buffer.set(num_bytes)

    async def _serve_session(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        assert isinstance(connection, HttpOrWebSocketConnection)
        request = connection.request
        path, _, query = request.path.partition("?")
        key_name = access.key_name(request, self._service.keys)
        upgrade = Upgrade(path, query, request.headers, access.address(connection), key_name)
        session = Session(connection, self._service, upgrade, create_protocol(upgrade, self._service))
        self._sessions.add(session)
        self._no_session.clear()
        try:
            with self.metrics.connections.track_inprogress():
                await session.run()
        finally:
            self._sessions.discard(session)
            if not self._sessions:
                self._no_session.set()

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        """Let a WebSocket pass (None), or say why not."""
        if request.path.partition("?")[0] != STREAM_PATH:
            return self._routes.respond(request.method, request.path)
        if not self.is_ready:
            not_ready = refusal(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", "not ready", 1.0)
            refused: access.Refusal | None = ("not_ready", not_ready)
        else:
            refused = access.check_handshake(connection, request, self._service)
        if refused is not None:
            self.metrics.connections_rejected.labels(refused[0]).inc()
            return refused[1]
        address, admission = access.address(connection), self._service.admission
        admission.connected(address)
        connection.connection_lost_waiter.add_done_callback(lambda _: admission.disconnected(address))
        return None

    def _create_connection(self, *args: Any, **kwargs: Any) -> HttpOrWebSocketConnection:
        limits = self._config.limits
        return HttpOrWebSocketConnection(
            *args,
            answer_request=lambda method, path, _body: self._routes.respond(method, path),
            send_buffer_bytes=limits.send_buffer_bytes,
            first_bytes_timeout_s=limits.auth_timeout_s,
            **kwargs,
        )

    def _build_routes(self) -> Routes:
        routes = Routes()
        routes.get("/livez", lambda: self._probe(self._failure is None and self._synthesizer.health().alive))
        routes.get("/readyz", lambda: self._probe(self.is_ready))
        routes.get("/metrics", lambda: response(HTTPStatus.OK, self.metrics.render(), CONTENT_TYPE))
        routes.get("/v1/voices", self._voices)
        routes.get("/v1/models", self._models)
        return routes

    def _probe(self, is_well: bool) -> Response:
        status = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
        reason = self._synthesizer.health().reason
        return response(status, b"ok\n" if is_well else f"{reason or 'not ready'}\n".encode())

    def _voices(self) -> Response:
        if not self._is_warm:
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", "the model is loading", 1.0)
        info = self._synthesizer.info
        default = self._config.speech.voice or info.default_voice
        voices = [
            {"name": name, "default": name == default, "language": language_of(name, info.languages)}
            for name in info.voices
        ]
        return json_response(HTTPStatus.OK, {"voices": voices, "default": default})

    def _models(self) -> Response:
        if not self._is_warm:
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE, "overloaded", "the model is loading", 1.0)
        info = self._synthesizer.info
        model = {
            "id": info.name,
            "sample_rate": info.sample_rate_hz,
            "languages": list(info.languages),
            "tags": list(info.tags),
            "default_voice": info.default_voice,
            "max_text_tokens": info.max_text_tokens,
            "note": info.note,
        }
        return json_response(HTTPStatus.OK, {"models": [model], "default": info.name})


def _select_subprotocol(_connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Agree on ours where it is offered; a client that offers nothing is welcome too."""
    return Subprotocol(PROTOCOL) if PROTOCOL in offered else None
