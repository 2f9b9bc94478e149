"""How a media stream sends one utterance: `media` of 20 ms, and a `mark` at its end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from streamer.audio.packets import Packet
from streamer.server.telephony.calls import Driver
from streamer.server.telephony.messages import Call, Codec
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame, Outcome
from streamer.speech.events import SpeechEvent

FRAME_BYTES: Final = 160
"""20 ms of G.711 (RFC 3551, section 4.5.14)."""
_SILENCE: Final[dict[Codec, bytes]] = {"mulaw": b"\xff", "alaw": b"\xd5"}


class MediaStreamWire:
    """Implements `server.wire.Wire`. `name` is the mark's; `driver`: the program that asked for it, if one did."""

    def __init__(self, call: Call, name: str, driver: Driver | None) -> None:
        self.name = name
        self.driver = driver
        self.outcome: Outcome | None = None
        self._call = call

    def event(self, utterance: Utterance, event: SpeechEvent) -> Sequence[Frame]:  # noqa: ARG002
        return ()

    def packet(self, utterance: Utterance, packet: Packet) -> Sequence[Frame]:  # noqa: ARG002
        if not packet.payload:
            return ()
        # Only the last one can be shorter, and Telnyx takes nothing below 20 ms.
        return (self._call.media(packet.payload.ljust(FRAME_BYTES, _SILENCE[self._call.codec])),)

    def done(self, utterance: Utterance, outcome: Outcome) -> Sequence[Frame]:  # noqa: ARG002
        self.outcome = outcome
        return (self._call.mark(self.name),)
