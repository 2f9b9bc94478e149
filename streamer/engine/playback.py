"""Who hears an utterance: its sentences come from several requests, but he falls silent only once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

REMEMBERED: Final = 8
"""Sentences that were over and may be asked for once more."""


@dataclass(slots=True)
class _Sentence:
    delivered_s: float = 0.0
    untaken_s: float = 0.0
    is_open: bool = True


@dataclass(slots=True, eq=False)
class PlaybackState:
    """How much sound an utterance's sentences have given its listener. Times in seconds, on the engine's clock.

    He is taken to play the sentences in order, from the first sound on; where it came late, or where he did not
    take what was there, he went on when he had it.
    """

    plays_from_s: float | None = None
    """When he would have heard the utterance's beginning, had he heard all until now without a stop."""
    _played_before_s: float = 0.0
    """Sound of the sentences that are not in `_sentences` any more: all earlier ones."""
    _sentences: dict[int, _Sentence] = field(default_factory=dict)
    _over: dict[int, float] = field(default_factory=dict)
    """The sound in s of those of them that ended last, in their order."""

    def open(self, sentence_index: int) -> None:
        """A sentence was asked for; where it is asked for once more, its first sound was thrown away unheard."""
        for index in [index for index in self._over if index >= sentence_index]:
            self._sentences[index] = _Sentence(self._over.pop(index), is_open=False)
            self._played_before_s -= self._sentences[index].delivered_s
        self._sentences[sentence_index] = _Sentence()

    def deliver(self, sentence_index: int, duration_s: float, now_s: float) -> None:
        """Sound of a sentence was handed out."""
        if self.is_next(sentence_index):
            if duration_s and self.plays_from_s is None:
                self.plays_from_s = now_s
            self._catch_up(sentence_index, now_s)
        self._sentences[sentence_index].delivered_s += duration_s
        self._sentences[sentence_index].untaken_s += duration_s

    def take(self, sentence_index: int, duration_s: float, now_s: float) -> None:
        """The reader of a sentence's outlet took so much."""
        self._catch_up(sentence_index, now_s)
        self._sentences[sentence_index].untaken_s -= duration_s

    def close(self, sentence_index: int) -> None:
        """The sentence has ended; what of it was not taken yet is no longer the engine's."""
        sentence = self._sentences[sentence_index]
        sentence.is_open, sentence.untaken_s = False, 0.0
        for index in sorted(self._sentences):
            if self._sentences[index].is_open:
                break
            self._over[index] = self._sentences.pop(index).delivered_s
            self._played_before_s += self._over[index]
            self._over.pop(index - REMEMBERED, None)

    @property
    def has_begun(self) -> bool:
        """Whether he has heard something."""
        return self.plays_from_s is not None

    def waits_for(self, sentence_index: int) -> bool:
        """Whether he hears nothing before this sentence does something."""
        return not self.has_begun and self.is_next(sentence_index)

    def buffered_s(self, sentence_index: int) -> float:
        """Sound of the sentences up to this one that waits for its reader."""
        return sum(item.untaken_s for index, item in self._sentences.items() if index <= sentence_index)

    def underrun_at_s(self, sentence_index: int) -> float:
        """When he will have played what exists up to this sentence; infinite where he has heard nothing yet.

        What later sentences have made already does not count: they cannot be played before this one.
        """
        if self.plays_from_s is None:
            return float("inf")
        made_s = sum(item.delivered_s for index, item in self._sentences.items() if index <= sentence_index)
        return self.plays_from_s + self._played_before_s + made_s

    def is_over(self, now_s: float) -> bool:
        """Nothing of his is open, and he has heard all there was."""
        if self._sentences:
            return False
        return self.plays_from_s is None or self.plays_from_s + self._played_before_s <= now_s

    def _catch_up(self, sentence_index: int, now_s: float) -> None:
        """He has not heard what he had not taken: the time he was without sound does not count as played."""
        if self.plays_from_s is not None:
            taken_s = self.underrun_at_s(sentence_index) - self.buffered_s(sentence_index)
            self.plays_from_s += max(0.0, now_s - taken_s)

    def is_next(self, sentence_index: int) -> bool:
        """Whether no sentence before this one is still to bring sound."""
        return not any(index < sentence_index for index in self._sentences)


class PlaybackStates:
    """Those who hear something or wait for it, by the names of their utterances."""

    def __init__(self) -> None:
        self._listeners: dict[str, PlaybackState] = {}

    def __len__(self) -> int:
        return len(self._listeners)

    def called(self, name: str, now_s: float) -> PlaybackState:
        """The listener of that name, a new one where there is none; those who have heard all are forgotten."""
        for other in [name for name, listener in self._listeners.items() if listener.is_over(now_s)]:
            del self._listeners[other]
        return self._listeners.setdefault(name, PlaybackState())
