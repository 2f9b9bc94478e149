"""A client of Deepgram's protocol, written from its description alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.server.speaking import Running

Item = dict[str, Any] | bytes


class DeepgramClient:
    """Sends messages and keeps what comes back."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.received: list[Item] = []

    async def say(self, kind: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def speak(self, *texts: str) -> None:
        for text in texts:
            await self.say("Speak", text=text)

    async def next(self) -> Item:
        async with asyncio.timeout(10):
            data = await self.connection.recv()
        self.received.append(json.loads(data) if isinstance(data, str) else data)
        return self.received[-1]

    async def until(self, *kinds: str) -> dict[str, Any]:
        """Read on to the next message of one of these types."""
        while isinstance(item := await self.next(), bytes) or item["type"] not in kinds:
            pass
        return item

    async def turn(self, *texts: str) -> bytes:
        """Have texts spoken; returns the sound up to `Flushed`."""
        await self.speak(*texts)
        await self.say("Flush")
        begin = len(self.received)
        await self.until("Flushed")
        return self.sound(begin)

    def sound(self, begin: int = 0) -> bytes:
        return b"".join(item for item in self.received[begin:] if isinstance(item, bytes))

    def messages(self, kind: str | None = None) -> list[dict[str, Any]]:
        messages = [item for item in self.received if isinstance(item, dict)]
        return [message for message in messages if kind is None or message["type"] == kind]


@contextlib.asynccontextmanager
async def connected(server: Running, query: str = "", **options: Any) -> AsyncIterator[DeepgramClient]:
    """A client behind its `Metadata`."""
    address = f"ws://127.0.0.1:{server.server.port}/v1/speak?{query}"
    async with connect(address, proxy=None, compression=None, **options) as connection:
        client = DeepgramClient(connection)
        await client.until("Metadata")
        yield client
