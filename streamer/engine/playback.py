"""When an utterance's playback will underrun: the clock behind the scheduler's deadlines; pure Python."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

MAX_REPEATABLE: Final = 8
"""Sentences that have ended last and may still be requested again."""


@dataclass(slots=True)
class _Sentence:
    delivered_s: float = 0.0
    buffered_s: float = 0.0
    is_open: bool = True


@dataclass(slots=True, eq=False)
class PlaybackState:
    """Models how far a client has played an utterance, whose sentences are separate requests. Times in seconds.

    The client is assumed to play the sentences in order, at normal speed, from the first audio on. With `origin_s`
    as the time at which playback began, the audio up to sentence i is used up at

        underrun_at_s(i) = origin_s + audio delivered of the sentences 0 to i

    A stall is not playback: if audio arrives after its time, or was delivered and not consumed by its reader,
    `origin_s` moves later by as long as the client had nothing to play.
    """

    origin_s: float | None = None
    """When playback would have begun if it had never stalled, on the engine's clock; None before the first audio."""
    _ended_s: float = 0.0
    """Audio of the sentences that are no longer in `_sentences`, which are all before those that are."""
    _sentences: dict[int, _Sentence] = field(default_factory=dict)
    _repeatable: dict[int, float] = field(default_factory=dict)
    """Audio of the last sentences counted in `_ended_s`, by index in rising order."""

    def open(self, sentence_index: int) -> None:
        """Register a requested sentence. If it is requested again, its earlier audio was discarded unheard."""
        for index in [index for index in self._repeatable if index >= sentence_index]:
            self._sentences[index] = _Sentence(self._repeatable.pop(index), is_open=False)
            self._ended_s -= self._sentences[index].delivered_s
        self._sentences[sentence_index] = _Sentence()

    def deliver(self, sentence_index: int, duration_s: float, now_s: float) -> None:
        """Register audio that was handed to the sentence's reader."""
        if self.is_next(sentence_index):
            if duration_s and self.origin_s is None:
                self.origin_s = now_s
            self._skip_stall(sentence_index, now_s)
        self._sentences[sentence_index].delivered_s += duration_s
        self._sentences[sentence_index].buffered_s += duration_s

    def consume(self, sentence_index: int, duration_s: float, now_s: float) -> None:
        """Register audio that the sentence's reader took."""
        self._skip_stall(sentence_index, now_s)
        self._sentences[sentence_index].buffered_s -= duration_s

    def close(self, sentence_index: int) -> None:
        """Register the sentence's end; audio of it that was not consumed yet no longer counts as buffered."""
        sentence = self._sentences[sentence_index]
        sentence.is_open, sentence.buffered_s = False, 0.0
        for index in sorted(self._sentences):
            if self._sentences[index].is_open:
                break
            self._repeatable[index] = self._sentences.pop(index).delivered_s
            self._ended_s += self._repeatable[index]
            self._repeatable.pop(index - MAX_REPEATABLE, None)

    @property
    def has_begun(self) -> bool:
        """Whether audio was delivered."""
        return self.origin_s is not None

    def is_next(self, sentence_index: int) -> bool:
        """Whether no earlier sentence is still to deliver audio."""
        return not any(index < sentence_index for index in self._sentences)

    def waits_for(self, sentence_index: int) -> bool:
        """Whether playback has not begun and will begin with this sentence."""
        return not self.has_begun and self.is_next(sentence_index)

    def buffered_s(self, sentence_index: int) -> float:
        """Audio of the sentences up to this one that was delivered and not consumed."""
        return sum(item.buffered_s for index, item in self._sentences.items() if index <= sentence_index)

    def underrun_at_s(self, sentence_index: int) -> float:
        """When the audio up to this sentence will have been played; infinite before the first audio.

        Audio of later sentences does not count, because it cannot be played before this one.
        """
        if self.origin_s is None:
            return float("inf")
        delivered_s = sum(
            item.delivered_s for index, item in self._sentences.items() if index <= sentence_index
        )
        return self.origin_s + self._ended_s + delivered_s

    @property
    def ahead(self) -> tuple[float, float] | None:
        """When playback will underrun if nothing more is delivered, and the audio that was not consumed until then.

        It stops with the first open sentence, whatever later ones have delivered; None without an open one.
        """
        index = min((index for index, item in self._sentences.items() if item.is_open), default=None)
        return None if index is None else (self.underrun_at_s(index), self.buffered_s(index))

    def is_over(self, now_s: float) -> bool:
        """Whether no sentence is open and all audio was played."""
        if self._sentences:
            return False
        return self.origin_s is None or self.origin_s + self._ended_s <= now_s

    def _skip_stall(self, sentence_index: int, now_s: float) -> None:
        """Move the origin if playback has had nothing to play: audio that was not consumed was not played either."""
        if self.origin_s is not None:
            played_until_s = self.underrun_at_s(sentence_index) - self.buffered_s(sentence_index)
            self.origin_s += max(0.0, now_s - played_until_s)


class PlaybackStates:
    """The playback of every utterance that is being heard or waited for, by its key."""

    def __init__(self) -> None:
        self._states: dict[Hashable, PlaybackState] = {}

    def __len__(self) -> int:
        return len(self._states)

    def get(self, key: Hashable, now_s: float) -> PlaybackState:
        """Return the utterance's state, a new one if there is none; forgets the utterances that are over."""
        for over in [key for key, playback in self._states.items() if playback.is_over(now_s)]:
            del self._states[over]
        return self._states.setdefault(key, PlaybackState())
