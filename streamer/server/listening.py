"""The sockets that a server listens on, and the address under which a browser finds them."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Final

from streamer.errors import ConfigError

BACKLOG: Final = 512
"""Connections that the kernel holds until they are accepted."""
_NOT_HERE: Final = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_EVERY: Final = ("0.0.0.0", "::", "[::]", "")
"""Hosts that are every address of the machine, and take a port on all of them."""
_LOOPBACK: Final = {"localhost": "127.0.0.1"}
_ANY: Final = {"0.0.0.0": "localhost", "::": "localhost", "127.0.0.1": "localhost"}


def open_sockets(host: str, port: int, option_prefix: str = "") -> list[socket.socket]:
    """Open a listening socket for each address of `host`, all on one port; `::` is every address, IPv4's too.

    An IPv6 address may have its brackets. `option_prefix`: what the names of the options for host and port begin with.
    Raises `ConfigError` naming the option that has to change.
    """
    sockets: list[socket.socket] = []
    unavailable: OSError | None = None
    for family, address in _addresses(host, option_prefix):
        if sockets:
            port = sockets[0].getsockname()[1]  # if any free one was requested
        try:
            sockets.append(_open(family, address, port))
        except OSError as error:
            if error.errno in _NOT_HERE:  # such as ::1, which `localhost` is too, without IPv6
                unavailable = error
                continue
            for opened in sockets:
                opened.close()
            raise _explained(error, host, port, option_prefix) from None
    if not sockets:
        assert unavailable is not None, "a name without addresses is not resolved"
        raise _explained(unavailable, host, port, option_prefix) from None
    return sockets


def check_address(host: str, option_prefix: str = "") -> None:
    """Raise `ConfigError` for a host that no port can be opened at; whether a port is taken is not looked at."""
    for opened in open_sockets(host, 0, option_prefix):
        opened.close()


def check_ports(places: Mapping[str, tuple[str, int | None]]) -> None:
    """Raise `ConfigError` if two of the ports, by the names of their options, would be opened at the same place.

    Each has its host; 0 is any free port, and None no port.
    """
    names: dict[int, list[str]] = {}
    for option, (host, port) in places.items():
        for other in names.setdefault(port, []) if port else []:
            hosts = {_LOOPBACK.get(name, name) for name in (host, places[other][0])}
            if len(hosts) == 1 or not hosts.isdisjoint(_EVERY):
                raise ConfigError(
                    f"{option} and {other} are both {port}: give each a port of its own", param=option
                )
        if port:
            names[port].append(option)


def shown_url(host: str, sockets: Sequence[socket.socket], *, is_tls: bool) -> str:
    """Return an address that opens the server in a browser on this machine."""
    host, port = _without_brackets(host), sockets[0].getsockname()[1]
    is_ipv6_only = host == "::" and not _is_dual(sockets[0])
    shown = "::1" if is_ipv6_only else _ANY.get(host, host)
    if ":" in shown:
        shown = f"[{shown.replace('%', '%25')}]"  # RFC 6874 has a zone's `%` encoded
    return f"{'https' if is_tls else 'http'}://{shown}:{port}/"


def _addresses(host: str, option_prefix: str) -> list[tuple[socket.AddressFamily, str]]:
    try:
        found = socket.getaddrinfo(
            _without_brackets(host), None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (socket.gaierror, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "it is no name"
        option = f"{option_prefix}host"
        message = (
            f"{option} {host!r} cannot be resolved ({reason}): name an address of this machine, or 0.0.0.0"
        )
        raise ConfigError(message, param=option) from None
    addresses: list[tuple[socket.AddressFamily, str]] = []
    for family, _, _, _, place in found:
        address = (
            str(place[0])
            if len(place) < 4 or not place[3]
            else f"{str(place[0]).partition('%')[0]}%{place[3]}"
        )
        if (family, address) not in addresses:
            addresses.append((family, address))
    return addresses


def _open(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    is_dual = address == "::" and socket.has_dualstack_ipv6()
    name, _, scope = address.partition("%")
    place = (name, port, 0, int(scope)) if scope else (address, port)
    return socket.create_server(place, family=family, backlog=BACKLOG, dualstack_ipv6=is_dual)


def _explained(error: OSError, host: str, port: int, option_prefix: str) -> ConfigError:
    host_option, port_option = f"{option_prefix}host", f"{option_prefix}port"
    reason = os.strerror(error.errno) if error.errno else str(error)
    if error.errno == errno.EADDRINUSE:
        message = f"{port_option} {port}: another program listens on it already; stop it, or set another port"
        return ConfigError(message, param=port_option)
    if error.errno == errno.EACCES:
        message = f"{port_option} {port}: {reason}; ports below 1024 need a privilege, set another port"
        return ConfigError(message, param=port_option)
    message = f"{host_option} {host!r}: {reason}; name an address of this machine, or 0.0.0.0 for all"
    return ConfigError(message, param=host_option)


def _is_dual(opened: socket.socket) -> bool:
    return not opened.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def _without_brackets(host: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            return host
        return host[1:-1]
    return host
