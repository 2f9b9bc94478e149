"""Behind a trusted proxy each client has the limits of an address to itself, also over connections that it shares."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from streamer.server import places
from streamer.server.places import PROXIES
from tests.server.http_peer import PEER, HttpPeer, HttpServer, request
from tests.server.speaking import Running, configured, eventually, read_answer, running

TRUSTED = {"trusted_proxies": ("127.0.0.1",)}
ALICE, BOB = "192.0.2.1", "192.0.2.2"


@contextlib.asynccontextmanager
async def _session(server: Running, client: str) -> AsyncIterator[None]:
    headers = {"X-Forwarded-For": f"6.6.6.6, {client}"}
    async with connect(server.address, proxy=None, additional_headers=headers) as connection:
        await connection.recv()
        yield


async def _is_let_in(server: Running, client: str) -> bool:
    try:
        async with _session(server, client):
            return True
    except InvalidStatus as refused:
        assert refused.response.status_code == 429
        return False


async def test_each_client_of_a_proxy_has_places_of_its_own() -> None:
    """One that has as many as it may is refused, and others come in; without trust they are one and the same."""
    async with running(configured(server=TRUSTED, max_connections_per_address=2)) as server:
        async with _session(server, ALICE), _session(server, ALICE):
            assert not await _is_let_in(server, ALICE)
            assert await _is_let_in(server, BOB)
        await eventually(lambda: not server.server._service.admission.places.num_taken)
        assert await _is_let_in(server, ALICE)
    async with (
        running(configured(max_connections_per_address=2)) as server,
        _session(server, ALICE),
        _session(server, ALICE),
    ):
        assert not await _is_let_in(server, BOB)


async def test_a_connection_is_the_clients_only_while_it_asks() -> None:
    """A proxy keeps connections: between two requests they are nobody's, and the next may be anybody's."""
    async with running(configured(server=TRUSTED, max_connections_per_address=1)) as server:
        claimed = server.server._service.admission.places.claimed[True]
        async with contextlib.AsyncExitStack() as stack:
            lines = [await stack.enter_async_context(server.line()) for _ in range(3)]
            for client in (ALICE, BOB, ALICE):
                for reader, writer in lines:
                    field = f"X-Forwarded-For: {client}"
                    writer.write(f"GET /v1/voices HTTP/1.1\r\nHost: test\r\n{field}\r\n\r\n".encode())
                    assert (await read_answer(reader))[0] == 200
                    await eventually(lambda: claimed == {PROXIES: len(lines)})
            assert dict(claimed) == {PROXIES: 3}
            async with _session(server, ALICE):
                assert claimed[ALICE] == 1
                reader, writer = lines[0]
                for client, status in ((ALICE, 429), (BOB, 200)):
                    field = f"X-Forwarded-For: {client}"
                    writer.write(f"GET /v1/voices HTTP/1.1\r\nHost: test\r\n{field}\r\n\r\n".encode())
                    if status == 429:
                        answered, head, _ = await read_answer(reader)
                        assert (answered, b"connection: close" in head.lower()) == (429, True)
                        reader, writer = lines[1]
                    else:
                        assert (await read_answer(reader))[0] == status
        await eventually(lambda: not server.server._service.admission.places.num_taken)


async def test_wrong_keys_of_one_client_keep_out_no_other(tmp_path: Path) -> None:
    """They are counted by the client's address, and not by the proxy's."""
    (tmp_path / "keys").write_text("right\n")
    options: dict[str, Any] = {"api_keys_file": tmp_path / "keys", **TRUSTED}
    async with running(configured(server=options, max_wrong_keys_per_min=2)) as server:

        async def status(client: str, key: str) -> int:
            body = '{"text": "Hello.", "encoding": "wav"}'
            fields = f"X-Forwarded-For: {client}\r\nX-API-Key: {key}\r\nContent-Length: {len(body)}"
            request = f"POST /v1/speech HTTP/1.1\r\nHost: test\r\n{fields}\r\n\r\n{body}"
            return (await server.http(request.encode()))[0]

        assert [await status(ALICE, f"wrong{number}") for number in range(3)] == [401, 401, 429]
        assert (await status(ALICE, "right"), await status(BOB, "right")) == (429, 200)


def test_requests_of_one_client_slow_down_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even over the same connection: what the one owes the other does not pay."""
    config = configured(server={"trusted_proxies": (PEER,)}, max_connections_per_address=1)
    monkeypatch.setattr(places, "ADDRESS_REQUESTS_PER_S", 0.1)
    monkeypatch.setattr(places, "ADDRESS_REQUESTS_BURST", 4)
    server = HttpServer(config)
    peer = HttpPeer(server)

    def ask(client: str, wait_s: float = 0.0) -> int:
        peer.say(request("GET", "/nowhere", b"", f"X-Forwarded-For: {client}"))
        return num_answers(wait_s)

    def num_answers(wait_s: float) -> int:
        server.loop.pass_time(wait_s)
        answers = peer.answers()
        assert all(answer.status == 404 and answer.is_whole for answer in answers)
        return len(answers)

    clients = [*(ALICE, BOB) * 4, *(f"198.51.100.{number}" for number in range(70))]
    assert [ask(client) for client in clients] == [*range(1, len(clients) + 1)]
    assert ask(ALICE, wait_s=9.9) == len(clients)
    assert num_answers(wait_s=0.2) == len(clients) + 1
    assert ask(BOB) == len(clients) + 2
    peer.leave()
    server.loop.pass_time(1.0)
    server.check_nothing_is_held()
    server.loop.close()
