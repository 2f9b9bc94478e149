"""A WebRTC connection to one client: Opus packets leave on a track as they are, and messages on a data channel.

`aiortc` does ICE, DTLS, SRTP and SCTP. It does not encode what is encoded: a track whose `recv` returns an `av.Packet`
is only packed (`aiortc/rtcrtpsender.py`, and `pack` of `codecs/opus.py`).
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, Final

from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCSessionDescription,
)
from aiortc.rtcrtpsender import RTCRtpSender
from av.packet import Packet
from websockets.exceptions import ConnectionClosedOK

from streamer.audio.opus import packet_duration
from streamer.audio.packets import TIMESTAMP_HZ
from streamer.errors import InvalidMessageError, InvalidParameterError
from streamer.server.flow_control import size_bytes
from streamer.server.light_event import LightEvent
from streamer.server.session import MESSAGE_COST_BYTES

logger = logging.getLogger(__name__)
CONNECT_TIMEOUT_S: Final = 15.0
"""How long a client may take to connect after its offer was answered."""
MAX_WAITING_BYTES: Final = 1_048_576
"""Bytes of messages that wait, to be read here or to be taken by the client, before the connection is given up."""
MAX_KEPT: Final = 256
"""Messages that are kept for a client without a data channel."""
MAX_PACKETS: Final = 64
"""Packets that wait to be sent. They are paced before they come here, so that in a working connection none does."""
MAX_MEDIA, MAX_CANDIDATES = 4, 64
_HIDDEN_CANDIDATE: Final = re.compile(r"^a=(candidate:(\S+ ){4}\S+\.local .*|end-of-candidates)\r?\n", re.M)
"""Addresses that browsers hide behind names of mDNS. They are not resolved, because that takes a port and multicast:
the browser finds the server, and its address shows then. That is why no offer is taken to name all candidates."""


class PacketTrack(MediaStreamTrack):
    """A track of encoded packets. Its timestamps follow the clock through pauses, in which nothing is sent."""

    kind = "audio"

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now_s = now_s
        self._begun_s = now_s()
        self._next_timestamp = 0  # in samples at 48 kHz (RFC 7587, section 4.1)
        self._packets: asyncio.Queue[Packet[Any]] = asyncio.Queue(MAX_PACKETS)

    def put(self, payload: bytes) -> None:
        """Send a packet now; if too many wait, the oldest is dropped."""
        if self._packets.full():
            self._packets.get_nowait()
        packet = Packet(payload)
        packet.pts = max(self._next_timestamp, round((self._now_s() - self._begun_s) * TIMESTAMP_HZ))
        packet.time_base = Fraction(1, TIMESTAMP_HZ)
        self._next_timestamp = packet.pts + packet_duration(payload, TIMESTAMP_HZ)
        self._packets.put_nowait(packet)

    async def recv(self) -> Packet[Any]:
        return await self._packets.get()


class WebRtcConnection:
    """Implements `client_connection.ClientConnection`: binary frames are packets for the track, texts are messages.

    The client's messages come over the data channel that it may open, or by `say`. Those to it go over the data
    channel; without one, `take_kept` returns them.
    """

    def __init__(self) -> None:
        self.close_code: int | None = None
        self._peer = RTCPeerConnection(
            RTCConfiguration(iceServers=[])
        )  # by default it asks a server of Google's
        self._track = PacketTrack()
        self._channel: RTCDataChannel | None = None
        self._incoming: deque[str | bytes] = deque()
        self._num_waiting_bytes = 0
        self._kept: deque[str] = deque(maxlen=MAX_KEPT)
        self._has_connected, self._arrived = asyncio.Event(), asyncio.Event()
        self._has_caught_up = asyncio.Event()
        self._over = LightEvent()

    @property
    def transport(self) -> asyncio.Transport:
        raise NotImplementedError("nothing that is sent here is waited for")

    async def answer(self, offer: str) -> str:
        """Return the SDP that answers an offer, with this machine's own addresses as candidates.

        Raises `InvalidMessageError` for an offer that cannot be followed, `InvalidParameterError` for one by which no
        audio would be received. The connection is to be closed then, too.
        """
        if offer.count("m=") > MAX_MEDIA or offer.count("a=candidate:") > MAX_CANDIDATES:
            message = f"the offer has more than {MAX_MEDIA} media or {MAX_CANDIDATES} candidates"
            raise InvalidMessageError(message)
        self._peer.on("connectionstatechange", self._follow)
        self._peer.on("datachannel", self._open_channel)
        audio = self._peer.addTransceiver(self._track, "sendonly")
        codecs = RTCRtpSender.getCapabilities("audio").codecs
        audio.setCodecPreferences([codec for codec in codecs if codec.mimeType == "audio/opus"])
        try:
            offered = RTCSessionDescription(_HIDDEN_CANDIDATE.sub("", offer), "offer")
            await self._peer.setRemoteDescription(offered)
            for other in self._peer.getTransceivers():
                if other is not audio:
                    other.direction = "inactive"
            await self._peer.setLocalDescription(await self._peer.createAnswer())
        except Exception as error:  # aiortc raises whatever its parser stumbles over
            logger.debug("an offer was refused", exc_info=error)
            message = "the offer is no SDP that can be followed: it needs audio in Opus, ICE and DTLS"
            raise InvalidMessageError(message) from None
        if audio.currentDirection != "sendonly":
            message = "by this offer no audio is received: add a transceiver of audio, `recvonly`"
            raise InvalidParameterError(message, param="offer")
        return str(self._peer.localDescription.sdp)

    def say(self, message: str | bytes) -> None:
        """Take a message of the client's, unless so much waits that the connection is given up."""
        self._num_waiting_bytes += size_bytes(message) + MESSAGE_COST_BYTES
        self._incoming.append(message)
        self._has_caught_up.clear()
        self._arrived.set()
        if self._num_waiting_bytes > MAX_WAITING_BYTES:
            self.hang_up()

    def hang_up(self) -> None:
        """Have the session end."""
        self._over.set()
        self._arrived.set()
        self._has_connected.set()

    async def caught_up(self) -> None:
        """Return when everything that the client has said so far was carried out, or the session is over."""
        await self._has_caught_up.wait()

    def take_kept(self) -> Sequence[str]:
        """Return the messages to a client without a data channel, each of them once, and the latest only."""
        kept = tuple(self._kept)
        self._kept.clear()
        return kept

    async def recv(self) -> str | bytes:
        """Return the client's next message, once it has connected. Raises `ConnectionClosed` at the end."""
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._has_connected.wait()
        except TimeoutError:
            raise ConnectionClosedOK(None, None) from None
        while not self._incoming and not self._over.is_set():
            self._has_caught_up.set()
            self._arrived.clear()
            await self._arrived.wait()
        if self._over.is_set():
            raise ConnectionClosedOK(None, None)
        message = self._incoming.popleft()
        self._num_waiting_bytes -= size_bytes(message) + MESSAGE_COST_BYTES
        return message

    async def rest(self, pause_s: float) -> None:
        """Let this time pass before the next message is taken, unless the session is over."""
        await self._over.wait_for(pause_s)

    def try_send_all(self, messages: Sequence[str | bytes]) -> bool:
        """Send packets and messages; nothing is waited for, and a client that takes no messages is given up."""
        for message in messages:
            if isinstance(message, bytes):
                self._track.put(message)
            elif self._channel is None:
                self._kept.append(message)
            elif self._channel.readyState == "open":
                self._channel.send(message)
                if self._channel.bufferedAmount > MAX_WAITING_BYTES:
                    self.hang_up()
        return True

    async def send_all(self, messages: Sequence[str | bytes]) -> None:
        self.try_send_all(messages)

    async def close(self, code: int = 1000, reason: str = "") -> None:  # noqa: ARG002
        """End the connection; WebRTC has no close codes, and this one is for the log."""
        self.close_code = code
        self._has_caught_up.set()
        try:
            await self._peer.close()
        except Exception as error:  # aiortc fails to close what an offer that failed has left half made
            logger.debug("a connection was not closed properly", exc_info=error)

    def _open_channel(self, channel: RTCDataChannel) -> None:
        """Take the first data channel for messages; more of them are not read."""
        if self._channel is None:
            self._channel = channel
            channel.on("message", self.say)
            self.try_send_all(self.take_kept())

    def _follow(self) -> None:
        if self._peer.connectionState == "connected":
            self._has_connected.set()
        elif self._peer.connectionState in ("failed", "closed"):
            self.hang_up()
