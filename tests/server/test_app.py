"""The server as a whole: its start, which clients it lets in, an engine that fails, and the drain."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from streamer.errors import ConfigError, EngineError
from streamer.server import accepting, connection, websocket
from streamer.server.app import Server
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Running, configured, eventually, running

TEXT = "Hello there. How are you today? I am well, thank you very much."


async def test_the_port_listens_before_the_model_is_warm() -> None:
    """While warming up the process is alive and not ready, and refuses sessions with 503."""
    synthesizer = FakeSynthesizer(warm_up_s=30)
    server = Server(configured(), synthesizer)
    starting = asyncio.ensure_future(server.start())
    await eventually(lambda: server.is_listening)
    for path, expected in (("/livez", 200), ("/readyz", 503), ("/v1/voices", 503)):
        assert (await Running(server, synthesizer, []).get(path))[0] == expected
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{server.port}/v1/stream", proxy=None).__aenter__()
    assert refused.value.response.status_code == 503
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    assert synthesizer.is_closed


async def test_a_default_voice_that_is_not_there_is_a_configuration_error() -> None:
    """The operator is told at the start, with the names that exist, instead of each client later."""
    synthesizer = FakeSynthesizer()
    with pytest.raises(ConfigError, match="'nobody': the model has tone, other"):
        await Server(configured(speech={"voice": "nobody"}), synthesizer).start()
    assert synthesizer.is_closed


async def test_a_dead_engine_ends_everything_and_the_server() -> None:
    """Each utterance ends as failed, sessions close with 1011, `/livez` is 503, and the run raises."""
    async with running(synthesizer=FakeSynthesizer(speed=1.0)) as server:
        async with server.client() as client, server.client() as other:
            await client.say("speak", id="a", text=TEXT)
            await client.say("start", id="b")
            await client.until("sentence_start")
            server.synthesizer.die()
            assert (await server.get("/livez"))[0] == 503
            while len(client.messages("done")) < 2:
                await client.until("done")
            assert {done["reason"] for done in client.messages("done")} == {"failed"}
            assert {done["error"]["code"] for done in client.messages("done")} == {"engine_failed"}
            error = await client.until("error")
            assert (error["scope"], error["code"]) == ("session", "engine_failed")
            for closed in (client, other):
                with pytest.raises(ConnectionClosed):
                    while True:
                        await closed.next()
                assert closed.connection.close_code == 1011
        await eventually(lambda: server.failures)
        assert isinstance(server.failures[0], EngineError)


async def test_stopping_lets_utterances_finish() -> None:
    """A drain says `going_away`, refuses new starts, finishes what is open, and closes with 1001."""
    config = configured(drain_timeout_s=5.0)
    async with running(config, FakeSynthesizer(speed=10.0)) as server, server.client() as client:
        await client.say("speak", id="a", text=TEXT, lead_ms=None)
        await client.until("sentence_start")
        server.server.stop()
        assert (await client.until("going_away"))["deadline_s"] == 5.0
        assert (await server.get("/readyz"))[0] == 503
        await client.say("speak", id="b", text=TEXT)
        assert (await client.until("error"))["code"] == "overloaded"
        assert (await client.until("done"))["reason"] == "completed"
        with pytest.raises(ConnectionClosed):
            await client.next()
        assert client.connection.close_code == 1001


async def test_a_drain_ends_at_its_deadline_or_at_a_second_stop() -> None:
    """What is still open when time is up, or at a second stop, is cancelled, each with its done."""
    for drain_timeout_s, num_stops in ((0.05, 1), (60.0, 2)):
        config = configured(drain_timeout_s=drain_timeout_s)
        async with running(config) as server, server.client() as client:
            await client.say("start", id="a")
            await client.until("started")
            for _ in range(num_stops):
                server.server.stop()
            assert (await client.until("done"))["reason"] == "cancelled"
            with pytest.raises(ConnectionClosed):
                await client.next()
            assert client.connection.close_code == 1001


async def _refused_status(address: str, **options: object) -> int:
    with pytest.raises(InvalidStatus) as refused:
        await connect(address, proxy=None, **options).__aenter__()  # type: ignore[arg-type]
    return refused.value.response.status_code


async def test_keys_are_asked_for_where_they_are_configured(tmp_path: Path) -> None:
    """A valid key in a header or in `auth` opens; a wrong, missing or queried one does not."""
    keys = tmp_path / "keys"
    keys.write_text("first-key # for tests\n\nsecond-key\n")
    async with running(configured(server={"api_keys_file": keys}, auth_timeout_s=1.0)) as server:
        for header in ({"Authorization": "Bearer second-key"}, {"X-API-Key": "first-key"}):
            async with server.client(additional_headers=header) as client:
                await client.say("speak", id="a", text="Hi.")
                await client.until("done", reason="completed")
        async with server.client() as client:
            await client.say("auth", token="first-key")
            await client.say("speak", id="a", text="Hi.")
            await client.until("done", reason="completed")
        wrong = {"Authorization": "Bearer third-key"}
        assert await _refused_status(server.address, additional_headers=wrong) == 401
        assert await _refused_status(server.address + "?token=first-key") == 400
        for first in ({"type": "auth", "token": "wrong"}, {"type": "ping"}, None):
            async with server.client() as client:
                if first is not None:
                    await client.connection.send(json.dumps(first))
                error = await client.until("error")
                assert (error["code"], error["scope"]) == ("unauthorized", "session")
                with pytest.raises(ConnectionClosed):
                    await client.next()
                assert client.connection.close_code == 4401


async def test_a_client_without_a_key_cannot_extend_its_deadline(tmp_path: Path) -> None:
    """Messages that are not understood are answered, and do not give a client more time for its key."""
    keys = tmp_path / "keys"
    keys.write_text("first-key\n")
    config = configured(server={"api_keys_file": keys}, auth_timeout_s=1.0)
    async with running(config) as server, server.client() as client:
        with pytest.raises(ConnectionClosed):
            for _ in range(100):
                await client.connection.send("rubbish")
                await client.until("error")
                await asyncio.sleep(0.05)
        assert client.connection.close_code == 4401


async def test_a_key_is_asked_for_once(tmp_path: Path) -> None:
    """After a valid key another `auth` means nothing."""
    keys = tmp_path / "keys"
    keys.write_text("first-key\n")
    header = {"X-API-Key": "first-key"}
    async with (
        running(configured(server={"api_keys_file": keys})) as server,
        server.client() as by_message,
        server.client(additional_headers=header) as by_header,
    ):
        await by_message.say("auth", token="first-key")
        for client in (by_message, by_header):
            await client.say("auth", token="wrong")
            assert await client.pong() == []


def test_a_keys_file_without_keys_is_a_configuration_error(tmp_path: Path) -> None:
    """A server that was meant to be locked does not start open."""
    empty = tmp_path / "keys"
    empty.write_text("# none yet\n")
    for path in (empty, tmp_path / "missing"):
        with pytest.raises(ConfigError):
            Server(configured(server={"api_keys_file": path}), FakeSynthesizer())


async def test_origins_are_checked() -> None:
    """Scripts of the server's own page and of listed origins may connect, others get 403."""
    async with running(configured(server={"allowed_origins": ("https://good.example",)})) as server:
        own = f"http://127.0.0.1:{server.server.port}"
        for origin in ("https://good.example", "https://GOOD.example", own):
            async with server.client(origin=origin):
                pass
        for origin in (
            "https://good.example.evil.com",
            "http://good.example",
            "https://evil-good.example",
            "null",
            "http://[",
        ):
            assert await _refused_status(server.address, origin=origin) == 403


async def test_connections_are_capped() -> None:
    """One address may have its number of connections, and the server its own; a place that is left is free again."""
    async with running(configured(max_connections_per_address=1)) as server:
        async with server.client():
            assert await _refused_status(server.address) == 429
        await eventually(lambda: not server.server.num_connections)
        async with server.client():
            pass
    async with running(configured(max_connections=1)) as server, server.client():
        assert await _refused_status(server.address) == 503


async def test_the_subprotocol_is_agreed_on_where_offered() -> None:
    """`streamer.v1` is selected if the client offers it, and is not required."""
    async with running() as server:
        async with server.client(subprotocols=["other", "streamer.v1"]) as client:
            assert client.connection.subprotocol == "streamer.v1"
        async with server.client() as client:
            assert client.connection.subprotocol is None


async def test_sigterm_is_a_stop() -> None:
    """The signal of an orderly shutdown drains, and the run returns without an error."""
    async with running() as server, server.client() as client:
        os.kill(os.getpid(), signal.SIGTERM)
        await client.until("going_away")
        await client.connection.wait_closed()
        assert client.connection.close_code == 1001
    assert not server.failures


async def test_unread_answers_to_pings_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection whose unsent bytes exceed the limit is cut."""
    monkeypatch.setattr(connection, "SEND_BUFFER_BYTES", 4096)
    monkeypatch.setattr(accepting, "MAX_UNSENT_BYTES", 65_536)
    monkeypatch.setattr(websocket, "FRAMES_PER_S", 1_000_000)
    async with running() as server:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", server.server.port))
        async with server.client(sock=sock, ping_interval=None) as client:
            client.connection.transport.pause_reading()
            ping = b"\x89\xfd\x00\x00\x00\x00" + b"x" * 125
            for _ in range(300):
                client.connection.transport.write(ping * 100)
                await asyncio.sleep(0)
                if b"tts_slow_client_closed_total 1.0" in server.server.metrics.render():
                    break
                await asyncio.sleep(0.01)
            await eventually(lambda: not server.server.num_connections)
            assert b"tts_slow_client_closed_total 1.0" in server.server.metrics.render()
            client.connection.transport.abort()
