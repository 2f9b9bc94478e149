"""How Cartesia's protocol sends one context: sound and times of words as JSON, and in the end `done` or an error."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from streamer.audio.packets import Packet
from streamer.server.cartesia.errors import error_message
from streamer.server.cartesia.messages import chunk, done, flush_done, timestamps
from streamer.server.cartesia.version import ApiVersion
from streamer.server.sent_words import SentWords
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame, Outcome
from streamer.speech.events import Flushed, SpeechEvent


class CartesiaWire:
    """Implements `server.wire.Wire`. `has_words`: whether the client wants the times of words.

    `request_id` names the context in the log.
    """

    def __init__(self, request_id: str, version: ApiVersion, *, has_words: bool) -> None:
        self._request_id = request_id
        self._version = version
        self._words = SentWords() if has_words else None
        self._flush_id = version.first_flush_id
        self._steps = Steps()

    def event(self, utterance: Utterance, event: SpeechEvent) -> Sequence[Frame]:
        if isinstance(event, Flushed):
            flush_id = self._flush_id
            self._flush_id += 1
            return (flush_done(flush_id, context_id=utterance.id),)
        return self._timestamps(utterance, event)

    def packet(self, utterance: Utterance, packet: Packet) -> Sequence[Frame]:
        """Send a piece of the sound behind the times of the words that begin in it."""
        if not packet.payload:
            return ()
        names = {"context_id": utterance.id, "flush_id": self._flush_id}
        sound = chunk(packet.payload, self._steps.next_ms(), **names)
        return (*self._timestamps(utterance, packet), sound)

    def done(self, utterance: Utterance, outcome: Outcome) -> Sequence[Frame]:
        if outcome.reason == "cancelled":  # nothing follows a cancel, nor the error that ended the context
            return ()
        if outcome.error is not None:
            report = error_message(
                outcome.error,
                self._request_id,
                is_structured=self._version.has_structured_errors,
                context_id=utterance.id,
            )
            return (json.dumps(report),)
        return (done(context_id=utterance.id),)

    def _timestamps(self, utterance: Utterance, event: SpeechEvent) -> Sequence[Frame]:
        words = self._words.told(event) if self._words is not None else ()
        if not words:
            return ()
        return (timestamps(words, context_id=utterance.id, flush_id=self._flush_id),)


class Steps:
    """Measures what a chunk calls its `step_time`: the time since the chunk before, or since the beginning."""

    def __init__(self) -> None:
        self._before_s = time.monotonic()

    def next_ms(self) -> float:
        """Begin a step; return how long the last one took, in ms."""
        before_s, self._before_s = self._before_s, time.monotonic()
        return round((self._before_s - before_s) * 1000, 3)
