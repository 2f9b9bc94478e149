"""A player of WHEP, by its draft alone, with `aiortc` as its WebRTC; it keeps the packets as they arrive."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.rtp import RtpPacket

from tests.server.speaking import Running, read_answer


class Player:
    """Plays one session. `packets` have come, in order; `received` are the messages of the data channel."""

    def __init__(self, speaking: Running, *, has_channel: bool) -> None:
        self.packets: list[RtpPacket] = []
        self.received: list[dict[str, Any]] = []
        self.location = ""
        self._speaking = speaking
        self._arrived = asyncio.Event()
        self._num_read = 0
        self.peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        receiver = self.peer.addTransceiver("audio", "recvonly").receiver
        receiver._handle_rtp_packet = self._keep
        self._channel = self.peer.createDataChannel("streamer.v1") if has_channel else None
        if self._channel is not None:
            self._channel.on("message", self._hear)

    async def offer(self) -> str:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        return str(self.peer.localDescription.sdp)

    async def connect(self, **headers: str) -> None:
        """Begin the session, and return when it is connected."""
        status, head, body = await request(self._speaking, "POST", "/v1/whep", await self.offer(), **headers)
        assert status == 201, body
        fields = dict(line.split(": ", 1) for line in head.decode().strip().split("\r\n")[1:])
        assert fields["Content-Type"] == "application/sdp"
        self.location = fields["Location"]
        await self.peer.setRemoteDescription(RTCSessionDescription(body.decode(), "answer"))
        if self._channel is not None:
            await self.until("session")

    async def say(self, kind: str, **fields: Any) -> None:
        """Send a message over the data channel."""
        assert self._channel is not None
        self._channel.send(json.dumps({"type": kind, **fields}))

    async def post(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """Send a message over HTTP, and return the answer's messages."""
        message = json.dumps({"type": kind, **fields})
        status, _, body = await request(self._speaking, "POST", self.location, message)
        assert status == 200, body
        return [json.loads(line) for line in body.splitlines()]

    async def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Return the next message of this type with these fields that the data channel brings."""
        async with asyncio.timeout(10):
            while True:
                while self._num_read < len(self.received):
                    message = self.received[self._num_read]
                    self._num_read += 1
                    if message["type"] == kind and fields.items() <= message.items():
                        return message
                await self._next()

    async def until_packets(self, number: int) -> None:
        async with asyncio.timeout(10):
            while len(self.packets) < number:
                await self._next()

    async def _next(self) -> None:
        self._arrived.clear()
        await self._arrived.wait()

    async def _keep(self, packet: RtpPacket, arrival_time_ms: int) -> None:  # noqa: ARG002
        self.packets.append(packet)
        self._arrived.set()

    def _hear(self, message: str) -> None:
        self.received.append(json.loads(message))
        self._arrived.set()


@contextlib.asynccontextmanager
async def playing(speaking: Running, *, has_channel: bool = True, **headers: str) -> AsyncIterator[Player]:
    """A player that is connected; at the end it goes away."""
    player = Player(speaking, has_channel=has_channel)
    try:
        await player.connect(**headers)
        yield player
    finally:
        await player.peer.close()


async def request(
    speaking: Running,
    method: str,
    path: str,
    body: str | bytes = "",
    content_type: str = "application/sdp",
    **headers: str,
) -> tuple[int, bytes, bytes]:
    """Send one request, and return status, head and body of the answer."""
    data = body.encode() if isinstance(body, str) else body
    fields = {"Host": "test", "Content-Type": content_type, "Content-Length": str(len(data)), **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    async with speaking.line() as (reader, writer):
        writer.write("\r\n".join(lines).encode() + data)
        return await read_answer(reader)
