"""A protocol may have a port of its own, over plain TCP."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosedOK

from streamer import server
from streamer.config import LimitsConfig, ServerConfig
from streamer.server.app import Server
from streamer.server.connection import Connection
from streamer.server.routing import Routes, TcpRoute
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Running, configured, eventually, figure, running
from tests.server.toy_protocol import ToyProtocol


class Lines:
    """Messages are lines; implements `streamer.server.client_connection.ClientConnection`."""

    close_code: int | None = None

    def __init__(self, connection: Connection, _limits: LimitsConfig) -> None:
        self._connection = connection
        self._unread = b""

    @property
    def transport(self) -> asyncio.Transport:
        return self._connection.transport

    async def recv(self) -> str | bytes:
        while b"\n" not in self._unread:
            data = await self._connection.read()
            if not data:
                raise ConnectionClosedOK(None, None)
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    async def rest(self, pause_s: float) -> None:
        await self._connection.ended.wait_for(pause_s)

    def try_send_all(self, messages: Sequence[str | bytes]) -> bool:
        for message in messages:
            self._connection.write((message if isinstance(message, str) else "sound").encode() + b"\n")
        return True

    async def send_all(self, messages: Sequence[str | bytes]) -> None:
        self.try_send_all(messages)

    async def close(self, code: int = 1000, reason: str = "") -> None:  # noqa: ARG002
        self.close_code = code
        await self._connection.close()


announced: list[int] = []


@contextlib.asynccontextmanager
async def announce(port: int) -> AsyncIterator[None]:
    announced.append(port)
    yield
    announced.remove(port)


@pytest.fixture(autouse=True)
def toy_port(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every server of this file has a port for the toy protocol."""

    def add_ports(routes: Routes, _config: ServerConfig) -> None:
        routes.tcp.append(TcpRoute("127.0.0.1", 0, "toy_", Lines, ToyProtocol, announce))

    monkeypatch.setattr(server.app, "add_ports", add_ports)
    yield
    assert not announced


@contextlib.asynccontextmanager
async def line_to(speaking: Running) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", speaking.server.tcp_ports[0])
    try:
        yield reader, writer
    finally:
        writer.close()


async def test_a_session_runs_over_plain_tcp() -> None:
    """Text goes in and sound comes out, the port is announced, and the end of the connection is the end of all."""
    async with running() as speaking:
        assert announced == speaking.server.tcp_ports
        async with line_to(speaking) as (reader, writer):
            writer.write(b"One two.\nbye\n")
            lines = (await reader.read()).decode().splitlines()
        assert lines[0].startswith("hello ")
        assert [line for line in lines[1:] if line != "sound"] == ["1 says One|two.", "1 completed"]
        assert lines.count("sound") > 3
        await eventually(lambda: not speaking.server.num_connections)


async def test_keys_are_not_asked_for(tmp_path: Path) -> None:
    """A protocol without keys is spoken with whoever reaches its port, and open utterances are counted by address."""
    keys = tmp_path / "keys"
    keys.write_text("secret")
    config = configured(server={"api_keys_file": keys}, max_utterances_per_key=1)
    async with (
        running(config, FakeSynthesizer(speed=1.0)) as speaking,
        line_to(speaking) as (reader, writer),
    ):
        writer.write(b"One two.\nThree.\n")
        await reader.readline()
        assert await reader.readline() == b"no: overloaded\n"


async def test_keys_that_are_read_again_end_no_such_session(tmp_path: Path) -> None:
    """Nobody came in by a key, and so nobody loses one."""
    keys = tmp_path / "keys"
    keys.write_text("secret")
    async with (
        running(configured(server={"api_keys_file": keys})) as speaking,
        line_to(speaking) as (reader, writer),
    ):
        await reader.readline()
        keys.write_text("other")
        await speaking.server.reload_files()
        writer.write(b"One two.\nbye\n")
        lines = (await reader.read()).decode().splitlines()
        assert [line for line in lines if line != "sound"] == ["1 says One|two.", "1 completed"]


async def test_the_port_opens_when_the_model_is_ready() -> None:
    """Until then there is no such port, and nothing is announced; the other one is open meanwhile."""
    synthesizer = FakeSynthesizer(warm_up_s=30)
    waiting = Server(configured(), synthesizer)
    starting = asyncio.ensure_future(waiting.start())
    await eventually(lambda: waiting.is_listening)
    assert not waiting.tcp_ports and not announced
    starting.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await starting
    async with running() as speaking:
        assert len(speaking.server.tcp_ports) == 1


async def test_a_client_that_vanishes_leaves_nothing() -> None:
    """The slot of what was being spoken is free again."""
    async with running(synthesizer=FakeSynthesizer(speed=1.0)) as speaking:
        async with line_to(speaking) as (reader, writer):
            writer.write(b"One two three four five.\n")
            await reader.readline()
            await eventually(lambda: speaking.synthesizer.num_open)
        await eventually(lambda: not speaking.synthesizer.num_open)
        await eventually(lambda: not speaking.server.num_connections)


async def test_a_full_server_says_so() -> None:
    """The caps on connections hold for such a port, too: one too many hears why, by its own protocol."""
    async with running(configured(max_connections=1)) as speaking, line_to(speaking) as (reader, _):
        await reader.readline()
        async with line_to(speaking) as (refused, _):
            await asyncio.wait_for(refused.read(), 5)
        assert figure(speaking.server, "tts_connections_rejected_total", reason="server_full") == 1


async def test_a_stop_drains_such_sessions() -> None:
    """What is being said may be finished; the announcement is taken back before."""
    config = configured(drain_timeout_s=5)
    async with (
        running(config, FakeSynthesizer(speed=1.0)) as speaking,
        line_to(speaking) as (reader, writer),
    ):
        writer.write(b"One two.\n")
        await reader.readline()
        await eventually(lambda: speaking.synthesizer.num_open)
        speaking.server.stop()
        lines = (await asyncio.wait_for(reader.read(), 10)).decode().splitlines()
        assert lines[-1] == "1 completed"
        assert not announced
