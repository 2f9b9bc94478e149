"""A client of Cartesia's protocol, written from its description alone."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.server.speaking import Running

Message = dict[str, Any]
RAW = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000}
NEW, OLD = "2026-03-01", "2025-04-16"
"""Versions of the API, before and after errors became objects."""


class CartesiaClient:
    """Sends messages and keeps what comes back."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.received: list[Message] = []

    async def say(self, transcript: str = "", context_id: str = "c", **fields: Any) -> None:
        """Send a generation request."""
        basis = {"model_id": "sonic-3", "voice": {"mode": "id", "id": "tone"}, "output_format": RAW}
        fields = {"continue": False} | fields
        await self.send(**basis | {"transcript": transcript, "context_id": context_id} | fields)

    async def send(self, **message: Any) -> None:
        await self.connection.send(json.dumps(message))

    async def next(self) -> Message:
        async with asyncio.timeout(10):
            message: Message = json.loads(await self.connection.recv())
        assert isinstance(message["context_id"], str) and isinstance(message["done"], bool)
        assert message["done"] == (message["type"] in ("done", "error"))
        self.received.append(message)
        return message

    async def until(self, *kinds: str, context_id: str | None = None) -> Message:
        """Read on to the next message of one of these types, of this context if one is given."""
        while True:
            message = await self.next()
            if message["type"] in kinds and context_id in (None, message["context_id"]):
                return message

    def of(self, context_id: str = "c", *kinds: str) -> list[Message]:
        """All messages of a context, of these types if any are given."""
        found = [message for message in self.received if message["context_id"] == context_id]
        return [message for message in found if not kinds or message["type"] in kinds]

    def sound(self, context_id: str = "c", flush_id: int | None = None) -> bytes:
        chunks = self.of(context_id, "chunk")
        return b"".join(
            base64.b64decode(chunk["data"]) for chunk in chunks if flush_id in (None, chunk["flush_id"])
        )


@contextlib.asynccontextmanager
async def connected(server: Running, query: str = "", **options: Any) -> AsyncIterator[CartesiaClient]:
    address = f"ws://127.0.0.1:{server.server.port}/tts/websocket?{query}"
    async with connect(address, proxy=None, compression=None, **options) as connection:
        yield CartesiaClient(connection)
