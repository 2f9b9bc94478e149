"""The port on which a worker tells its figures: Prometheus reads them there, and front ends have no use for it."""

from __future__ import annotations

import asyncio
import http
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Final

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from streamer.telemetry.worker_metrics import WorkerMetrics

REQUEST_TIMEOUT_S: Final = 5.0
"""How long a request may take to come."""


class MetricsPort:
    """Answers `GET /metrics`, which changes nothing and needs no secret, and nothing else."""

    def __init__(
        self,
        open_sockets: Callable[[], Sequence[socket.socket]],
        metrics: WorkerMetrics,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`open_sockets` opens the port, and may raise `ConfigError`."""
        self._open_sockets = open_sockets
        self._metrics = metrics
        self._tls = tls
        self._servers: list[Server] = []

    @property
    def number(self) -> int:
        """The port's number, also where the settings asked for any free one."""
        return int(self._servers[0].sockets[0].getsockname()[1])

    async def open(self) -> None:
        """Open the port. Raises `ConfigError`."""
        for opened in await asyncio.to_thread(self._open_sockets):
            server = await serve(
                _hang_up,
                sock=opened,
                ssl=self._tls,
                process_request=self._answer,
                compression=None,
                open_timeout=REQUEST_TIMEOUT_S,
                close_timeout=1.0,
                server_header=None,
            )
            self._servers.append(server)

    async def close(self) -> None:
        """Close the port."""
        for server in self._servers:
            server.close()
            await server.wait_closed()

    def _answer(self, connection: ServerConnection, request: Request) -> Response:
        if request.path.partition("?")[0] != "/metrics":
            return connection.respond(http.HTTPStatus.NOT_FOUND, "the figures are at /metrics\n")
        body, content_type = self._metrics.negotiated(",".join(request.headers.get_all("Accept")))
        response = connection.respond(http.HTTPStatus.OK, body.decode())
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = content_type
        response.headers["Vary"] = "Accept"
        return response


async def _hang_up(connection: ServerConnection) -> None:
    """Never called, because every request is answered before it becomes a WebSocket."""
    await connection.close()
