"""Whose address counts: the connection's, or the one that a trusted proxy tells."""

from __future__ import annotations

import ipaddress

import pytest
from websockets.datastructures import Headers

from streamer.errors import ConfigError
from streamer.server.client_address import MAX_PROXIES, TrustedProxies, peer_of

PROXIES = TrustedProxies(["10.0.0.0/8", "2001:db8:ffff::/48", "192.0.2.1"])
PEER = ipaddress.ip_address("10.0.0.1")


def client(*fields: tuple[str, str], peer: str = "10.0.0.1") -> str:
    address = peer_of((peer, 1))
    assert address is not None
    return PROXIES.client_of(address, Headers(fields))


@pytest.mark.parametrize(
    ("told", "counted"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2:3::4]", "2001:db8:1:2::/64"),
        ("[2001:db8:1:2:3::4]:443", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("203.0.113.7, 10.1.2.3", "203.0.113.7"),
        ("203.0.113.7,10.1.2.3 , 192.0.2.1", "203.0.113.7"),
        ("203.0.113.7, 2001:db8:ffff::9", "203.0.113.7"),
        ("10.5.5.5", "10.5.5.5"),
        ("203.0.113.7, ", "203.0.113.7"),
    ],
)
def test_the_last_address_that_is_no_proxys_counts(told: str, counted: str) -> None:
    """In either header, by IPv4 or IPv6, with a port or without, through one proxy or several."""
    assert client(("X-Forwarded-For", told)) == counted
    nodes = [node.strip() for node in told.split(",") if node.strip()]
    quoted = ", ".join(f'for="{node}";proto=https;by=10.0.0.1' for node in nodes)
    assert client(("Forwarded", quoted)) == counted
    assert client(*(("X-Forwarded-For", node) for node in nodes)) == counted


@pytest.mark.parametrize(
    ("told", "counted"),
    [
        ("6.6.6.6, 203.0.113.7", "203.0.113.7"),
        ("10.9.9.9, 203.0.113.7", "203.0.113.7"),
        ("127.0.0.1, 203.0.113.7, 10.2.2.2", "203.0.113.7"),
        ("garbage, 203.0.113.7", "203.0.113.7"),
        (", , 203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, unknown", "10.0.0.1"),
        ("6.6.6.6, unknown, 10.3.3.3", "10.3.3.3"),
    ],
)
def test_what_a_client_invents_does_not_count(told: str, counted: str) -> None:
    """Proxies add at the end, so that what stands before an address that is no proxy's is hearsay."""
    assert client(("X-Forwarded-For", told)) == counted
    assert client(("X-Forwarded-For", told), ("Forwarded", "for=6.6.6.6")) == counted


@pytest.mark.parametrize(
    "fields",
    [
        (),
        (("X-Forwarded-For", ""),),
        (("X-Forwarded-For", "unknown"),),
        (("X-Forwarded-For", "203.0.113.7.9"),),
        (("X-Forwarded-For", "999.0.113.7"),),
        (("X-Forwarded-For", "[203.0.113.7"),),
        (("X-Forwarded-For", "for=203.0.113.7"),),
        (("X-Forwarded-For", "203.0.113.7 203.0.113.8"),),
        (("X-Forwarded-For", "²01.0.0.1"),),
        (("Forwarded", "for=6.6.6.6;"), ("Forwarded", "for")),
        (("Forwarded", "for=6.6.6.6, for=203.0.113.7;x"),),
        (("Forwarded", "for=6.6.6.6, ;;"),),
        (("Forwarded", 'for=6.6.6.6, by="x, for=203.0.113.7"'),),
        (("Forwarded", 'for=6.6.6.6, by="a, for=";host="b"'),),
        (("Forwarded", 'for=6.6.6.6, by="x, for=\\"203.0.113.7\\""'),),
        (("X-Forwarded-For", "9" * 8000),),
        (("Forwarded", "for=_hidden"),),
        (("Forwarded", 'for="unknown"'),),
        (("Forwarded", "by=203.0.113.7;proto=http"),),
        (("Forwarded", 'for="203.0.113.7'),),
        (("Forwarded", "before=203.0.113.7"),),
        (("X-Real-IP", "203.0.113.7"),),
        (("X-Client-IP", "203.0.113.7"),),
    ],
)
def test_a_proxy_that_names_nobody_is_counted_itself(fields: tuple[tuple[str, str], ...]) -> None:
    """What is no address is nobody's, and other headers are no proxy's word."""
    assert client(*fields) == "10.0.0.1"


@pytest.mark.parametrize(
    ("forwarded", "counted"),
    [
        ("for=203.0.113.7", "203.0.113.7"),
        ("FOR=203.0.113.7", "203.0.113.7"),
        ('proto=http;for="203.0.113.7:80"', "203.0.113.7"),
        ('for=6.6.6.6, for="203.0.113.7"', "203.0.113.7"),
        ('for="a,b";by="c;for=6.6.6.6", for=203.0.113.7', "203.0.113.7"),
        ('by="x;for=6.6.6.6";for=203.0.113.7', "203.0.113.7"),
        ("for=203.0.113.7;", "203.0.113.7"),
        (";for=203.0.113.7;;proto=http;", "203.0.113.7"),
        ("for=203.0.113.7 ; proto=http , ,", "203.0.113.7"),
        ("for=203.0.113.7;x.y=z", "203.0.113.7"),
        ("for=[2001:db8:1:2:3::4]:80", "2001:db8:1:2::/64"),
    ],
)
def test_forwarded_is_read_by_its_grammar(forwarded: str, counted: str) -> None:
    """What is quoted ends neither an element nor a pair (RFC 7239, section 4)."""
    assert client(("Forwarded", forwarded)) == counted


@pytest.mark.parametrize(
    "sent",
    [
        "x",
        "for",
        "for=6.6.6.6;",
        "for=6.6.6.6;;",
        'for=6.6.6.6;by="',
        'for=6.6.6.6;by="x\\',
        'for="6.6.6.6, for="7.7.7.7',
        '"',
        "=,;=\\",
        "for=6.6.6.6 for=7.7.7.7",
        "@" * 8000,
        ',"' * 4000,
        ',a="b' * 1600,
    ],
    ids=lambda sent: sent[:30],
)
@pytest.mark.parametrize(
    "added",
    [
        "for=203.0.113.7",
        'for="203.0.113.7:80";by="10.0.0.1"',
        'by="10.0.0.1, x";for=203.0.113.7',
        "for=203.0.113.7;, for=10.1.1.1",
    ],
)
def test_nothing_that_a_client_sends_hides_it(sent: str, added: str) -> None:
    """However wrong its own `Forwarded` is: it is read from the end, where proxies add, up to the first stranger."""
    assert client(("Forwarded", sent), ("Forwarded", added)) == "203.0.113.7"
    assert client(("Forwarded", f"{sent}, {added}")) == "203.0.113.7"


@pytest.mark.parametrize("added", ["for=10.1.1.1", "for=10.1.1.1;"])
def test_the_last_proxy_counts_if_what_is_before_it_is_no_element(added: str) -> None:
    """It was told nothing that can be read of whom it got the request from."""
    for sent in ("x", 'for=6.6.6.6, by="', "for=6.6.6.6, for", "=", ";"):
        assert client(("Forwarded", sent), ("Forwarded", added)) == "10.1.1.1"


def test_only_so_many_proxies_are_looked_through() -> None:
    """Beyond them the last one counts, however long the header is."""
    told = ", ".join(["203.0.113.7", *(f"10.0.1.{number}" for number in range(1, MAX_PROXIES + 1))])
    assert client(("X-Forwarded-For", told)) == "10.0.1.1"
    assert client(("X-Forwarded-For", told.removesuffix(f", 10.0.1.{MAX_PROXIES}"))) == "203.0.113.7"
    assert client(("X-Forwarded-For", "10.7.7.7," * 1700)) == "10.7.7.7"


@pytest.mark.parametrize(
    ("peer", "is_trusted"),
    [
        (("10.255.0.1", 1), True),
        (("::ffff:10.0.0.1", 1, 0, 0), True),
        (("2001:db8:ffff:1::1", 1, 0, 0), True),
        (("192.0.2.1", 1), True),
        (("192.0.2.2", 1), False),
        (("11.0.0.1", 1), False),
        (("2001:db8:fffe::1", 1, 0, 0), False),
        (("::1", 1, 0, 0), False),
        ("", False),
        (None, False),
    ],
)
def test_proxies_are_known_by_their_own_addresses(peer: object, is_trusted: bool) -> None:
    """Not by the network of an IPv6 address, in which there may be others."""
    assert PROXIES.trust(peer_of(peer)) == is_trusted
    assert not TrustedProxies().trust(peer_of(peer))


@pytest.mark.parametrize(
    "network",
    [
        "10.0.0.1/8",
        "10.0.0.0/33",
        "localhost",
        "",
        "0.0.0.0/0",
        "::/0",
        "::ffff:10.0.0.0/104",
        "10.0.0.0-10.0.0.9",
    ],
)
def test_what_is_no_network_of_proxies_is_a_mistake(network: str) -> None:
    """One line names the option, the value and the remedy."""
    with pytest.raises(ConfigError, match=r"write|name the proxies") as caught:
        TrustedProxies(["10.0.0.0/8", network])
    assert caught.value.param == "trusted_proxies" and repr(network) in caught.value.message
    assert "\n" not in caught.value.message
