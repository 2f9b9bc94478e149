"""The connections that are open: accepted, counted from their first byte, and served until they end; for `app`."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
from collections.abc import Sequence

from streamer.server.admission import Place
from streamer.server.connection import MAX_UNSENT_BYTES, READ_BYTES, Connection
from streamer.server.http_connection import Host, HttpConnection
from streamer.server.tls import Certificate

logger = logging.getLogger(__name__)


class Acceptor:
    """Serves every connection by `HttpConnection`. `certificate` None: without TLS."""

    def __init__(self, host: Host, certificate: Certificate | None) -> None:
        self._host = host
        self._certificate = certificate
        self._limits = host.service.config.limits
        self._metrics = host.service.metrics
        self._connections: dict[asyncio.Task[None], tuple[Connection, HttpConnection]] = {}
        self._listeners: list[asyncio.Server] = []

    def __len__(self) -> int:
        """The connections that are open, whatever is spoken over them."""
        return len(self._connections)

    @property
    def is_listening(self) -> bool:
        """Whether connections are accepted."""
        return bool(self._listeners)

    async def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Accept connections from now on."""
        for listening in sockets:
            self._listeners.append(await asyncio.start_server(self._accept, sock=listening, limit=READ_BYTES))

    async def drained(self, timeout_s: float) -> None:
        """Return when no connection is busy, or the time is over."""
        busy = [task for task, (_, http) in self._connections.items() if http.state != "idle"]
        if busy:
            await asyncio.wait(busy, timeout=timeout_s)

    def cut_exchanges(self) -> None:
        """Break off the answers that are being given."""
        for task, (_, http) in self._connections.items():
            if http.state == "exchange":
                task.cancel()

    async def close(self, timeout_s: float) -> None:
        """Accept nothing more, and end every connection."""
        for listener in self._listeners:
            listener.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections, timeout=timeout_s)

    def sweep_write_buffers(self) -> None:
        """Cut connections whose unsent bytes pile up: pongs do so outside of every queue."""
        num_bytes = 0
        for connection, _ in self._connections.values():
            num_bytes += connection.num_unsent_bytes
            if connection.num_unsent_bytes > MAX_UNSENT_BYTES:
                self._metrics.slow_clients_closed.inc()
                connection.abort()
        self._metrics.egress_buffer.set(num_bytes)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take a connection in. TLS begins only now, so that connections are counted before its handshake, too."""
        connection = Connection(
            reader,
            writer,
            write_timeout_s=self._limits.write_timeout_s,
            count_slow_client=self._metrics.slow_clients_closed.inc,
        )
        place = self._host.service.admission.connect(connection.address)
        if place is None:
            self._metrics.connections_rejected.labels("reserve_full").inc()
            connection.abort()
            return
        if self._certificate is not None:
            connection.transport.pause_reading()  # what comes is TLS's
        http = HttpConnection(connection, place, self._host)
        task = asyncio.get_running_loop().create_task(self._serve(connection, http))
        self._connections[task] = connection, http
        task.add_done_callback(functools.partial(self._ended, place))

    async def _serve(self, connection: Connection, http: HttpConnection) -> None:
        if self._certificate is not None:
            try:
                await connection.start_tls(self._certificate.context, self._limits.auth_timeout_s)
            except OSError as error:
                self._metrics.connections_rejected.labels("tls").inc()
                logger.debug("a TLS handshake failed", extra={"reason": str(error)})
                connection.abort()
                return
        await http.serve()

    def _ended(self, place: Place, task: asyncio.Task[None]) -> None:
        place.leave()
        del self._connections[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("an unexpected error", exc_info=error)
