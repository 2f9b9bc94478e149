"""The connections of a server, from accept to their end: counted, with or without TLS, whatever is spoken over them."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Final, Literal, Protocol

from streamer.config import LimitsConfig
from streamer.server.client_address import TrustedProxies, counted_as, peer_of
from streamer.server.connection import MAX_UNSENT_BYTES, Connection
from streamer.server.limited_listener import LimitedListener
from streamer.server.listening import BACKLOG
from streamer.server.places import Place, Places
from streamer.server.tls import Certificate
from streamer.telemetry.metrics import Metrics

logger = logging.getLogger(__name__)
SAY_EVERY_S: Final = 60.0
"""How often the log says that connections are dropped."""
State = Literal["idle", "exchange", "session"]
"""What is done over a connection now: nothing but waiting, answering a request, or serving a session."""


class Conversation(Protocol):
    """What is spoken over one connection."""

    @property
    def state(self) -> State: ...

    def serve(self) -> Coroutine[None, None, None]:
        """Speak until either side has had enough, and leave the connection closed."""
        ...


Converse = Callable[[Connection, Place], Conversation]
"""Begins the conversation of a connection that was accepted."""


class Connections:
    """All connections that are open, each with the task that serves it."""

    def __init__(
        self, places: Places, limits: LimitsConfig, metrics: Metrics, proxies: TrustedProxies
    ) -> None:
        self._places = places
        self._proxies = proxies
        self._said_s = -SAY_EVERY_S
        self._limits = limits
        self._metrics = metrics
        self._listeners: list[asyncio.Server] = []
        self._open: dict[asyncio.Task[None], tuple[Connection | None, Conversation, Place]] = {}
        self._when_ended = self._ended  # one for all of them, because there are thousands

    def __len__(self) -> int:
        return len(self._open)

    @property
    def conversations(self) -> Sequence[Conversation]:
        """What is spoken over the open connections."""
        return [conversation for _, conversation, _ in self._open.values()]

    async def listen(
        self, sockets: Sequence[socket.socket], converse: Converse, certificate: Certificate | None = None
    ) -> Sequence[socket.socket]:
        """Accept what comes to these sockets, and let it be served by what `converse` returns.

        Returns the sockets that take the place of these, which must not be used any more.
        """
        create = functools.partial(
            Connection,
            accepted=functools.partial(self._accept, converse, certificate),
            write_timeout_s=self._limits.write_timeout_s,
            count_slow_client=self._metrics.slow_clients_closed.inc,
        )
        loop = asyncio.get_running_loop()
        limited = [LimitedListener(listening, self._may_connect) for listening in sockets]
        for listening in limited:
            # asyncio listens again, with a backlog of its own if none is given.
            self._listeners.append(await loop.create_server(create, sock=listening, backlog=BACKLOG))
        return limited

    def add(self, conversation: Conversation, place: Place) -> None:
        """Serve a conversation that is held without a connection that was accepted here."""
        self._begin(None, conversation, place, conversation.serve())

    def cut_exchanges(self) -> None:
        """Cut the requests that are being answered."""
        for task, (_, conversation, _) in self._open.items():
            if conversation.state == "exchange":
                task.cancel()

    async def finished(self, timeout_s: float) -> None:
        """Return when nothing is done over any connection, or the time is up."""
        busy = [task for task, (_, conversation, _) in self._open.items() if conversation.state != "idle"]
        if busy:
            await asyncio.wait(busy, timeout=timeout_s)

    async def close(self, timeout_s: float) -> None:
        """Stop listening and end every connection."""
        for listener in self._listeners:
            listener.close()
        for task in self._open:
            task.cancel()
        if self._open:
            await asyncio.wait(self._open, timeout=timeout_s)

    def sweep(self) -> None:
        """Cut connections whose unsent bytes pile up, as pongs do outside of every queue, and those whose clients left
        while nothing was read from them."""
        num_bytes = 0
        for connection, _, _ in self._open.values():
            if connection is None:
                continue
            num_bytes += connection.num_unsent_bytes
            if connection.has_lost_client():
                connection.abort()
            elif connection.num_unsent_bytes > MAX_UNSENT_BYTES:
                self._metrics.slow_clients_closed.inc()
                connection.abort()
        self._metrics.egress_buffer.set(num_bytes)

    def _may_connect(self, peer_name: object) -> bool:
        """Whether a connection is accepted; those of one address may come only so often, but through a proxy."""
        peer = peer_of(peer_name)
        if self._proxies.trust(peer) or self._places.may_connect(address := counted_as(peer)):
            return True
        self._metrics.connections_rejected.labels("too_often").inc()
        if (now_s := time.monotonic()) >= self._said_s + SAY_EVERY_S:
            self._said_s = now_s
            logger.warning("too many connects: some are dropped", extra={"address": address})
        return False

    def _accept(self, converse: Converse, certificate: Certificate | None, connection: Connection) -> None:
        """Take a connection in. TLS begins only now, so that connections are counted before its handshake, too."""
        place = self._places.connect(connection.address)
        place.evict = functools.partial(self._evict, connection)
        conversation = converse(connection, place)
        serving = conversation.serve
        if certificate is not None:
            connection.transport.pause_reading()  # what comes is TLS's
            serving = functools.partial(self._serve_tls, connection, conversation, certificate)
        self._begin(connection, conversation, place, serving())

    def _evict(self, connection: Connection) -> None:
        self._metrics.connections_rejected.labels("unproven").inc()
        connection.abort()

    def _begin(
        self,
        connection: Connection | None,
        conversation: Conversation,
        place: Place,
        serving: Coroutine[None, None, None],
    ) -> None:
        task = asyncio.get_running_loop().create_task(serving)
        self._open[task] = connection, conversation, place
        task.add_done_callback(self._when_ended)

    async def _serve_tls(
        self, connection: Connection, conversation: Conversation, certificate: Certificate
    ) -> None:
        try:
            await connection.start_tls(certificate.context, self._limits.auth_timeout_s)
        except OSError as error:
            self._metrics.connections_rejected.labels("tls").inc()
            logger.debug("a TLS handshake failed", extra={"reason": str(error)})
            connection.abort()
            return
        await conversation.serve()

    def _ended(self, task: asyncio.Task[None]) -> None:
        *_, place = self._open.pop(task)
        place.leave()
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("an unexpected error", exc_info=error)
