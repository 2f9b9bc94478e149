"""The path through a sentence's phones, to which the semantic stage keeps a model whose tokens name phones.

A row is at one phone of the text at a time. Its next token says that phone again, or one that follows within the
reach; the sentence ends only behind its last phone, and a phone that was held for too long must give way to the next.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from streamer.engine.device.automaton import Automaton
from streamer.errors import CheckpointError
from streamer.models.config import ModelConfig, PathConfig

Phones = frozenset[int]
MAX_NUMBER = 2**15 - 1
"""The largest number in an automaton."""


@dataclass(frozen=True, slots=True)
class Sound:
    """A step of a path: any of `phones` says it.

    `is_unknown`: these are any phones, and more of the same word may follow.
    """

    phones: Phones
    max_tokens: int
    is_optional: bool = False
    is_unknown: bool = False


@dataclass(frozen=True, slots=True)
class TextPath:
    """A sentence's path: each state of its `automaton` is a phone that says a sound, state 0 is before the first.

    `symbols` [states] are the places, among the text tokens, of what each state says; -1 before the first.
    """

    automaton: Automaton
    symbols: npt.NDArray[np.int64]
    tokens_per_phone: int
    silences: Phones

    def places(self, tokens: Sequence[int]) -> list[int]:
        """For each of a sentence's semantic tokens, the place among the text tokens of the symbol that it says."""
        successors, limits = self.automaton.successors, self.automaton.limits
        places: list[int] = []
        state = held = 0
        for token in tokens:
            before = state
            is_at_limit = held >= limits[before]
            state = int(successors[int(is_at_limit), before, token // self.tokens_per_phone])
            held = held + 1 if state == before else 1
            places.append(int(self.symbols[state]))
        return places

    def word_spans(
        self, tokens: Sequence[int], word_ends: Sequence[int], *, is_whole: bool
    ) -> list[tuple[int, int]]:
        """For each word, from the first on, the first of the semantic tokens that say it and the one behind its last.

        `word_ends` are the ends of the words among the text tokens, without the marks behind them. Only words that
        `tokens` have gone past are told, or all if these are the whole sentence's. A word without a sound of its own
        has no tokens: its span is empty.
        """
        places = self.places(tokens)
        begins: dict[int, int] = {}
        ends: dict[int, int] = {}
        for index, (place, token) in enumerate(zip(places, tokens, strict=True)):
            if place >= 0 and token // self.tokens_per_phone not in self.silences:
                word = bisect_right(word_ends, place)
                begins.setdefault(word, index)
                ends[word] = index + 1
        num_told = len(word_ends) if is_whole else bisect_right(word_ends, max(places, default=-1))
        spans: list[tuple[int, int]] = []
        end = 0
        for word in range(num_told):
            begin = begins.get(word, end)
            end = ends.get(word, begin)
            spans.append((begin, end))
        return spans


class PathMaker:
    """Makes the paths of a model's sentences."""

    def __init__(self, config: ModelConfig, path: PathConfig) -> None:
        """Raises `CheckpointError` where the phones do not fit the model's tokens or symbols."""
        for name in (
            "tokens_per_phone",
            "reach",
            "max_phone_tokens",
            "max_silence_tokens",
            "max_last_silence_tokens",
            "max_letter_tokens",
        ):
            number = getattr(path, name)
            if number is not None and not 1 <= number <= MAX_NUMBER:
                raise CheckpointError(f"path.{name} is {number}: it must be 1 to {MAX_NUMBER}")
        for name, limit in path.max_tokens_of.items():
            if name not in path.phones:
                raise CheckpointError(f"path.max_tokens_of: {name!r} is none of its phones")
            if not 1 <= limit <= MAX_NUMBER:
                raise CheckpointError(
                    f"path.max_tokens_of[{name!r}] is {limit}: it must be 1 to {MAX_NUMBER}"
                )
        self._path = path
        self._index_of = {phone: index for index, phone in enumerate(path.phones)}
        self._end = len(path.phones)
        self._max_symbols = config.semantic.text_context
        vocab_size = config.semantic.vocab_size
        if path.tokens_per_phone * len(path.phones) != vocab_size:
            raise CheckpointError(
                f"path: {len(path.phones)} phones of {path.tokens_per_phone} tokens are not the model's {vocab_size}"
            )
        if unknown := path.sounds.keys() - set(config.tokenizer.symbols):
            raise CheckpointError(f"path.sounds: {sorted(unknown)[:5]} are no symbols of the tokenizer")
        silences = self._phones("|".join(path.silences)) if path.silences else Phones()
        self._silences = silences
        self._any = Phones(range(self._end)) - silences
        self._sounds = [self._read(path.sounds.get(symbol, "")) for symbol in config.tokenizer.symbols]
        self._beginning, self._ending = self._read(path.beginning), self._read(path.ending)
        if self.max_states > MAX_NUMBER:
            raise CheckpointError(
                f"path: {self.max_states} sounds in a sentence, but at most {MAX_NUMBER} fit"
            )

    @property
    def max_states(self) -> int:
        longest = max(map(self._num_states, self._sounds), default=0)
        around = self._num_states(self._beginning) + self._num_states(self._ending)
        return 1 + around + longest * self._max_symbols

    def _num_states(self, sounds: Sequence[Sound]) -> int:
        return sum(len(list(self._ways(sound))) for sound in sounds)

    @property
    def slot_bytes(self) -> int:
        """The memory of a slot's automaton."""
        return np.dtype(np.int16).itemsize * self.max_states * (1 + 2 * (self._end + 1))

    def class_of_output(self) -> list[int]:
        """The phone of each semantic token, and behind them a class of its own for the end."""
        count = self._path.tokens_per_phone
        return [token // count for token in range(count * self._end)] + [self._end]

    def path(self, text_tokens: Sequence[int]) -> TextPath:
        """The path through the sounds of these symbols."""
        sounds: list[Sound] = []
        places: list[int] = []
        parts = [(-1, self._beginning)]
        parts += [
            (place, self._sounds[token]) for place, token in enumerate(text_tokens[: self._max_symbols])
        ]
        parts += [(len(parts) - 2, self._ending)]
        for place, part in parts:
            for sound in part:
                # Several marks in a row are one pause.
                if not sound.is_optional or not sounds or sounds[-1] != sound:
                    sounds.append(sound)
                    places.append(place)
        states = [(place, way) for place, sound in enumerate(sounds) for way in self._ways(sound)]
        symbols = np.array([-1, *(places[place] for place, _ in states)])
        automaton = self._automaton(sounds, states, self._lone(places, text_tokens))
        return TextPath(automaton, symbols, self._path.tokens_per_phone, self._silences)

    def _ways(self, sound: Sound) -> Iterator[Phones]:
        """Yield the phones of each state of a sound.

        A phone that is replaced by another one has ended, even if both could say the same sound: in "the other" the
        second vowel is heard as such. Only pauses and unknown sounds may change while they last.
        """
        if sound.is_unknown or sound.phones <= self._silences:
            yield sound.phones
        else:
            yield from (Phones({phone}) for phone in sorted(sound.phones))

    def _lone(self, places: Sequence[int], text_tokens: Sequence[int]) -> list[bool]:
        """Return of each sound whether its symbol has nothing but pauses on both sides: it is a word of one sound."""
        is_mark = [
            all(sound.phones <= self._silences for sound in self._sounds[token]) for token in text_tokens
        ]
        found = []
        for place in places:
            before, after = is_mark[max(0, place - 1) : max(0, place)], is_mark[place + 1 : place + 2]
            found.append(all((*before, *after)))
        return found

    def _automaton(
        self, sounds: Sequence[Sound], states: Sequence[tuple[int, Phones]], lone: Sequence[bool]
    ) -> Automaton:
        """Return the automaton of `states`, the place of each one's sound and its phones; 0 is before the first."""
        states_of: dict[int, list[int]] = {}
        for state, (place, _) in enumerate(states, 1):
            states_of.setdefault(place, []).append(state)
        moves = np.full((len(states) + 1, self._end + 1), -1, np.int16)
        for row, (place, said) in zip(moves, [(-1, Phones()), *states], strict=True):
            for further in reversed(
                list(self._within_reach(sounds, lone, place, said))
            ):  # the nearest counts
                if further == len(sounds):
                    row[self._end] = len(states)
                for state in states_of.get(further, ()):
                    row[_indices(states[state - 1][1])] = state
        stays = moves.copy()
        limits = [1]
        for state, (place, said) in enumerate(states, 1):
            stays[state, _indices(said)] = state
            following = sounds[place + 1] if place + 1 < len(sounds) else None
            is_last_letter = sounds[place].is_unknown and not (following and following.is_unknown)
            limit = self._path.max_phone_tokens if is_last_letter else sounds[place].max_tokens
            if following is None and said <= self._silences and self._path.max_last_silence_tokens:
                limit = min(limit, self._path.max_last_silence_tokens)
            limits.append(limit)
        return Automaton(np.stack([stays, moves]), np.array(limits, np.int16))

    def _within_reach(
        self, sounds: Sequence[Sound], lone: Sequence[bool], place: int, said: Phones
    ) -> Iterator[int]:
        """Yield the places of the sounds that may follow `said`; one more than the last is the end."""
        if place >= 0 and sounds[place].is_unknown:
            said = Phones()
        num_left = self._path.reach
        for further in range(place + 1, len(sounds)):
            yield further
            sound = sounds[further]
            # The same phone twice may be heard as one, unless a word consists of it.
            may_be_passed = not said.isdisjoint(sound.phones) and not lone[further]
            if not sound.is_optional and not may_be_passed:
                num_left -= 1
                if num_left == 0:
                    return
        yield len(sounds)

    def _read(self, text: str) -> list[Sound]:
        """The sounds that the config writes as `text`."""
        return [self._sound(part) for part in text.split()]

    def _sound(self, part: str) -> Sound:
        path = self._path
        if part == "*":
            return Sound(self._any, path.max_letter_tokens, is_unknown=True)
        phones = self._phones(part.removesuffix("?"))
        limit = max(self._max_tokens(phone) for phone in phones)
        return Sound(phones, limit, is_optional=part.endswith("?"))

    def _max_tokens(self, phone: int) -> int:
        path = self._path
        usual = path.max_silence_tokens if phone in self._silences else path.max_phone_tokens
        return path.max_tokens_of.get(path.phones[phone], usual)

    def _phones(self, names: str) -> Phones:
        found = [name for name in names.split("|") if name]
        if unknown := [name for name in found if name not in self._index_of]:
            raise CheckpointError(f"path: {unknown[0]!r} is none of its phones")
        if not found:
            raise CheckpointError(f"path: {names!r} names no phone")
        return Phones(self._index_of[name] for name in found)


def _indices(phones: Phones) -> npt.NDArray[np.intp]:
    return np.array(sorted(phones), np.intp)
