"""A client of the realtime APIs, written from their descriptions alone."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.server.speaking import Running

REALTIME = "/v1/realtime?model=gpt-realtime"
TEXT_BUFFER = "/v1/audio/speech/websocket?model=hexgrad/Kokoro-82M"


class Client:
    """Sends events and sorts what comes back."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.received: list[dict[str, Any]] = []

    async def say(self, kind: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"type": kind, **fields}))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            event: dict[str, Any] = json.loads(await self.connection.recv())
        self.received.append(event)
        return event

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Read on to the next event of this type with these fields."""
        while True:
            event = await self.next()
            if event["type"] == kind and fields.items() <= event.items():
                return event

    async def rest(self) -> list[dict[str, Any]]:
        """Read to the end of the connection."""
        before = len(self.received)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.next()
        return self.received[before:]

    @property
    def types(self) -> list[str]:
        """The types of what has come, deltas in a row counted once."""
        types = [event["type"] for event in self.received]
        return [
            kind for index, kind in enumerate(types) if not kind.endswith("delta") or types[index - 1] != kind
        ]

    def sound(self, **fields: Any) -> bytes:
        return b"".join(
            base64.b64decode(event["delta"])
            for event in self.received
            if event["type"].endswith("audio.delta") or event["type"].endswith("audio_output.delta")
            if fields.items() <= event.items()
        )


@contextlib.asynccontextmanager
async def connected(speaking: Running, path: str = REALTIME, **options: Any) -> AsyncIterator[Client]:
    """A client that was greeted."""
    address = f"ws://127.0.0.1:{speaking.server.port}{path}"
    async with connect(address, proxy=None, compression=None, **options) as connection:
        client = Client(connection)
        await client.next()
        yield client


def message(text: str, role: str = "user", **fields: Any) -> dict[str, Any]:
    """An item of a conversation."""
    kind = "input_text" if role != "assistant" else "output_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}], **fields}


async def speak(client: Client, text: str, **fields: Any) -> dict[str, Any]:
    """Have a text spoken as Open WebUI does; returns the response at its end."""
    await client.say("response.create", response={"conversation": "none", "input": [message(text)], **fields})
    response: dict[str, Any] = (await client.until("response.done"))["response"]
    return response
