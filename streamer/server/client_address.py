"""Whom a client is counted as: by the address that its connection comes from, or that a trusted proxy tells of it."""

from __future__ import annotations

import ipaddress
import itertools
import re
from collections.abc import Iterable, Iterator
from typing import Final

from websockets.datastructures import Headers

from streamer.errors import ConfigError

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
MAX_PROXIES: Final = 16
"""How many proxies one behind the other are looked through."""
UNKNOWN: Final = "local"
"""Whom a connection without an address is counted as, such as one that is over already."""
_IPV6_NETWORK_BITS: Final = 64
"""What one customer has at least, who may connect from each of its addresses (RFC 6177)."""
_NAME, _VALUE = r"[\w!#$%&'*+.^`|~-]+", r'"(?:\\.|[^"\\])*"|[^\s;,"\\]*'
_ELEMENT: Final = re.compile(
    rf"[ \t]*(?:{_NAME}=(?:{_VALUE})[ \t]*)?(?:;[ \t]*(?:{_NAME}=(?:{_VALUE})[ \t]*)?)*"
)
"""An element of `Forwarded`: pairs, any of which may be empty (RFC 7239, section 4)."""
_PAIR: Final = re.compile(rf"({_NAME})=({_VALUE})")
_NODE: Final = re.compile(r"\[([^\[\]]*)\](?::\w*)?|([\d.]+)(?::\w*)?|([^\[\]]*)")
"""A node: an address of IPv6 in brackets, or without, or one of IPv4, with a port or without."""


def peer_of(name: object) -> IPAddress | None:
    """Return a socket's peer by its name; an IPv4 address looks the same to a socket that takes IPv6, too."""
    return _parsed(str(name[0])) if isinstance(name, tuple) and name else None


def counted_as(address: IPAddress | None) -> str:
    """Return whom a client is counted as: its IPv4 address, or the network of its IPv6 address."""
    if address is None:
        return UNKNOWN
    if isinstance(address, ipaddress.IPv4Address) or address.is_loopback:
        return str(address)
    return str(ipaddress.ip_network((address, _IPV6_NETWORK_BITS), strict=False))


class TrustedProxies:
    """The proxies whose word counts about whom a request comes from."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        """`networks`: in CIDR notation. Raises `ConfigError` for what is none, or would trust everyone."""
        self._networks = [_network(text) for text in networks]

    def trust(self, peer: IPAddress | None) -> bool:
        """Whether this is the address of a proxy."""
        return peer is not None and any(peer in network for network in self._networks)

    def client_of(self, peer: IPAddress, headers: Headers) -> str:
        """Return whom the client is counted as whose request came from `peer`: the last of the addresses in
        `X-Forwarded-For`, or without one in `Forwarded`, that is no proxy's.

        Each proxy adds whom it got the request from at the end; what stands before may be the client's own invention.
        A proxy that names nobody, or what is no address, is counted itself.
        """
        client = peer
        for node in itertools.islice(_nodes(headers), MAX_PROXIES):
            if not self.trust(client) or (address := _address_of(node)) is None:
                break
            client = address
        return counted_as(client)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        message = (
            f"trusted_proxies: {text!r} is no network ({error}): write 10.1.0.0/16, or a proxy's address"
        )
        raise ConfigError(message, param="trusted_proxies") from None
    if network.prefixlen == 0:
        message = f"trusted_proxies: {text!r} is everybody, and each client could name the address it likes"
        raise ConfigError(f"{message}: name the proxies' networks", param="trusted_proxies")
    if isinstance(network, ipaddress.IPv6Network) and network.network_address.ipv4_mapped is not None:
        message = f"trusted_proxies: {text!r} never matches: write the network of IPv4"
        raise ConfigError(message, param="trusted_proxies")
    return network


def _nodes(headers: Headers) -> Iterator[str]:
    """Yield whom the proxies got a request from, the last one first; each is an address, or something else."""
    if told := headers.get_all("X-Forwarded-For"):
        return (node for node in map(str.strip, reversed(",".join(told).split(","))) if node)
    return _nodes_of_elements(",".join(headers.get_all("Forwarded")))


def _nodes_of_elements(forwarded: str) -> Iterator[str]:
    """Yield the `for` of each element of `Forwarded`, the last one first, and end at what is none.

    What a client sends cannot hide what a proxy adds behind it, also if it leaves a quote open: the shortest end behind
    a comma that is an element is the last one, because an end that begins within its quotes has an odd number of them.
    """
    end = len(forwarded)
    while end > 0:
        begin = forwarded.rfind(",", 0, end) + 1
        while (element := _ELEMENT.fullmatch(forwarded, begin, end)) is None:
            if begin == 0:
                return
            begin = forwarded.rfind(",", 0, begin - 1) + 1
        if element[0].strip():
            pairs = {pair[1].lower(): pair[2] for pair in _PAIR.finditer(element[0])}
            yield pairs.get("for", "").strip('"')
        end = begin - 1


def _address_of(node: str) -> IPAddress | None:
    match = _NODE.fullmatch(node)
    return None if match is None else _parsed(match[1] or match[2] or match[3] or "")


def _parsed(text: str) -> IPAddress | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
