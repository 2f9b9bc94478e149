"""A running server with a fake synthesizer, and a client written from the protocol's description alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from streamer.config import Config, LimitsConfig, ServerConfig, SpeechConfig
from streamer.errors import EngineError
from streamer.server.app import Server
from streamer.synthesis import Synthesizer
from streamer.telemetry.traces import NO_TRACER, Tracer
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.invariants import watched


@dataclass(frozen=True)
class Frame:
    """One audio frame, taken apart with nothing of the server's code."""

    version: int
    flags: int
    stream: int
    sequence: int
    timestamp: int
    payload: bytes

    @classmethod
    def parse(cls, data: bytes) -> Frame:
        version, flags, stream, sequence, timestamp = struct.unpack("!BBHIi", data[:12])
        return cls(version, flags, stream, sequence, timestamp, data[12:])


Item = dict[str, Any] | Frame


class Client:
    """Sends messages and sorts what comes back."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.received: list[Item] = []

    async def say(self, kind: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def next(self) -> Item:
        async with asyncio.timeout(10):
            data = await self.connection.recv()
        item = json.loads(data) if isinstance(data, str) else Frame.parse(data)
        self.received.append(item)
        return item

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Read on to the next message of this type with these fields."""
        while True:
            item = await self.next()
            if isinstance(item, dict) and item["type"] == kind and fields.items() <= item.items():
                return item

    async def answer(self) -> dict[str, Any]:
        """The next message, sound left out."""
        while isinstance(item := await self.next(), Frame):
            pass
        return item

    async def pong(self) -> list[dict[str, Any]]:
        """All messages that came before the answer to a ping sent now: everything said before was handled."""
        await self.say("ping", t="sync")
        before = len(self.received)
        await self.until("pong", t="sync")
        return [item for item in self.received[before:-1] if isinstance(item, dict)]

    def frames(self, stream: int | None = None) -> list[Frame]:
        frames = [item for item in self.received if isinstance(item, Frame)]
        return [frame for frame in frames if stream is None or frame.stream == stream]

    def messages(self, kind: str) -> list[dict[str, Any]]:
        return [item for item in self.received if isinstance(item, dict) and item["type"] == kind]


@dataclass
class Running:
    """The server under test."""

    server: Server
    synthesizer: FakeSynthesizer
    failures: list[EngineError]

    @property
    def address(self) -> str:
        return f"ws://127.0.0.1:{self.server.port}/v1/stream"

    @contextlib.asynccontextmanager
    async def client(self, query: str = "", **options: Any) -> AsyncIterator[Client]:
        async with connect(self.address + query, proxy=None, compression=None, **options) as connection:
            client = Client(connection)
            session = await client.next()
            assert isinstance(session, dict) and session["type"] == "session"
            yield client

    async def http(self, request: bytes) -> tuple[int, bytes, bytes]:
        """Send raw bytes, and return status, head and body of the answer; status 0 if there was none."""
        async with self.line() as (reader, writer):
            writer.write(request)
            return await read_answer(reader, has_body=not request.startswith(b"HEAD"))

    async def get(self, path: str, host: str = "test") -> tuple[int, bytes, bytes]:
        return await self.http(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    def line(self) -> AbstractAsyncContextManager[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A bare connection to the server."""
        return line(self.server.port)


@contextlib.asynccontextmanager
async def line(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A bare connection to a port of this machine."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def read_answer(
    reader: asyncio.StreamReader, *, has_body: bool = True, timeout_s: float = 30.0
) -> tuple[int, bytes, bytes]:
    """Read one HTTP answer, by RFC 9112 alone, and return status, head and body; status 0 if there was none.

    The trailers of a chunked body are the last fields of the head. Raises `asyncio.IncompleteReadError` if the body
    ends too early.
    """
    async with asyncio.timeout(timeout_s):
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            assert not error.partial
            return 0, b"", b""
        fields = dict(line.lower().split(b": ", 1) for line in head.strip().split(b"\r\n")[1:])
        status, body = int(head.split(b" ")[1]), b""
        if not has_body or status in (100, 204):
            pass
        elif b"content-length" in fields:
            body = await reader.readexactly(int(fields[b"content-length"]))
        elif fields.get(b"transfer-encoding") == b"chunked":
            while size := int(await reader.readuntil(b"\r\n"), 16):
                body += await reader.readexactly(size)
                assert await reader.readexactly(2) == b"\r\n"
            while (trailer := await reader.readuntil(b"\r\n")) != b"\r\n":
                head = head[:-2] + trailer + b"\r\n"
        else:
            body = await reader.read()
        return status, head, body


def configured(
    *, server: dict[str, Any] | None = None, speech: dict[str, Any] | None = None, **limits: Any
) -> Config:
    """The defaults with changes, on a free port, with a short drain; the hosts of the tests' requests are known."""
    origins = (*(server or {}).get("allowed_origins", ()), *(f"http://{host}" for host in ("test", "t", "a")))
    return replace(
        Config(),
        server=ServerConfig(**{"port": 0} | (server or {}) | {"allowed_origins": origins}),
        speech=SpeechConfig(**speech or {}),
        limits=LimitsConfig(**{"drain_timeout_s": 0.2, "max_starts_per_s": 1000} | limits),
    )


@contextlib.asynccontextmanager
async def running(
    config: Config | None = None,
    synthesizer: FakeSynthesizer | None = None,
    *,
    tracer: Tracer = NO_TRACER,
    may_log_failures: bool = False,
) -> AsyncIterator[Running]:
    """A server over a fake synthesizer, in which nothing may be left open afterwards; see `serving`."""
    synthesizer = synthesizer or FakeSynthesizer()
    failures: list[EngineError] = []
    options = {"tracer": tracer, "may_log_failures": may_log_failures}
    async with serving(synthesizer, config, failures, **options) as server:
        yield Running(server, synthesizer, failures)
    assert synthesizer.num_open == 0
    assert synthesizer.is_closed


@contextlib.asynccontextmanager
async def serving(
    synthesizer: Synthesizer,
    config: Config | None = None,
    failures: list[EngineError] | None = None,
    *,
    tracer: Tracer = NO_TRACER,
    may_log_failures: bool = False,
    may_have_clients: bool = False,
) -> AsyncIterator[Server]:
    """A server over any synthesizer that listens; afterwards the invariants of every test are checked.

    What the engine fails of is appended to `failures`; without that list it is the test's failure. `may_log_failures`
    says that the test provokes what is logged with a traceback, and `may_have_clients` that clients are there still at
    the end of the block.
    """
    server = Server(config or configured(), synthesizer, tracer)

    async def serve() -> None:
        try:
            await server.run_until_stopped()
        except EngineError as error:
            if failures is None:
                raise
            failures.append(error)

    options = {"may_log_failures": may_log_failures, "may_have_clients": may_have_clients}
    async with watched(server, **options) as invariants:
        await server.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(serve())
            await asyncio.sleep(0)  # a task that was cancelled before it began would not close the server
            try:
                yield server
                await invariants.check_idle()
            finally:
                server.stop()
                server.stop()


@contextlib.asynccontextmanager
async def connected(server: Server, query: str = "", **options: Any) -> AsyncIterator[Client]:
    url = f"ws://127.0.0.1:{server.port}/v1/stream{query}"
    async with connect(url, proxy=None, compression=None, **options) as connection:
        yield Client(connection)


def figure(server: Server, name: str, **labels: str) -> float | None:
    """Return the value that `/metrics` shows; None if there is no such series."""
    return server.metrics.registry.get_sample_value(name, labels)


async def eventually(condition: Any) -> None:
    """Wait until the condition holds; fails after some seconds."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
