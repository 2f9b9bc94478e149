"""The ports that a server listens on: the public one, the operator's, and those that protocols have for themselves."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Sequence

from streamer.config import ServerConfig
from streamer.server.accepting import Connections, Converse
from streamer.server.listening import open_sockets, shown_url
from streamer.server.routing import TcpRoute
from streamer.server.tls import Certificate

logger = logging.getLogger(__name__)


class Ports:
    """Opens the ports and knows their numbers, also where the configuration asked for any free one."""

    def __init__(
        self,
        config: ServerConfig,
        connections: Connections,
        admin_connections: Connections,
        certificate: Certificate | None,
    ) -> None:
        """`admin_connections`: the operator's, whose places no client can take."""
        self._config = config
        self._connections = connections
        self._admin_connections = admin_connections
        self._certificate = certificate
        self._public: Sequence[socket.socket] = ()
        self._admin: Sequence[socket.socket] = ()
        self._tcp: list[Sequence[socket.socket]] = []

    async def open_public(self, converse: Converse) -> None:
        """Open the port of the clients. Raises `ConfigError`."""
        self._public = await asyncio.to_thread(open_sockets, self._config.host, self._config.port)
        self._public = await self._connections.listen(self._public, converse, self._certificate)

    async def open_admin(self, converse: Converse) -> None:
        """Open the operator's port if there is to be one. Raises `ConfigError`."""
        host, port = self._config.admin_host, self._config.admin_port
        if port is not None:
            self._admin = await asyncio.to_thread(open_sockets, host, port, "admin_")
            logger.info("a further port is open", extra={"admin_port": self.admin})
            self._admin = await self._admin_connections.listen(self._admin, converse, self._certificate)

    def check_tcp(self, routes: Sequence[TcpRoute]) -> None:
        """Raise `ConfigError` for a port that cannot be opened, before a model is read in vain."""
        for route in routes:
            for opened in open_sockets(route.host, route.port, route.option_prefix):
                opened.close()

    async def open_tcp(self, routes: Sequence[TcpRoute], converse: Callable[[TcpRoute], Converse]) -> None:
        """Open the ports of protocols that know neither HTTP nor TLS. Raises `ConfigError`."""
        for route in routes:
            sockets = await asyncio.to_thread(open_sockets, route.host, route.port, route.option_prefix)
            self._tcp.append(await self._connections.listen(sockets, converse(route)))
            logger.info("a further port is open", extra={f"{route.option_prefix}port": self.tcp[-1]})

    @property
    def public(self) -> int:
        """The port of the clients."""
        return _number(self._public)

    @property
    def admin(self) -> int | None:
        """The operator's port."""
        return _number(self._admin) if self._admin else None

    @property
    def tcp(self) -> list[int]:
        """The ports of other protocols, in the order of their routes."""
        return [_number(sockets) for sockets in self._tcp]

    @property
    def url(self) -> str:
        """The address of the page for a browser on this machine."""
        return shown_url(self._config.host, self._public, is_tls=self._certificate is not None)


def _number(sockets: Sequence[socket.socket]) -> int:
    return int(sockets[0].getsockname()[1])
