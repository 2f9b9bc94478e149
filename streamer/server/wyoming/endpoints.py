"""The port on which Wyoming is spoken, if the operator wants one."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging

from streamer.config import ServerConfig
from streamer.errors import ConfigError
from streamer.server.routing import Routes, TcpRoute

logger = logging.getLogger(__name__)


def add_ports(routes: Routes, config: ServerConfig) -> None:
    """Add the port. Raises `ConfigError` if the packages that it needs are not installed."""
    host, port = config.wyoming_host, config.wyoming_port
    if port is None:
        return
    if missing := [name for name in ("wyoming", "zeroconf") if importlib.util.find_spec(name) is None]:
        message = f"wyoming_port needs {' and '.join(missing)}: pip install 'bark-streamer[wyoming]'"
        raise ConfigError(message, param="wyoming_port")
    from streamer.server.wyoming.connection import EventConnection
    from streamer.server.wyoming.discovery import announced, is_loopback
    from streamer.server.wyoming.protocol import WyomingProtocol

    announce = functools.partial(announced, host)
    if is_loopback(host):
        announce = contextlib.nullcontext  # type: ignore[assignment]
    else:
        message = "Wyoming has no keys: anyone who reaches its port may have text spoken"
        logger.warning(message, extra={"wyoming_host": host})
    routes.tcp.append(TcpRoute(host, port, "wyoming_", EventConnection, WyomingProtocol, announce))
