"""The server listens on IPv4, IPv6 or both, and prints an address that a person can open."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from streamer.errors import ConfigError
from streamer.server.listening import open_sockets, shown_url


def _has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6")


@contextlib.contextmanager
def _listening(host: str, port: int = 0) -> Iterator[list[socket.socket]]:
    sockets = open_sockets(host, port)
    try:
        yield sockets
    finally:
        for opened in sockets:
            opened.close()


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("host", "shown", "reachable"),
    [
        ("127.0.0.1", "localhost", {"127.0.0.1": True}),
        ("0.0.0.0", "localhost", {"127.0.0.1": True, "::1": False}),
        ("localhost", "localhost", {"127.0.0.1": True}),
        pytest.param("::1", "[::1]", {"::1": True, "127.0.0.1": False}, marks=needs_ipv6),
        pytest.param("[::1]", "[::1]", {"::1": True, "127.0.0.1": False}, marks=needs_ipv6),
        pytest.param("::", "localhost", {"::1": True, "127.0.0.1": True}, marks=needs_ipv6),
        pytest.param("[::]", "localhost", {"::1": True, "127.0.0.1": True}, marks=needs_ipv6),
        pytest.param("0:0:0:0:0:0:0:1", "[0:0:0:0:0:0:0:1]", {"::1": True}, marks=needs_ipv6),
    ],
)
def test_a_host_is_listened_on_and_shown(host: str, shown: str, reachable: dict[str, bool]) -> None:
    """The shown address can be opened, and `::` is every address of both kinds."""
    with _listening(host) as sockets:
        port = sockets[0].getsockname()[1]
        assert shown_url(host, sockets, is_tls=False) == f"http://{shown}:{port}/"
        assert shown_url(host, sockets, is_tls=True) == f"https://{shown}:{port}/"
        assert {address: _answers(address, port) for address in reachable} == reachable


@needs_ipv6
def test_where_both_are_not_to_be_had_at_once_the_address_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system without sockets for both listens on IPv6 alone, and names no address that does not answer."""
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    with _listening("::") as sockets:
        port = sockets[0].getsockname()[1]
        assert shown_url("::", sockets, is_tls=False) == f"http://[::1]:{port}/"
        assert _answers("::1", port) and not _answers("127.0.0.1", port)


@needs_ipv6
def test_a_zone_is_encoded() -> None:
    """A link-local address keeps its interface."""
    with _listening("::1") as sockets:
        assert "//[fe80::1%25eth0]:" in shown_url("fe80::1%eth0", sockets, is_tls=False)


@needs_ipv6
def test_a_name_of_several_addresses_is_one_port(monkeypatch: pytest.MonkeyPatch) -> None:
    """If any free port will do, all addresses get the same one; an address of another machine is skipped."""

    def resolved(*_args: object, **_options: object) -> list[tuple[object, ...]]:
        addresses = ("2001:db8::1", "::1", "127.0.0.1", "127.0.0.1")
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0))
            for address in addresses
        ]

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", resolved)
        sockets = open_sockets("somewhere", 0)
    with contextlib.ExitStack() as stack:
        for opened in sockets:
            stack.enter_context(opened)
        assert len({opened.getsockname()[1] for opened in sockets}) == 1
        assert [opened.getsockname()[0] for opened in sockets] == ["::1", "127.0.0.1"]


@pytest.mark.parametrize(
    "host",
    [
        "no.such.host.invalid",
        "[localhost]",
        "::1::",
        "300.1.1.1",
        "http://localhost",
        "a" * 70,
        "192.0.2.1",
        "::ffff:127.0.0.1",
        "2001:db8::1",
    ],
)
def test_a_host_that_is_not_here_names_option_and_value(host: str) -> None:
    """One line that says what to do."""
    with pytest.raises(ConfigError) as error:
        open_sockets(host, 0)
    assert error.value.param == "host" and repr(host) in error.value.message
    assert "name an address of this machine" in error.value.message and "\n" not in error.value.message


def test_a_port_that_is_taken_is_named() -> None:
    """The mistake is the port's, not the host's."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}: another program") as error:
            open_sockets("127.0.0.1", port)
        assert error.value.param == "port"
