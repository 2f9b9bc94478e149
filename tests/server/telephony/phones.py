"""A telephone as Twilio or Telnyx connects it, and a program that drives its call, by their descriptions alone."""

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


class Phone:
    """One end of a media stream, or of a program's connection: sends events and sorts what comes back."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.received: list[dict[str, Any]] = []

    async def say(self, event: str, **fields: Any) -> None:
        await self.connection.send(json.dumps({"event": event, **fields}))

    async def next(self) -> dict[str, Any]:
        async with asyncio.timeout(10):
            message: dict[str, Any] = json.loads(await self.connection.recv())
        self.received.append(message)
        return message

    async def until(self, event: str, **fields: Any) -> dict[str, Any]:
        """Read on to the next message of this event with these fields."""
        while True:
            message = await self.next()
            if message["event"] == event and fields.items() <= message.items():
                return message

    async def until_mark(self, name: str) -> None:
        await self.until("mark", mark={"name": name})

    async def rest(self) -> list[dict[str, Any]]:
        """Read to the end of the connection."""
        before = len(self.received)
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.next()
        return self.received[before:]

    @property
    def events(self) -> list[str]:
        """What has come, pieces of sound in a row counted once."""
        names = [message["event"] for message in self.received]
        return [
            name
            for index, name in enumerate(names)
            if name != "media" or not index or names[index - 1] != name
        ]

    @property
    def sound(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def pieces(self) -> list[bytes]:
        return [
            base64.b64decode(message["media"]["payload"])
            for message in self.received
            if message["event"] == "media"
        ]


def twilio_start(sid: str = "MZ1", call_sid: str = "CA1", **parameters: str) -> dict[str, Any]:
    start = {
        "accountSid": "AC1",
        "streamSid": sid,
        "callSid": call_sid,
        "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        "customParameters": parameters,
    }
    return {"sequenceNumber": "1", "streamSid": sid, "start": start}


def telnyx_start(sid: str = "32DE", encoding: str = "PCMU", **parameters: str) -> dict[str, Any]:
    start = {
        "user_id": "3E6F",
        "call_control_id": "v2:T02",
        "media_format": {"encoding": encoding, "sample_rate": 8000, "channels": 1},
        "custom_parameters": parameters,
    }
    return {"sequence_number": "1", "stream_id": sid, "start": start}


@contextlib.asynccontextmanager
async def ringing(speaking: Running, **options: Any) -> AsyncIterator[Phone]:
    """A media stream before its `start`."""
    address = f"ws://127.0.0.1:{speaking.server.port}/v1/telephony"
    async with connect(address, proxy=None, compression=None, **options) as connection:
        phone = Phone(connection)
        await phone.say("connected", protocol="Call", version="1.0.0")
        yield phone


@contextlib.asynccontextmanager
async def calling(
    speaking: Running, start: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[Phone]:
    """A media stream that has started."""
    async with ringing(speaking, **options) as phone:
        await phone.say("start", **(start or twilio_start()))
        yield phone


@contextlib.asynccontextmanager
async def driving(speaking: Running, sid: str = "MZ1", **options: Any) -> AsyncIterator[Phone]:
    """A program that drives a call."""
    address = f"ws://127.0.0.1:{speaking.server.port}/v1/telephony/calls/{sid}"
    async with connect(address, proxy=None, compression=None, **options) as connection:
        yield Phone(connection)
