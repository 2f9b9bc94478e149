"""How a protocol sends an utterance to its client: the `Wire` that a `Speaker` emits through.

Each protocol's folder implements it: `server/native/wire.py` for our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from streamer.audio.packets import Packet
from streamer.errors import StreamerError
from streamer.server.utterance import Utterance
from streamer.speech.events import SpeechEvent

Frame = str | bytes
"""One message of a connection: text or binary."""
Reason = Literal["completed", "cancelled", "failed", "truncated"]
"""Why an utterance is over."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an utterance.

    `error` is set if the utterance failed. `audio_ms` is the length of the sound that was sent in `num_packets`.
    `first_audio_ms` counts from the first text to the first packet. `real_time_factor` is the time that was spent
    waiting for the synthesizer over the length of the sound, and None if the utterance did not reach its end.
    `heard_chars`: how much of the text the client had heard when it cancelled, if that is known.
    """

    reason: Reason
    audio_ms: int
    num_packets: int
    num_sentences: int
    error: StreamerError | None = None
    first_audio_ms: int | None = None
    real_time_factor: float | None = None
    heard_chars: int | None = None


class Wire(Protocol):
    """Makes frames of what happens to one utterance, in the order in which they are to be sent.

    A wire belongs to one utterance and may keep state: sequence numbers, or the words of the sentence that is being
    sent. It returns no frames for what its protocol does not report.
    """

    def event(self, utterance: Utterance, event: SpeechEvent) -> Sequence[Frame]:
        """Report an event that is neither a packet nor the end of the speech."""
        ...

    def packet(self, utterance: Utterance, packet: Packet) -> Sequence[Frame]:
        """Send a packet of sound."""
        ...

    def done(self, utterance: Utterance, outcome: Outcome) -> Sequence[Frame]:
        """Report the end of the utterance. This is called once, and nothing follows it."""
        ...
