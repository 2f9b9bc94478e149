"""How Wyoming sends one utterance: `audio-start`, chunks of 16-bit PCM, `audio-stop`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.tts import SynthesizeStopped

from streamer.audio.packets import TIMESTAMP_HZ, Packet
from streamer.server.ending import StoppedError
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame, Outcome
from streamer.server.wyoming.messages import encode, error_event
from streamer.speech.events import SpeechEvent

_WIDTH: Final = 2
_SILENCE_S: Final = 0.1
"""The sound of a text without a word: clients take an answer without sound for a failure."""


class WyomingWire:
    """Implements `server.wire.Wire`. The last event is `audio-stop`, `synthesize-stopped` or `error`."""

    def __init__(self, *, is_streamed: bool) -> None:
        self.has_failed = False
        self._is_streamed = is_streamed
        self._has_begun = False

    def event(self, utterance: Utterance, event: SpeechEvent) -> Sequence[Frame]:  # noqa: ARG002
        return ()

    def packet(self, utterance: Utterance, packet: Packet) -> Sequence[Frame]:
        if not packet.payload:
            return ()
        timestamp_ms = packet.timestamp * 1000 // TIMESTAMP_HZ
        return self._chunk(packet.payload, timestamp_ms, utterance.audio_format.sample_rate_hz)

    def done(self, utterance: Utterance, outcome: Outcome) -> Sequence[Frame]:
        error = outcome.error
        if outcome.reason == "cancelled":
            error = StoppedError()  # there is no other way: Wyoming's clients cannot cancel
        if error is not None:
            self.has_failed = True
            return (error_event(error),)
        frames: list[Frame] = []
        if not self._has_begun:
            rate_hz = utterance.audio_format.sample_rate_hz
            frames += self._chunk(bytes(_WIDTH * round(_SILENCE_S * rate_hz)), 0, rate_hz)
        frames.append(encode(AudioStop(timestamp=outcome.audio_ms).event()))
        if self._is_streamed:
            frames.append(encode(SynthesizeStopped().event()))
        return frames

    def _chunk(self, payload: bytes, timestamp_ms: int, rate_hz: int) -> list[Frame]:
        frames: list[Frame] = []
        if not self._has_begun:
            self._has_begun = True
            frames.append(encode(AudioStart(rate=rate_hz, width=_WIDTH, channels=1, timestamp=0).event()))
        chunk = AudioChunk(rate=rate_hz, width=_WIDTH, channels=1, audio=payload, timestamp=timestamp_ms)
        frames.append(encode(chunk.event()))
        return frames
