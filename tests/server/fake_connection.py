"""A client's connection without a socket: frames go in by hand, and what the server sent can be read."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedOK

from streamer.config import Config
from streamer.server.admission import Admission
from streamer.server.client_protocol import ClientProtocol, CreateProtocol
from streamer.server.key_entries import plain_key
from streamer.server.keys import ApiKeys
from streamer.server.service import Service
from streamer.server.session import Session
from streamer.server.upgrade import Upgrade
from streamer.telemetry.metrics import Metrics
from tests.fakes.synthesizer import FakeSynthesizer


class FakeConnection:
    """Implements `streamer.server.client_connection.ClientConnection`."""

    def __init__(self) -> None:
        self.sent: list[str | bytes] = []
        self.close_code: int | None = None
        self.close_reason = ""
        self._incoming: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._has_sent = asyncio.Event()
        self._is_closed = asyncio.Event()

    @property
    def transport(self) -> asyncio.Transport:
        raise AssertionError("nobody is slow here")

    def say(self, frame: str | bytes) -> None:
        """The client sends a frame."""
        self._incoming.put_nowait(frame)

    def hang_up(self) -> None:
        """The client is gone."""
        self._incoming.put_nowait(None)

    async def until_sent(self, frame: str | bytes) -> None:
        """Return when the server has sent this frame; the connection must not close before."""
        async with asyncio.timeout(30):
            while frame not in self.sent:
                self._has_sent.clear()
                await self._has_sent.wait()

    async def until_closed(self) -> None:
        """Return when the server has closed the connection."""
        async with asyncio.timeout(30):
            await self._is_closed.wait()

    async def recv(self) -> str | bytes:
        frame = await self._incoming.get()
        if frame is None:
            raise ConnectionClosedOK(None, None)
        return frame

    async def rest(self, pause_s: float) -> None:
        await asyncio.sleep(pause_s)

    def try_send_all(self, messages: Sequence[str | bytes]) -> bool:
        self.sent += messages
        self._has_sent.set()
        return True

    async def send_all(self, messages: Sequence[str | bytes]) -> None:
        self.try_send_all(messages)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.close_code, self.close_reason = code, reason
        self._is_closed.set()


@contextlib.asynccontextmanager
async def session(
    create_protocol: CreateProtocol,
    config: Config | None = None,
    synthesizer: FakeSynthesizer | None = None,
    *,
    query: str = "",
    keys: tuple[str, ...] = (),
) -> AsyncIterator[tuple[Session, FakeConnection, ClientProtocol]]:
    """Run a session until the end of the block, at which the client hangs up; then nothing of its may be held."""
    config, synthesizer = config or Config(), synthesizer or FakeSynthesizer()
    service = Service(
        config, synthesizer, Admission(config.limits), ApiKeys([plain_key(key) for key in keys]), Metrics()
    )
    upgrade = Upgrade("/v1/stream", query, Headers(), "test", None)
    protocol = create_protocol(upgrade, service)
    connection = FakeConnection()
    running = Session(connection, service, upgrade, protocol)
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(running.run())
        yield running, connection, protocol
        connection.hang_up()
    assert synthesizer.num_open == 0
    assert not service.admission.queue.num_waiting
    assert not any(quota.num_open or quota.num_waiting for quota in service.admission._quotas.values())
