"""How Deepgram's protocol sends one turn: sound as it is, and `Flushed` when all of it was sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streamer.audio.packets import Packet
from streamer.server.deepgram.messages import error_message, flushed, warning
from streamer.server.ending import StoppedError
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame, Outcome
from streamer.speech.events import SpeechEvent, SpeechWarning


class DeepgramWire:
    """Implements `server.wire.Wire`.

    `sequence_ids` are the session's; `num_flushes` wait for their answer. Nothing is told of a turn that `is_cleared`.
    """

    def __init__(self, sequence_ids: Iterator[int]) -> None:
        self.num_flushes = 0
        self.is_cleared = False
        self._sequence_ids = sequence_ids

    def event(self, utterance: Utterance, event: SpeechEvent) -> Sequence[Frame]:  # noqa: ARG002
        return (warning(event.code, event.message),) if isinstance(event, SpeechWarning) else ()

    def packet(self, utterance: Utterance, packet: Packet) -> Sequence[Frame]:  # noqa: ARG002
        return (packet.payload,) if packet.payload else ()

    def done(self, utterance: Utterance, outcome: Outcome) -> Sequence[Frame]:  # noqa: ARG002
        if self.is_cleared:
            return ()
        error = StoppedError() if outcome.reason == "cancelled" else outcome.error
        errors = () if error is None else (error_message(error),)
        return (*errors, *self.answers())

    def answers(self) -> Sequence[Frame]:
        """Answer every `Flush` of the turn that waits for it."""
        num_flushes, self.num_flushes = 0 if self.is_cleared else self.num_flushes, 0
        return [flushed(next(self._sequence_ids)) for _ in range(num_flushes)]
