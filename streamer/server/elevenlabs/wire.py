"""How ElevenLabs' protocol sends one context: its sound in base64 with the times of its characters, and its end."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET

from streamer.audio.packets import Packet
from streamer.errors import StreamerError
from streamer.server.elevenlabs.alignment import AlignedChars, WordAligner
from streamer.server.elevenlabs.messages import (
    Alignment,
    AudioFrame,
    ContextFinalFrame,
    FinalFrame,
    encode,
    error_frame,
)
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame, Outcome
from streamer.speech.events import SentenceStarted, SpeechEvent


class ElevenLabsWire:
    """Implements `server.wire.Wire`.

    `context_id`: None if there is only one context in the connection. `uses_context_clock`: whether times count from
    the beginning of the sound; otherwise they count from where the alignment before has ended, so that a client adds up
    their spans. `error` may be set to what ends the context instead of its last sound.
    """

    def __init__(self, context_id: str | None, *, uses_context_clock: bool) -> None:
        self.error: StreamerError | None = None
        self._context_id = UNSET if context_id is None else context_id
        self._aligner = WordAligner()
        self._uses_context_clock = uses_context_clock
        self._zero_ms = 0  # of the next alignment

    def event(self, utterance: Utterance, event: SpeechEvent) -> Sequence[Frame]:
        if isinstance(event, SentenceStarted):
            self._aligner.begin(event, utterance.feed.text[event.char_end : event.char_end + 1])
            return ()
        rest = self._aligner.told(event)
        return (self._audio(b"", rest),) if rest.chars else ()

    def packet(self, utterance: Utterance, packet: Packet) -> Sequence[Frame]:  # noqa: ARG002
        if not packet.payload:
            return ()
        return (self._audio(packet.payload, self._aligner.told(packet)),)

    def done(self, utterance: Utterance, outcome: Outcome) -> Sequence[Frame]:  # noqa: ARG002
        if (error := outcome.error or self.error) is not None:
            self.error = error
            return (encode(error_frame(error, self._context_id)),)
        is_only_one = self._context_id is UNSET
        return (encode(FinalFrame() if is_only_one else ContextFinalFrame(str(self._context_id))),)

    def _audio(self, payload: bytes, chars: AlignedChars) -> str:
        alignment = self._alignment(chars) if chars.chars else None
        return encode(AudioFrame(payload, alignment, alignment, context_id=self._context_id))

    def _alignment(self, chars: AlignedChars) -> Alignment:
        zero_ms = self._zero_ms
        if not self._uses_context_clock:
            self._zero_ms = chars.ends_ms[-1]
        starts_ms = [start_ms - zero_ms for start_ms in chars.starts_ms]
        durations_ms = [end - start for start, end in zip(chars.starts_ms, chars.ends_ms, strict=True)]
        return Alignment(chars.chars, starts_ms, durations_ms)
