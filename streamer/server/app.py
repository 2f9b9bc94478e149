"""The server as a whole: the port, the connections and what runs on them, and the way out.

`assembly` gives it a configuration and a synthesizer; it owns both until `run_until_stopped` returns.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from streamer.config import Config
from streamer.errors import EngineError, StreamerError
from streamer.server.accepting import Connections, Conversation, Converse
from streamer.server.access import is_local
from streamer.server.adapters import add_adapters, add_ports
from streamer.server.descriptors import ExhaustionReporter, allow_descriptors, count_connections
from streamer.server.detached import begin_session
from streamer.server.ending import CloseRequest
from streamer.server.host import Host
from streamer.server.http_connection import HttpConnection
from streamer.server.keys import FAILURES
from streamer.server.operator_routes import add_actions, add_views, check_admin_host
from streamer.server.places import Places
from streamer.server.ports import Ports
from streamer.server.reloading import Reloadables, Results
from streamer.server.routes import add_lists, add_player, add_probes
from streamer.server.routing import Routes, TcpRoute
from streamer.server.service import Service, package_version
from streamer.server.sessions import Sessions
from streamer.server.status import STATES, Status
from streamer.server.supervisor import Supervisor
from streamer.server.tcp import TcpConversation
from streamer.server.tls import Certificate
from streamer.server.watch import watch
from streamer.speech.pipeline import prepare
from streamer.synthesis import Synthesizer
from streamer.telemetry.logs import num_dropped
from streamer.telemetry.metrics import Metrics
from streamer.telemetry.traces import NO_TRACER, Tracer

logger = logging.getLogger(__name__)
LAST_WORDS_S: Final = 3.0
"""How long connections, and then the synthesizer, may take to end after their time is up."""


class Server:
    """Listens as soon as it starts, speaks once the synthesizer is warm, and drains when stopped."""

    def __init__(
        self,
        config: Config,
        synthesizer: Synthesizer,
        tracer: Tracer = NO_TRACER,
        supervisor: Supervisor | None = None,
    ) -> None:
        self.metrics = Metrics()
        self.metrics.read_health(synthesizer.health)
        self.metrics.read_log(num_dropped)
        self._config = config
        self._synthesizer = synthesizer
        self._service = Service.of(config, synthesizer, self.metrics, tracer)
        self.metrics.read_authentication(self._service.keys.failures, FAILURES)
        self._supervisor = supervisor or Supervisor({})
        self._sessions = Sessions(self._service)
        self._open = self._connections(self._service.admission.places)
        self.status = Status(self._service)
        self.metrics.read_state(lambda: self.status.state()[0], STATES)
        check_admin_host(config.server, self._service.keys)
        self.routes, self._admin_routes = Routes(), Routes()
        self.routes.are_complete = False
        self.routes.begin_session = functools.partial(
            begin_session, self._open, self._service, self._sessions.serve
        )
        add_player(self.routes)
        for routes in (self.routes, self._admin_routes):
            add_probes(routes, self._service, self.status)
        views = self.routes if config.server.admin_port is None else self._admin_routes
        add_views(views, self._service, self.status)
        add_actions(self._admin_routes, self._service, self.reload_files, self._begin_to_drain)
        self.metrics.connections.set_function(lambda: len(self._sessions))
        self.metrics.utterances_queued.set_function(lambda: self._service.admission.queue.num_waiting)
        self._certificate = Certificate.of(config.server)
        self._admin_open = self._connections(Places(config.limits))
        self._ports = Ports(config.server, self._open, self._admin_open, self._certificate)
        keys = self._service.keys
        self._host = Host(
            config.server.host,
            is_local(config.server.host) and not keys.are_required,
            self._service,
            self.routes,
            is_ready=lambda: self.status.is_ready,
            is_stopping=self.status.stop_requested.is_set,
            serve_websocket=self._sessions.serve,
        )
        self._admin_host = replace(
            self._host,
            name=config.server.admin_host,
            is_private=is_local(config.server.admin_host) and not keys.have_scopes,
            routes=self._admin_routes,
        )
        if self._certificate is not None:
            self.reloadables.add("certificate", self._certificate.reload)
        self._reloading: asyncio.Task[Results] | None = None
        self._announced = contextlib.AsyncExitStack()

    @property
    def reloadables(self) -> Reloadables:
        """What is read again on SIGHUP."""
        return self._service.reloadables

    @property
    def port(self) -> int:
        """The port of the clients, also if the configuration asked for any free one."""
        return self._ports.public

    @property
    def admin_port(self) -> int | None:
        """The operator's port, if there is one."""
        return self._ports.admin

    @property
    def is_listening(self) -> bool:
        """Whether the port is open."""
        return self.status.is_listening

    @property
    def url(self) -> str:
        """The address of the page for a browser on this machine."""
        return self._ports.url

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
        return self._ports.tcp

    @property
    def num_sessions(self) -> int:
        """The connections over which a session runs."""
        return len(self._sessions)

    @property
    def is_ready(self) -> bool:
        """Whether new utterances are accepted."""
        return self.status.is_ready

    async def start(self) -> None:
        """Open the ports, load the synthesizer and warm it up; the ports that protocols have for themselves open then,
        and what is wrong with them is told before.

        Raises `ConfigError` for hosts and ports, for a default voice that is not there, and for a lexicon's phones that
        the model does not have; `EngineError`.
        """
        async with self._supervisor.showing(self.status.state):
            await self._start()
        self.metrics.describe_build(version=package_version(), model=self._synthesizer.info.name)
        self.metrics.engine_up.set(1)
        self.metrics.ready.set(1)
        for route, port in zip(self.routes.tcp, self.tcp_ports, strict=True):
            await self._announced.enter_async_context(route.announce(port))
        self._supervisor.ready()

    async def _start(self) -> None:
        allow_descriptors(count_connections(self._config))
        asyncio.get_running_loop().set_exception_handler(
            ExhaustionReporter(self.metrics.connections_rejected.labels("no_descriptors").inc)
        )
        try:
            await self._ports.open_public(functools.partial(HttpConnection, host=self._host))
            await self._ports.open_admin(functools.partial(HttpConnection, host=self._admin_host))
            self.status.is_listening = True
            add_ports(self.routes, self._config.server)
            await asyncio.to_thread(self._ports.check_tcp, self.routes.tcp)
            await self._synthesizer.start()
            self._add_routes()
            self._service.check_model()
            await asyncio.to_thread(prepare, self._synthesizer)
            self.status.is_warm = True
            await self._ports.open_tcp(self.routes.tcp, self._converse_tcp)
        except BaseException as error:
            self.status.failure = error if isinstance(error, StreamerError) else None
            await self._close()
            raise

    def _converse_tcp(self, route: TcpRoute) -> Converse:
        return functools.partial(
            TcpConversation,
            route,
            self._service,
            is_ready=lambda: self.is_ready,
            serve_session=self._sessions.serve,
        )

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
                    watching = tasks.create_task(
                        watch(
                            self._service,
                            self.status,
                            self._open,
                            self._sessions,
                            self._supervisor,
                            self._certificate,
                            self._fail,
                        )
                    )
                    refreshing = tasks.create_task(self.reloadables.watch())
                    await self.status.stop_requested.wait()
                    self._supervisor.stopping()
                    await self._drain()
                    watching.cancel()
                    refreshing.cancel()
            finally:
                await self._close()
        if self.status.failure is not None:
            raise self.status.failure

    def stop(self) -> None:
        """Stop accepting, let what is open finish, and return from `run_until_stopped`; a second call cuts it."""
        if self.status.stop_requested.is_set():
            self._sessions.end(CloseRequest(1001, "the server stops"))
            self._open.cut_exchanges()
            self._admin_open.cut_exchanges()
        self.status.stop_requested.set()

    def _begin_to_drain(self) -> None:
        if not self.status.stop_requested.is_set():
            self.stop()

    def reload(self) -> None:
        """Have `reload_files` run."""
        self._reloading = asyncio.get_running_loop().create_task(self.reload_files())

    async def reload_files(self) -> Results:
        """Read the files of `reloadables` again, and end the sessions whose keys are gone."""
        results = await self.reloadables.reload()
        self._sessions.end_without_key()
        return results

    async def _drain(self) -> None:
        """Let sessions and exchanges finish, as far as the drain's time allows."""
        failure = self.status.failure
        grace_s = self._config.limits.drain_timeout_s if failure is None else 0.0
        await self._announced.aclose()
        if failure is not None:
            ending = CloseRequest(1011, "the engine failed", error=failure)
        else:
            ending = CloseRequest(1001, "the server stops", grace_s=grace_s)
        self._sessions.end(ending)
        await self._open.finished(grace_s + LAST_WORDS_S)
        await self._admin_open.finished(LAST_WORDS_S)

    async def _close(self) -> None:
        await self._announced.aclose()
        await self._open.close(LAST_WORDS_S)
        await self._admin_open.close(LAST_WORDS_S)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORDS_S):
                await self._synthesizer.close()
        await asyncio.to_thread(self._service.tracer.close, LAST_WORDS_S)

    def _connections(self, places: Places) -> Connections:
        return Connections(places, self._config.limits, self.metrics, self._service.proxies)

    def _fail(self, error: EngineError) -> None:
        logger.error("engine failed", extra={"reason": error.message})
        self.status.failure = error
        self._sessions.end(CloseRequest(1011, "the engine failed", error=error))
        self.status.stop_requested.set()

    def _add_routes(self) -> None:
        """Add what needs a model, now that there is one."""
        add_lists(self.routes, self._service)
        add_adapters(self.routes, self._service)
        self.routes.are_complete = True
