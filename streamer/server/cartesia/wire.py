"""How Cartesia's protocol sends one context: sound and times of words as JSON, and in the end `done` or an error."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from streamer.audio.packets import TIMESTAMP_HZ, Packet
from streamer.server.cartesia.errors import error_message
from streamer.server.cartesia.messages import chunk, done, flush_done, timestamps
from streamer.server.utterance import Utterance
from streamer.server.wire import Frame, Outcome
from streamer.speech.events import Flushed, SentenceStarted, SpeechEvent, WordTime, WordTimes


class CartesiaWire:
    """Implements `server.wire.Wire`. `has_words`: whether the client wants the times of words.

    `request_id` names the context in the log; `is_structured`: whether errors are objects in the client's version.
    """

    def __init__(self, request_id: str, *, has_words: bool, is_structured: bool) -> None:
        self._request_id = request_id
        self._is_structured = is_structured
        self._words = SpokenWords() if has_words else None
        self._flush_id = 1
        self._steps = Steps()

    def event(self, utterance: Utterance, event: SpeechEvent) -> Sequence[Frame]:
        if isinstance(event, Flushed):
            flush_id = self._flush_id
            self._flush_id += 1
            return (flush_done(flush_id, context_id=utterance.id),)
        if self._words is not None and isinstance(event, SentenceStarted):
            self._words.begin(event)
        elif self._words is not None and isinstance(event, WordTimes):
            return self._timestamps(utterance, self._words.end(event))
        return ()

    def packet(self, utterance: Utterance, packet: Packet) -> Sequence[Frame]:
        """Send a piece of the sound behind the times of the words that begin in it."""
        if not packet.payload:
            return ()
        words: Sequence[WordTime] = ()
        if self._words is not None:
            end_ms = (packet.timestamp + packet.duration) * 1000 / TIMESTAMP_HZ
            words = self._words.until(end_ms * utterance.audio_format.tempo)
        names = {"context_id": utterance.id, "flush_id": self._flush_id}
        sound = chunk(packet.payload, self._steps.next_ms(), **names)
        return (*self._timestamps(utterance, words), sound)

    def done(self, utterance: Utterance, outcome: Outcome) -> Sequence[Frame]:
        if outcome.reason == "cancelled":  # nothing follows a cancel, nor the error that ended the context
            return ()
        if outcome.error is not None:
            report = error_message(
                outcome.error, self._request_id, is_structured=self._is_structured, context_id=utterance.id
            )
            return (json.dumps(report),)
        return (done(context_id=utterance.id),)

    def _timestamps(self, utterance: Utterance, words: Sequence[WordTime]) -> Sequence[Frame]:
        if not words:
            return ()
        tempo = utterance.audio_format.tempo
        return (timestamps(words, tempo, context_id=utterance.id, flush_id=self._flush_id),)


class Steps:
    """Measures what a chunk calls its `step_time`: the time since the chunk before, or since the beginning."""

    def __init__(self) -> None:
        self._before_s = time.monotonic()

    def next_ms(self) -> float:
        """Begin a step; return how long the last one took, in ms."""
        before_s, self._before_s = self._before_s, time.monotonic()
        return round((self._before_s - before_s) * 1000, 3)


class SpokenWords:
    """Gives out the words of an utterance once, in order, each when the sound in which it begins is sent.

    A word's times are an estimate, which becomes better as more of the sentence is known. What was given out stays, and
    no word begins before the one before it.
    """

    def __init__(self) -> None:
        self._expected: Callable[[], Sequence[WordTime]] = tuple
        self._num_given = 0  # of the sentence's words
        self._start_ms = 0  # of the last word that was given out

    def begin(self, sentence: SentenceStarted) -> None:
        """A sentence begins."""
        self._expected, self._num_given = sentence.expected_words, 0

    def until(self, position_ms: float) -> Sequence[WordTime]:
        """Return the words that begin before this position and were not given out yet."""
        following = self._expected()[self._num_given :]
        return self._given([word for word in following if word.start_ms < position_ms])

    def end(self, sentence: WordTimes) -> Sequence[WordTime]:
        """Return the words of the sentence that were not given out yet."""
        return self._given(sentence.words[self._num_given :])

    def _given(self, words: Sequence[WordTime]) -> Sequence[WordTime]:
        given = []
        for word in words:
            self._start_ms = max(self._start_ms, word.start_ms)
            given.append(replace(word, start_ms=self._start_ms, end_ms=max(self._start_ms, word.end_ms)))
        self._num_given += len(given)
        return given
