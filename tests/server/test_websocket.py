"""A WebSocket of ours: messages whole whatever their frames, bounds on what comes, and an end in each case."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Close, Frame, Opcode

from streamer.server import message_reader, websocket
from streamer.server.light_event import LightEvent
from tests.server.speaking import Running, configured, eventually, running

PING = json.dumps({"type": "ping", "t": "é"}).encode()


@contextlib.asynccontextmanager
async def _connected(server: Running, **options: object) -> AsyncIterator[ClientConnection]:
    async with connect(server.address, proxy=None, **options) as connection:  # type: ignore[arg-type]
        assert json.loads(await connection.recv())["type"] == "session"
        yield connection


def _send(connection: ClientConnection, opcode: Opcode, data: bytes, fin: bool = True) -> None:
    connection.transport.write(Frame(opcode, data, fin).serialize(mask=True))


async def _close_code(connection: ClientConnection) -> int | None:
    with pytest.raises(ConnectionClosed):
        async with asyncio.timeout(30):
            while True:
                await connection.recv()
    return connection.close_code


async def test_a_message_may_come_in_fragments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Borders may lie inside of a character, and pings between the fragments."""
    monkeypatch.setattr(websocket, "FRAMES_PER_S", 100_000)
    async with running() as server, _connected(server) as connection:
        for position in range(1, len(PING)):
            _send(connection, Opcode.TEXT, PING[:position], fin=False)
            _send(connection, Opcode.PING, b"now")
            _send(connection, Opcode.CONT, b"", fin=False)
            _send(connection, Opcode.CONT, PING[position:])
            assert json.loads(await connection.recv())["t"] == "é"


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([(Opcode.TEXT, b"\xff", True)], 1007),
        ([(Opcode.TEXT, "é".encode()[:1], False), (Opcode.CONT, b"", True)], 1007),
        ([(Opcode.TEXT, b"x" * 300_000, True)], 1009),
        ([(Opcode.TEXT, b"x" * 200_000, False), (Opcode.CONT, b"x" * 200_000, True)], 1009),
        ([(Opcode.CONT, b"x", True)], 1002),
        ([(Opcode.TEXT, b"x", False), (Opcode.TEXT, b"x", True)], 1002),
        ([(Opcode.CLOSE, b"\x03\xe8bye", True)], 1000),
        ([(Opcode.CLOSE, b"", True)], 1005),
    ],
)
async def test_what_breaks_the_protocol_closes_with_its_code(
    frames: list[tuple[Opcode, bytes, bool]], code: int
) -> None:
    """Text that is no UTF-8, messages too large in bytes or frames, frames out of order, and a client's close."""
    async with running() as server, _connected(server) as connection:
        for opcode, data, fin in frames:
            _send(connection, opcode, data, fin)
        assert await _close_code(connection) == code
        await eventually(lambda: not server.server.num_connections)


@pytest.mark.parametrize("keys", [(), ("secret",)], ids=["let in", "before auth"])
@pytest.mark.parametrize(
    "frames",
    [
        [(Opcode.PING, b"0123456789", True)],
        [(Opcode.PONG, b"", True)],
        [(Opcode.BINARY, b"", True)],
        [(Opcode.TEXT, b"", True)],
        [(Opcode.TEXT, b"", False), *[(Opcode.CONT, b"", False)] * 90, (Opcode.CONT, b"", True)],
        [(Opcode.TEXT, b" ", False), *[(Opcode.CONT, b" ", False)] * 90, (Opcode.CONT, b" ", True)],
        [(Opcode.PING, b"", True), (Opcode.TEXT, PING, True), (Opcode.PONG, b"", True)],
    ],
    ids=[
        "pings",
        "pongs",
        "empty messages",
        "empty texts",
        "empty fragments",
        "fragments",
        "between messages",
    ],
)
async def test_frames_that_cost_nothing_are_counted(
    frames: list[tuple[Opcode, bytes, bool]],
    keys: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A flood of control frames, fragments or empty messages is read in pauses and ends in 1008, with few answers."""
    monkeypatch.setattr(websocket, "FRAMES_PER_S", 1000)
    monkeypatch.setattr(websocket, "PING_TIMEOUT_S", 60.0)
    options = {}
    if keys:
        (tmp_path / "keys").write_text("\n".join(keys))
        options = {"api_keys_file": tmp_path / "keys"}
    async with (
        running(configured(server=options)) as server,
        _connected(server, ping_interval=None) as client,
    ):
        num_frames, num_taken = 20_000, 0
        take = websocket.WebSocket._take

        def count(self: websocket.WebSocket, taken: Sequence[object]) -> int:
            nonlocal num_taken
            num_taken += len(taken) if self._is_taking else 0
            return take(self, taken)

        monkeypatch.setattr(websocket.WebSocket, "_take", count)
        data = b"".join(Frame(*frame).serialize(mask=True) for frame in frames)
        client.transport.write(data * (num_frames // len(frames)))
        assert await _close_code(client) in (1008, 4401)
        await eventually(lambda: not server.server.num_connections)
        assert num_taken < num_frames / 10


async def test_compression_is_not_agreed_on() -> None:
    """The offer is passed over, and a frame that is compressed all the same breaks the protocol."""
    async with running() as server, connect(server.address, proxy=None, compression="deflate") as client:
        assert client.response is not None and "Sec-WebSocket-Extensions" not in client.response.headers
        await client.recv()
        client.transport.write(b"\xc1\x81" + bytes(4) + b"x")
        assert await _close_code(client) == 1002


async def test_a_burst_of_control_frames_is_answered() -> None:
    """As many pings at once as a lively client sends are all answered, and the session continues."""
    async with running() as server, _connected(server) as client:
        pongs = [await client.ping(str(number)) for number in range(30)]
        async with asyncio.timeout(30):
            await asyncio.gather(*pongs)
        await client.send(PING.decode())
        assert json.loads(await client.recv())["type"] == "pong"


@pytest.mark.parametrize(
    "begun",
    [
        Frame(Opcode.TEXT, b"{", False).serialize(mask=True),
        Frame(Opcode.TEXT, b"", False).serialize(mask=True),
        Frame(Opcode.TEXT, PING).serialize(mask=True)[:1],
        Frame(Opcode.TEXT, PING).serialize(mask=True)[:6],
        Frame(Opcode.TEXT, PING).serialize(mask=True)[:-1],
        Frame(Opcode.PING, b"12").serialize(mask=True)[:-1],
        Frame(Opcode.TEXT, b"{" * 70_000).serialize(mask=True)[:13],
    ],
    ids=[
        "fragment",
        "empty fragment",
        "a byte",
        "a head",
        "all but a byte",
        "half a ping",
        "a long one's head",
    ],
)
async def test_a_message_that_does_not_end_closes_the_connection(
    begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has begun must come in time, whether nothing more comes or other frames do, a byte at a time."""
    monkeypatch.setattr(message_reader, "MESSAGE_TIMEOUT_S", 0.2)
    async with running() as server, _connected(server, ping_interval=None) as client:
        client.transport.write(begun)
        assert await _close_code(client) == 1008
    async with running() as server, _connected(server, ping_interval=None) as client:
        drip = asyncio.create_task(_drip(client, Frame(Opcode.TEXT, b"{" * 1000).serialize(mask=True)))
        assert await _close_code(client) == 1008
        drip.cancel()


async def _drip(client: ClientConnection, data: bytes) -> None:
    for position in range(len(data)):
        client.transport.write(data[position : position + 1])
        await asyncio.sleep(0.02)


async def test_messages_that_end_in_time_may_come_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each message has the time to itself, and the time in which the server does not read does not count."""
    monkeypatch.setattr(message_reader, "MESSAGE_TIMEOUT_S", 0.3)
    frame = Frame(Opcode.TEXT, PING).serialize(mask=True)
    async with running() as server, _connected(server) as client:
        for _ in range(6):
            client.transport.write(frame[:9])
            await asyncio.sleep(0.1)
            client.transport.write(frame[9:])
            assert json.loads(await client.recv())["type"] == "pong"


@pytest.mark.parametrize("num_bytes", [1, 2, 6, 9, 20])
@pytest.mark.parametrize("opcode", [Opcode.TEXT, Opcode.PING], ids=["message", "ping"])
async def test_packets_may_end_in_mid_frame_for_long(
    opcode: Opcode, num_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of a message begins with it, also if the packet that ends one holds the first bytes of the next."""
    monkeypatch.setattr(message_reader, "MESSAGE_TIMEOUT_S", 0.3)
    frame = Frame(opcode, PING).serialize(mask=True)
    async with running() as server, _connected(server) as client:
        client.transport.write(frame[:num_bytes])
        for _ in range(6):
            await asyncio.sleep(0.1)
            client.transport.write(frame[num_bytes:] + frame[:num_bytes])
            if opcode is Opcode.TEXT:
                assert json.loads(await client.recv())["type"] == "pong"
        client.transport.write(frame[num_bytes:])
        _send(client, Opcode.TEXT, b'{"type": "ping", "t": "last"}')
        while json.loads(await client.recv()).get("t") != "last":
            pass


async def test_control_frames_give_a_message_no_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message in fragments must end in time, whatever whole frames come between them."""
    monkeypatch.setattr(message_reader, "MESSAGE_TIMEOUT_S", 0.2)
    monkeypatch.setattr(websocket, "FRAMES_PER_S", 100_000)
    async with running() as server, _connected(server, ping_interval=None) as client:

        async def ping() -> None:
            while True:
                _send(client, Opcode.PING, b"now")
                await asyncio.sleep(0.02)

        _send(client, Opcode.TEXT, PING[:5], fin=False)
        pinging = asyncio.create_task(ping())
        assert await _close_code(client) == 1008
        pinging.cancel()


async def test_many_messages_in_one_packet_are_all_heard() -> None:
    """Reading stops while as many wait as may, and none is lost."""
    async with running() as server, _connected(server) as connection:
        for number in range(100):
            _send(connection, Opcode.TEXT, json.dumps({"type": "ping", "t": number}).encode())
        assert [json.loads(await connection.recv())["t"] for _ in range(100)] == list(range(100))


async def test_messages_sent_with_the_handshake_are_heard() -> None:
    """A client need not wait for the answer to its handshake."""
    async with running() as server, server.line() as (reader, writer):
        fields = (
            "Host: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        )
        request = f"GET /v1/stream HTTP/1.1\r\n{fields}\r\n".encode()
        writer.write(request + Frame(Opcode.TEXT, PING).serialize(mask=True))
        assert b"101 Switching" in await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b'"pong"')


async def test_a_client_that_answers_no_ping_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told so with 1011, and the connection ends even if nothing is read any more."""
    monkeypatch.setattr(websocket, "PING_TIMEOUT_S", 0.2)
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT_S", 0.2)
    async with running(configured(ping_interval_s=0.1)) as server, server.line() as (reader, writer):
        fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nHost: test\r\n"
        key = "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        writer.write(f"GET /v1/stream HTTP/1.1\r\n{fields}{key}\r\n".encode())
        assert (await reader.read()).endswith(
            Frame(Opcode.CLOSE, Close(1011, "keepalive ping timeout").serialize()).serialize(mask=False)
        )
        await eventually(lambda: not server.server.num_connections)


class _EagerConnection:
    """The part of `Connection` that a WebSocket reads from: there is always one more message."""

    is_congested = False

    def __init__(self) -> None:
        self.num_reads = 0
        self.transport = SimpleNamespace(is_closing=lambda: False)
        self.ended, self.lost = LightEvent(), LightEvent()
        self.when_ended = lambda: None

    async def read(self) -> bytes:
        await asyncio.sleep(0)
        self.num_reads += 1
        return Frame(Opcode.TEXT, b"%d" % self.num_reads).serialize(mask=True)

    def write(self, data: bytes) -> None:
        """Take it."""

    def write_eof(self) -> None:
        """Take it."""

    def abort(self) -> None:
        """End."""


async def test_no_more_is_read_than_a_session_takes() -> None:
    """Messages wait in a short line, in which none is lost, and then on the client's side."""
    eager = _EagerConnection()
    received: list[str | bytes] = []

    async def take() -> None:
        for num_taken in range(20):
            for _ in range(100):
                await asyncio.sleep(0)
            assert eager.num_reads == num_taken + websocket.MAX_MESSAGES
            received.append(await socket.recv())
        serving.cancel()

    socket = websocket.WebSocket(eager, b"", max_size=1000, ping_interval_s=60.0)  # type: ignore[arg-type]
    serving = asyncio.create_task(socket.serve(take()))
    await asyncio.wait([serving], timeout=5)
    assert serving.cancelled() and received == [str(number) for number in range(1, 21)]


async def test_a_client_that_answers_pings_stays() -> None:
    """The answer to one ping lets the next be sent, and the session continues."""
    async with running(configured(ping_interval_s=0.01)) as server, _connected(server) as connection:
        opcodes, take_frame = [], connection.protocol.recv_frame

        def note(frame: Frame) -> None:
            opcodes.append(frame.opcode)
            take_frame(frame)

        connection.protocol.recv_frame = note  # type: ignore[method-assign]
        await eventually(lambda: opcodes.count(Opcode.PING) > 5)
        await connection.send(PING.decode())
        assert json.loads(await connection.recv())["type"] == "pong"


async def test_a_client_that_does_not_answer_the_close_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that ends does not wait for it for long."""
    monkeypatch.setattr(websocket, "CLOSE_TIMEOUT_S", 0.1)
    async with running(configured(session_timeout_s=0.2)) as server, _connected(server) as connection:
        connection.transport.pause_reading()
        await eventually(lambda: not server.server.num_connections)
        connection.transport.abort()


async def test_a_bug_in_a_session_closes_it_with_1011(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client is told, and the server serves others."""

    async def broken(_session: object) -> None:
        raise RuntimeError("a bug")

    async with running(may_log_failures=True) as server:
        with monkeypatch.context() as patch:
            patch.setattr("streamer.server.session.Session.run", broken)
            async with connect(server.address, proxy=None) as connection:
                assert await _close_code(connection) == 1011
        async with _connected(server):
            pass


@pytest.mark.parametrize("num_unread", [0, 7, 8, 9, 100])
@pytest.mark.parametrize("is_polite", [True, False])
async def test_messages_that_nobody_takes_keep_no_connection(
    num_unread: int, is_polite: bool, tmp_path: Path
) -> None:
    """A client that writes on behind what ends its session goes as any other, with or without a word."""
    keys = tmp_path / "keys"
    keys.write_text("secret\n")
    config = configured(server={"api_keys_file": keys}, max_bytes_per_s=1_000_000)
    async with running(config) as server, _connected(server) as connection:
        for _ in range(num_unread + 1):  # the first one should have been `auth`
            _send(connection, Opcode.TEXT, PING)
        if is_polite:
            assert await _close_code(connection) == 4401
        else:
            connection.transport.abort()
        await eventually(lambda: not server.server.num_connections)
