"""The checks of a request: which web origins may connect, and in which places a key may be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from websockets.datastructures import Headers

from streamer.errors import ConfigError
from streamer.server.access import (
    check_allowed_origins,
    check_host,
    check_key,
    check_origin,
    is_local,
    read_bearer,
)
from streamer.server.http import RefusedError, Request
from streamer.server.key_entries import plain_key
from streamer.server.keys import ApiKeys
from tests.server.speaking import configured, running

ALLOWED = ("https://good.example", "https://other.example:443/", "http://port.example:8080")


def _request(*fields: tuple[str, str], query: str = "") -> Request:
    return Request("GET", "/v1/stream", query, Headers(fields), "127.0.0.1")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("name", "https://name"),
        ("name:443", "https://name"),
        ("name", "https://name:443"),
        ("name:80", "http://name"),
        ("NAME:443", "https://name"),
        ("name:8443", "https://name:8443"),
        ("[::1]:8765", "http://[::1]:8765"),
        ("[::1]:443", "https://[::1]"),
        ("anything", "https://good.example"),
        ("anything", "https://GOOD.example:443"),
        ("anything", "https://other.example"),
        ("anything", "http://port.example:8080"),
    ],
)
def test_the_own_page_and_listed_origins_may_connect(host: str, origin: str) -> None:
    """A usual port is the same as none, and letters' case does not matter."""
    assert check_origin(_request(("Host", host), ("Origin", origin)), ALLOWED) == origin


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("name", "https://name:8443"),  # a proxy that passes `$host`, without the port
        ("127.0.0.1:8765", "https://name"),  # a proxy that passes its own idea of the host
        ("name:8765", "https://name"),
        ("name:8443", "https://name:443"),
        ("name", "null"),
        ("", "null"),
        ("", ""),
        ("name", "http://["),
        ("name", "ftp://name"),
        ("name", "name"),
        ("anything", "http://good.example"),
        ("anything", "https://good.example.evil.example"),
        ("anything", "https://evil-good.example"),
        ("anything", "http://port.example"),
    ],
)
def test_other_origins_are_told_what_to_do(host: str, origin: str) -> None:
    """The refusal shows what was compared, and names both remedies."""
    with pytest.raises(RefusedError) as refused:
        check_origin(_request(("Host", host), ("Origin", origin)), ALLOWED)
    answer = refused.value.answer
    message = json.loads(answer.body)["error"]["message"]
    assert (answer.status, refused.value.reason) == (403, "origin")
    assert origin in message and host in message
    assert "pass on the Host header" in message and "`allowed_origins`" in message


def test_what_a_proxy_says_of_the_host_is_not_believed() -> None:
    """A client can send that, too."""
    fields = (
        ("Host", "upstream"),
        ("Origin", "https://evil"),
        ("X-Forwarded-Host", "evil"),
        ("Forwarded", "host=evil"),
    )
    with pytest.raises(RefusedError):
        check_origin(_request(*fields), ())


@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8765", "LOCALHOST.:8765", "127.0.0.1", "127.8.9.1:80", "[::1]", "[::1]:8765",
     "a.localhost:1", "good.example", "port.example:8080", "port.example", "named:8765", None],
)  # fmt: skip
def test_a_server_of_one_machine_answers_by_its_names(host: str | None) -> None:
    """Names of this machine, of the host that is listened on, and of allowed pages; a program may name none."""
    check_host(_request(*([("Host", host)] if host else [])), "named", ALLOWED)


@pytest.mark.parametrize(
    "host",
    ["evil.test", "evil.test:8765", "localhost.evil.test", "127.0.0.1.evil.test", "127.0.0.1.nip.io:80",
     "notlocalhost", "192.168.0.2", "[::2]:80", "0.0.0.0", "evil.test.", "good.example.evil.test", "",
     "localhost evil.test", "xlocalhost"],
)  # fmt: skip
def test_a_server_of_one_machine_answers_to_no_other_name(host: str) -> None:
    """A page whose name resolves to this machine is told what to do."""
    with pytest.raises(RefusedError) as refused:
        check_host(_request(("Host", host)), "127.0.0.1", ALLOWED)
    assert refused.value.answer.status == 421 and b"allowed_origins" in refused.value.answer.body


def test_two_hosts_are_both_looked_at() -> None:
    """And `*` lets every page in."""
    with pytest.raises(RefusedError):
        check_host(_request(("Host", "localhost"), ("Host", "evil.test")), "127.0.0.1", ALLOWED)
    check_host(_request(("Host", "evil.test")), "127.0.0.1", ("*",))


async def test_rebound_names_are_refused_without_a_key(tmp_path: Path) -> None:
    """On every address and over WebSocket, for servers of one machine without keys, and for no others."""
    (tmp_path / "keys").write_text("secret")
    keys = {"api_keys_file": tmp_path / "keys", "host": "127.0.0.1"}
    rebound = b"Host: evil.test:18830\r\nOrigin: http://evil.test:18830\r\n"
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    upgrade += b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    assert all(map(is_local, ("127.0.0.1", "::1", "[::1]", "localhost", "127.1.2.3"))) and not is_local(
        "0.0.0.0"
    )
    for server_options, expected in (({"host": "127.0.0.1"}, 421), (keys, 200), ({"host": "0.0.0.0"}, 200)):
        async with running(configured(server=server_options)) as server:
            for path in ("/livez", "/metrics", "/v1/voices", "/"):
                assert (await server.http(b"GET %b HTTP/1.1\r\n%b\r\n" % (path.encode(), rebound)))[
                    0
                ] == expected
            async with server.line() as (reader, writer):
                writer.write(b"GET /v1/stream HTTP/1.1\r\n%b%b\r\n" % (rebound, upgrade))
                status_line = await reader.readline()
            assert status_line.split()[1] == (b"421" if expected == 421 else b"101")


def test_a_program_sends_no_origin() -> None:
    """It may connect; two origins are refused, and `*` lets every page in."""
    assert check_origin(_request(("Host", "name")), ()) is None
    two = (("Host", "a"), ("Origin", "http://a"), ("Origin", "http://a"))
    with pytest.raises(RefusedError):
        check_origin(_request(*two), ())
    assert check_origin(_request(("Host", "a"), ("Origin", "https://any")), ("*",)) == "https://any"


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ((), None),
        ((("Authorization", "Bearer one"),), "one"),
        ((("authorization", "bearer  one "),), "one"),
        ((("Authorization", "Token one"),), "one"),
        ((("Authorization", "Basic one"),), None),
        ((("X-API-Key", " one "),), "one"),
        ((("Authorization", "Basic x"), ("X-API-Key", "one")), "one"),
    ],
)
def test_a_key_is_found_in_the_header(fields: tuple[tuple[str, str], ...], key: str | None) -> None:
    """In `Authorization` as bearer or token, or in `X-API-Key`."""
    assert read_bearer(_request(*fields)) == key


@pytest.mark.parametrize(
    "name",
    ["token", "key", "api_key", "APIKEY", "access_token", "authorization", "x-api-key", "X-Api-Key",
     "xi-api-key", "xi_api_key", "auth", "bearer", "auth-token", "accessKey", "secret", "password"],
)  # fmt: skip
def test_a_key_in_the_query_is_refused(name: str) -> None:
    """Addresses end up in logs."""
    with pytest.raises(RefusedError) as refused:
        read_bearer(_request(query=f"voice=tone&{name}=one"))
    assert (refused.value.answer.status, refused.value.reason) == (400, "key_in_query")


def test_an_adapter_may_look_elsewhere_for_keys() -> None:
    """If keys are needed, a wrong one is refused, and so is a missing one unless it may follow."""
    keys = ApiKeys([plain_key("one")])

    def read_query(request: Request) -> str | None:
        return request.query.partition("=")[2] or None

    assert check_key(_request(query="key=one"), keys, read_query, is_needed=True) == keys.check(
        "one", "speak"
    )
    assert check_key(_request(), keys, read_query, is_needed=False) is None
    for query, is_needed in (("key=two", False), ("key=two", True), ("", True)):
        with pytest.raises(RefusedError) as refused:
            check_key(_request(query=query), keys, read_query, is_needed=is_needed)
        assert refused.value.answer.status == 401
    assert check_key(_request(query="key=two"), ApiKeys(), read_query, is_needed=True) is None


@pytest.mark.parametrize(
    "origin", ["https://good.example", "http://a:8080", "https://[::1]:1/", "*", "HTTPS://A.example"]
)
def test_an_allowed_origin_may_be_one(origin: str) -> None:
    """A scheme, a host and perhaps a port; or all of them."""
    check_allowed_origins([origin])


@pytest.mark.parametrize(
    "origin",
    [
        "not an origin",
        "good.example",
        "https://a.example/path",
        "https://",
        "ftp://a.example",
        "https://a?b",
        "null",
    ],
)
def test_an_allowed_origin_that_would_never_match_is_a_mistake(origin: str) -> None:
    """The operator is told at the start."""
    with pytest.raises(ConfigError, match="allowed_origins"):
        check_allowed_origins(["https://good.example", origin])
