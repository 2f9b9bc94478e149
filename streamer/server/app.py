"""The server as a whole: the port, the connections and what runs on them, the watch over the engine, and the way out.

`assembly` gives it a configuration and a synthesizer; it owns both until `run_until_stopped` returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import socket
import time
from collections.abc import Awaitable, Sequence
from typing import Final

from streamer.config import Config
from streamer.errors import AuthenticationError, ConfigError, EngineError, StreamerError
from streamer.server.accepting import Connections, Conversation
from streamer.server.adapters import add_adapters
from streamer.server.admission import Admission, ApiKeys
from streamer.server.client_connection import ClientConnection
from streamer.server.client_protocol import ClientProtocol
from streamer.server.descriptors import ExhaustionReporter, allow_descriptors
from streamer.server.ending import CloseRequest
from streamer.server.http_connection import Host, HttpConnection
from streamer.server.listening import open_sockets, shown_url
from streamer.server.reloading import Reloadables
from streamer.server.routes import add_lists, add_player, add_probes
from streamer.server.routing import Routes
from streamer.server.service import Service, package_version
from streamer.server.session import Session
from streamer.server.status import Status
from streamer.server.tcp import TcpConversation
from streamer.server.tickets import Tickets
from streamer.server.tls import Certificate
from streamer.server.upgrade import Upgrade
from streamer.speech.pipeline import prepare
from streamer.synthesis import Synthesizer
from streamer.telemetry.logs import num_dropped
from streamer.telemetry.metrics import Metrics
from streamer.text.lexicon import Lexicon

logger = logging.getLogger(__name__)
WATCH_INTERVAL_S: Final = 0.25
LAST_WORDS_S: Final = 3.0
"""How long connections, and then the synthesizer, may take to end after their time is up."""


class Server:
    """Listens as soon as it starts, speaks once the synthesizer is warm, and drains when stopped."""

    def __init__(self, config: Config, synthesizer: Synthesizer) -> None:
        self.metrics = Metrics()
        self.metrics.read_engine(lambda: synthesizer.health().engine)
        self.metrics.read_log(num_dropped)
        self._config = config
        self._synthesizer = synthesizer
        self._service = Service(
            config,
            synthesizer,
            Admission(config.limits, lambda: synthesizer.health().room),
            ApiKeys.read(config.server.api_keys_file),
            self.metrics,
            Lexicon.read(config.speech.lexicon) if config.speech.lexicon else None,
            Tickets.read(config.server.ticket_secret_file),
        )
        self._sessions: set[Session] = set()
        self._open = Connections(self._service.admission, config.limits, self.metrics)
        self.status = Status(self._service)
        self.routes = Routes()
        self.routes.are_complete = False
        add_player(self.routes)
        add_probes(self.routes, self._service, self.status)
        self.metrics.connections.set_function(lambda: len(self._sessions))
        self.metrics.utterances_queued.set_function(lambda: self._service.admission.queue.num_waiting)
        self._certificate = Certificate.of(config.server)
        self._host = Host(
            self._service,
            self.routes,
            is_ready=lambda: self.status.is_ready,
            is_stopping=self.status.stop_requested.is_set,
            serve_websocket=self._serve_session,
        )
        if config.server.api_keys_file is not None:
            self.reloadables.add("API keys", self._service.keys.reload)
        if self._certificate is not None:
            self.reloadables.add("certificate", self._certificate.reload)
        self._reloading: asyncio.Task[None] | None = None
        self._sockets: list[socket.socket] = []
        self._tcp_sockets: list[Sequence[socket.socket]] = []
        self._announced = contextlib.AsyncExitStack()

    @property
    def reloadables(self) -> Reloadables:
        """What is read again on SIGHUP."""
        return self._service.reloadables

    @property
    def port(self) -> int:
        """The port it listens on, also if the configuration asked for any free one."""
        return int(self._sockets[0].getsockname()[1])

    @property
    def is_listening(self) -> bool:
        """Whether the port is open."""
        return self.status.is_listening

    @property
    def url(self) -> str:
        """The address of the page for a browser on this machine."""
        return shown_url(self._config.server.host, self._sockets, is_tls=self._certificate is not None)

    @property
    def num_connections(self) -> int:
        """The connections that are open, whatever is spoken over them."""
        return len(self._open)

    @property
    def conversations(self) -> Sequence[Conversation]:
        """What is spoken over these connections."""
        return self._open.conversations

    @property
    def tcp_ports(self) -> list[int]:
        """The ports that protocols have for themselves, in the order of `routes.tcp`."""
        return [int(sockets[0].getsockname()[1]) for sockets in self._tcp_sockets]

    @property
    def num_sessions(self) -> int:
        """The connections over which a session runs."""
        return len(self._sessions)

    @property
    def is_ready(self) -> bool:
        """Whether new utterances are accepted."""
        return self.status.is_ready

    async def start(self) -> None:
        """Open the port, load the synthesizer and warm it up; the ports that protocols have for themselves open then.

        Raises `ConfigError` for hosts and ports, for a default voice that is not there, and for a lexicon's phones that
        the model does not have; `EngineError`.
        """
        server = self._config.server
        allow_descriptors(self._config.limits.max_connections)
        asyncio.get_running_loop().set_exception_handler(
            ExhaustionReporter(self.metrics.connections_rejected.labels("no_descriptors").inc)
        )
        self._sockets = await asyncio.to_thread(open_sockets, server.host, server.port)
        try:
            converse = functools.partial(HttpConnection, host=self._host)
            await self._open.listen(self._sockets, converse, self._certificate)
            self.status.is_listening = True
            await self._synthesizer.start()
            self._add_routes()
            self._check_default_voice()
            if self._service.lexicon is not None:
                self._service.lexicon.check_phones(self._synthesizer.info.phones)
            await asyncio.to_thread(prepare, self._synthesizer)
            self.status.is_warm = True
            await self._open_tcp_ports()
        except BaseException:
            await self._close()
            raise
        self.metrics.describe_build(version=package_version(), model=self._synthesizer.info.name)
        self.metrics.engine_up.set(1)
        self.metrics.ready.set(1)
        for route, port in zip(self.routes.tcp, self.tcp_ports, strict=True):
            await self._announced.enter_async_context(route.announce(port))

    async def _open_tcp_ports(self) -> None:
        for route in self.routes.tcp:
            sockets = await asyncio.to_thread(open_sockets, route.host, route.port, route.option_prefix)
            self._tcp_sockets.append(sockets)
            logger.info("a further port is open", extra={f"{route.option_prefix}port": self.tcp_ports[-1]})
            converse = functools.partial(
                TcpConversation,
                route,
                self._service,
                is_ready=lambda: self.is_ready,
                serve_session=self._serve_session,
            )
            await self._open.listen(sockets, converse)

    def _check_default_voice(self) -> None:
        voice, voices = self._config.speech.voice, self._synthesizer.info.voices
        if voice is not None and voice not in voices:
            raise ConfigError(f"voice {voice!r}: the model has {', '.join(voices)}", param="voice")

    async def run_until_stopped(self) -> None:
        """Serve until `stop`, SIGTERM or SIGINT, drain, close. Raises `EngineError` if the engine died."""
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as stack:
            actions = ((signal.SIGTERM, self.stop), (signal.SIGINT, self.stop), (signal.SIGHUP, self.reload))
            for number, action in actions:
                # Only the main thread may do this; elsewhere (in tests, in process) `stop` is called.
                with contextlib.suppress(ValueError, RuntimeError):
                    loop.add_signal_handler(number, action)
                    stack.callback(loop.remove_signal_handler, number)
            try:
                async with asyncio.TaskGroup() as tasks:
                    watch = tasks.create_task(self._watch())
                    await self.status.stop_requested.wait()
                    await self._drain()
                    watch.cancel()
            finally:
                await self._close()
        if self.status.failure is not None:
            raise self.status.failure

    def stop(self) -> None:
        """Stop accepting, let what is open finish, and return from `run_until_stopped`; a second call cuts it."""
        if self.status.stop_requested.is_set():
            for session in tuple(self._sessions):
                session.end(CloseRequest(1001, "the server stops"))
            self._open.cut_exchanges()
        self.status.stop_requested.set()

    def reload(self) -> None:
        """Have the files of `reloadables` read again, and end the sessions whose keys are gone."""
        self._reloading = asyncio.get_running_loop().create_task(self._reload())

    async def _reload(self) -> None:
        await self.reloadables.reload()
        for session in tuple(self._sessions):
            if session.has_lost_key():
                error = AuthenticationError("this key is not valid any more")
                session.end(CloseRequest(4401, error.message, error=error))

    async def _drain(self) -> None:
        """Let sessions and exchanges finish, as far as the drain's time allows."""
        failure = self.status.failure
        grace_s = self._config.limits.drain_timeout_s if failure is None else 0.0
        await self._announced.aclose()
        if failure is not None:
            ending = CloseRequest(1011, "the engine failed", error=failure)
        else:
            ending = CloseRequest(1001, "the server stops", grace_s=grace_s)
        for session in tuple(self._sessions):
            session.end(ending)
        await self._open.finished(grace_s + LAST_WORDS_S)

    async def _close(self) -> None:
        await self._announced.aclose()
        await self._open.close(LAST_WORDS_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._synthesizer.close()

    async def _watch(self) -> None:
        """Notice what no session would: a dead engine, a blocked loop, a buffer that only grows."""
        while True:
            asleep_s = time.monotonic()
            await asyncio.sleep(WATCH_INTERVAL_S)
            lag_s = max(0.0, time.monotonic() - asleep_s - WATCH_INTERVAL_S)
            self.metrics.event_loop_lag.observe(lag_s)
            if self.status.note_lag(lag_s):
                logger.warning("the event loop was blocked", extra={"seconds": round(lag_s, 3)})
            health = self._synthesizer.health()
            self.metrics.engine_up.set(health.alive)
            self.metrics.ready.set(self.is_ready)
            self.metrics.step_age.set(health.step_age_s)
            if not health.alive and self.status.failure is None:
                self._fail(EngineError(health.reason or "the engine is dead"))
            self._open.sweep_write_buffers()

    def _fail(self, error: EngineError) -> None:
        logger.error("engine failed", extra={"reason": error.message})
        self.status.failure = error
        for session in tuple(self._sessions):
            session.end(CloseRequest(1011, "the engine failed", error=error))
        self.status.stop_requested.set()

    def _serve_session(
        self,
        connection: ClientConnection,
        upgrade: Upgrade,
        protocol: ClientProtocol,
        refusal: StreamerError | None = None,
    ) -> Awaitable[None]:
        """Return the session, to be awaited; with a `refusal`, it only says so."""
        session = Session(connection, self._service, upgrade, protocol)
        if refusal is not None:
            session.end(CloseRequest(1013, refusal.message, error=refusal))
        self._sessions.add(session)
        return self._run_session(session)

    async def _run_session(self, session: Session) -> None:
        try:
            await session.run()
        finally:
            self._sessions.discard(session)

    def _add_routes(self) -> None:
        """Add what needs a model, now that there is one."""
        add_lists(self.routes, self._service)
        add_adapters(self.routes, self._service)
        self.routes.are_complete = True
