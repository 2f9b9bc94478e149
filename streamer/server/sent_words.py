"""Which words of an utterance begin in the sound that has been sent, for adapters that send a word's times with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from streamer.audio.packets import TIMESTAMP_HZ, Packet
from streamer.speech.events import SentenceStarted, SpeechEvent, WordTime, WordTimes

REFRESH_MS: Final = 250.0
"""How much sound may pass until the times of the words to come are estimated again."""


class SentWords:
    """Gives out the words of an utterance once, in order, each with the sound in which it begins.

    A word's times are an estimate, which improves as more of the sentence is known. What was given out stays, and no
    word begins before the one before it.
    """

    def __init__(self) -> None:
        self._expected: Callable[[], Sequence[WordTime]] = tuple
        self._upcoming: Sequence[WordTime] = ()
        self._num_given = 0  # of the sentence's words
        self._refreshed_ms = 0.0
        self._start_ms = 0  # of the last word that was given out

    @property
    def upcoming(self) -> Sequence[WordTime]:
        """The words of the sentence that were not given out yet, at the times of the latest estimate."""
        return self._upcoming

    def told(self, event: SpeechEvent) -> Sequence[WordTime]:
        """Return the words that this event brings: they begin in the packet, or are the rest of the sentence."""
        match event:
            case SentenceStarted():
                self._expected, self._num_given = event.expected_words, 0
                self._refresh(event.start_ms)
            case Packet():
                return self._until((event.timestamp + event.duration) * 1000 / TIMESTAMP_HZ)
            case WordTimes():
                self._upcoming = event.words[self._num_given :]
                return self._give(len(self._upcoming))
        return ()

    def _until(self, sent_ms: float) -> Sequence[WordTime]:
        if not self._upcoming:
            return ()
        if self._upcoming[0].start_ms < sent_ms or sent_ms - self._refreshed_ms >= REFRESH_MS:
            self._refresh(sent_ms)
        later = (index for index, word in enumerate(self._upcoming) if word.start_ms >= sent_ms)
        return self._give(next(later, len(self._upcoming)))

    def _refresh(self, sent_ms: float) -> None:
        self._upcoming = self._expected()[self._num_given :]
        self._refreshed_ms = sent_ms

    def _give(self, num_words: int) -> Sequence[WordTime]:
        given = []
        for word in self._upcoming[:num_words]:
            self._start_ms = max(self._start_ms, word.start_ms)
            given.append(replace(word, start_ms=self._start_ms, end_ms=max(self._start_ms, word.end_ms)))
        self._upcoming = self._upcoming[num_words:]
        self._num_given += num_words
        return given
