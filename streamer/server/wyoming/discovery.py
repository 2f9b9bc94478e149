"""Announces the port to Home Assistant over mDNS, by the library `zeroconf`."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import re
import socket
from collections.abc import AsyncIterator
from typing import Final

from ifaddr import get_adapters
from zeroconf import InterfaceChoice
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

logger = logging.getLogger(__name__)
SERVICE_TYPE: Final = "_wyoming._tcp.local."
"""The type of service under which Home Assistant looks for Wyoming servers."""


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


@contextlib.asynccontextmanager
async def announced(host: str, port: int) -> AsyncIterator[None]:
    """Announce the port until the end of the block; `host` is an address of this machine, or all of them.

    Where announcing is not possible, the log says so, and a client is given host and port by hand.
    """
    try:
        zeroconf = AsyncZeroconf(interfaces=InterfaceChoice.All if _is_any(host) else [host])
    except (OSError, RuntimeError, ValueError) as error:
        logger.warning("Home Assistant cannot discover this server", extra={"reason": str(error)})
        yield
        return
    try:
        service = _service(host, port)
        telling = asyncio.ensure_future(
            await zeroconf.async_register_service(service, allow_name_change=True)
        )
        try:
            yield
        finally:
            telling.cancel()  # it repeats the news for a second
    finally:
        await zeroconf.async_unregister_all_services()
        await zeroconf.async_close()


def _service(host: str, port: int) -> AsyncServiceInfo:
    addresses = [host]
    if _is_any(host):
        found = [str(ip.ip) for adapter in get_adapters() for ip in adapter.ips if ip.is_IPv4]
        addresses = [address for address in found if not is_loopback(address)]
    machine = re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname())[:40]
    name = f"streamer-{machine}"
    return AsyncServiceInfo(
        SERVICE_TYPE, f"{name}.{SERVICE_TYPE}", parsed_addresses=addresses, port=port, server=f"{name}.local."
    )


def _is_any(host: str) -> bool:
    return host.strip("[]") in ("0.0.0.0", "::")
