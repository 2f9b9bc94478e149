"""Tells when the words of a sentence are heard; `assembler` asks.

A model whose tokens say which word they are part of tells it itself. For the others it is estimated by the text and by
the pauses in the sound: pauses are matched with the places in the text where they are most likely, and between two of
them words share the time by their length. `docs/benchmarks.md` says how well either works.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Final

import numpy as np
import numpy.typing as npt

from streamer.audio.levels import FRAMES_PER_S, LevelMeter
from streamer.audio.samples import Samples
from streamer.speech.events import WordTime
from streamer.synthesis import SaidWord
from streamer.text.phones import without_phones
from streamer.text.splitting.sentences import Sentence

Floats = npt.NDArray[np.float64]

MIN_PAUSE_S: Final = 0.15
"""The shortest pause. A shorter silence is a consonant: before a `t` the mouth is closed for up to 0.1 s."""
MS_PER_UNIT: Final = 36.0
"""A letter's time at a usual speed, by which the words of a sound that is not whole yet are guessed."""
UNITS_PER_WORD: Final = 3
"""What a word takes beside its letters, in letters; without it short words would be too short."""
LONG_UNITS: Final = 3
"""What a digit, a sign that is read as a word, and a sign of a syllable take, in letters."""
SPREAD_MS: Final = 150.0
"""How far a stretch of speech is usually off its expected length, squared and per ms of that length."""
UNMARKED_PAUSE: Final = 4.0
"""The cost of a pause for which the text has no mark, in the measure of `SPREAD_MS`."""

_SYLLABLES: Final = "\u3040-\u30ff\u3400-\u9fff"
_WORD: Final = re.compile(rf"[{_SYLLABLES}][^\w\s]*|[^\s{_SYLLABLES}]+")
_LONG: Final = re.compile(rf"[\d$€£¥%&@+={_SYLLABLES}\uac00-\ud7a3]")
_MARKED: Final = re.compile(r"[,.;:!?…—–،؛؟。、！？，；：][^\w\s]*$|[—–]$")


class SpokenWords:
    """Places the words of one sentence in its sound, which is added as it is made.

    `start_ms` is where the sentence begins in the utterance's sound. The sound is added as it was spoken, and heard
    `tempo` times as fast. How it is cut into pieces makes no difference. Times rise from word to word.
    """

    def __init__(self, sentence: Sentence, start_ms: int, sample_rate_hz: int, tempo: float = 1.0) -> None:
        self._sentence = sentence
        self._start_ms = start_ms
        self._tempo = tempo
        self._meter = LevelMeter(sample_rate_hz)
        self._told: Floats | None = None
        self._matches = list(_WORD.finditer(sentence.words))

    @property
    def is_estimated(self) -> bool:
        """Whether the times are no more than an estimate, because the model did not tell."""
        return self._told is None

    def add(self, samples: Samples) -> None:
        """Take the next piece of the sound."""
        self._meter.add(samples)

    def tell(self, said: Sequence[SaidWord], left_out_s: float) -> None:
        """Take the model's own times of the spoken text's words so far, in a sound whose beginning was left out."""
        spoken = self._sentence.spoken_text
        names = [without_phones(spoken[word.char_start : word.char_end]) for word in said]
        rest = without_phones(spoken[said[-1].char_end if said else 0 :]).split()
        times = 1000 * (np.array([(word.start_s, word.end_s) for word in said]).reshape(-1, 2) - left_out_s)
        self._told = _of_written(self._texts, [*names, *rest], np.maximum(times, 0.0) / self._tempo)

    def expected(self) -> tuple[WordTime, ...]:
        """The words of a sound that continues: those past by the sound, those to come by a guess."""
        return self._words(None)

    def whole(self, end_ms: int) -> tuple[WordTime, ...]:
        """The words of the whole sound, which ends at `end_ms`; every word lies inside it.

        Those that the model did not come to, because it was cut, are not among them if it tells.
        """
        return self._words(end_ms)

    def until_cut(self, end_ms: int) -> tuple[WordTime, ...]:
        """The words that were begun in a sound that was cut at `end_ms`."""
        begun = (word for word in self.expected() if word.start_ms < end_ms)
        return tuple(replace(word, end_ms=min(word.end_ms, end_ms)) for word in begun)

    @property
    def _ms_per_unit(self) -> float:
        return MS_PER_UNIT / self._tempo

    @property
    def _texts(self) -> list[str]:
        return [match.group() for match in self._matches]

    def _words(self, end_ms: int | None) -> tuple[WordTime, ...]:
        """The words of a sound that ends at `end_ms`; None if it continues."""
        if not self._matches:
            return ()
        words = []
        times = self._times(end_ms).round().astype(int) + self._start_ms
        for match, (begin, end) in zip(self._matches, times, strict=False):
            char_start, char_end = (
                min(self._sentence.char_start + place, self._sentence.char_end) for place in match.span()
            )
            words.append(
                WordTime(match.group(), _until(begin, end_ms), _until(end, end_ms), char_start, char_end)
            )
        return tuple(words)

    def _times(self, end_ms: int | None) -> Floats:
        """The begin and end of each word, or of those that were said, in ms of the sentence's sound."""
        if self._told is None:
            parts = _merged(_spoken_parts(self._meter, self._tempo), len(self._matches))
            if not parts:  # nothing is heard yet
                parts = [(0.0, 0.0 if end_ms is None else float(end_ms - self._start_ms))]
            return _share(self._texts, parts, self._ms_per_unit, is_whole=end_ms is not None)
        if end_ms is not None:
            return self._told
        units = [_units(text) for text in self._texts[len(self._told) :]]
        ends = self._told.max(initial=0.0) + self._ms_per_unit * np.cumsum([0.0, *units])
        return np.concatenate([self._told, np.stack([ends[:-1], ends[1:]], axis=1)])


def _of_written(written: Sequence[str], spoken: Sequence[str], times: Floats) -> Floats:
    """The times of the written words, [words, 2], given those of the first spoken ones; of the first ones only.

    What is spoken otherwise than it is written, such as a number, takes the time of all that is spoken in its place.
    """
    found: list[tuple[float, float]] = []
    end = 0.0
    names, spoken_names = list(map(_name, written)), list(map(_name, spoken))
    matcher = SequenceMatcher(None, names, spoken_names, autojunk=False)
    for kind, first, last, first_spoken, last_spoken in matcher.get_opcodes():
        if kind == "equal":
            found += map(tuple, times[first_spoken:last_spoken].tolist())
        elif last_spoken <= len(times):
            begin = times[first_spoken, 0] if first_spoken < last_spoken else end
            until = times[last_spoken - 1, 1] if first_spoken < last_spoken else end
            units = np.cumsum([0.0, *map(_units, written[first:last])])
            places = begin + (until - begin) * units / max(units[-1], 1.0)
            found += zip(places.tolist(), places[1:].tolist(), strict=False)
        if last_spoken > len(times):
            break
        end = found[-1][1] if found else 0.0
    return np.array(found, np.float64).reshape(-1, 2)


def _name(word: str) -> str:
    """What is compared of a word."""
    return "".join(filter(str.isalnum, word)).casefold()


def _until(time_ms: int, end_ms: int | None) -> int:
    return int(time_ms if end_ms is None else min(time_ms, end_ms))


def _spoken_parts(meter: LevelMeter, tempo: float) -> list[tuple[float, float]]:
    """The beginnings and ends, in ms of the sound as it is heard, of the stretches between pauses."""
    loud = np.flatnonzero(meter.is_loud())
    if not loud.size:
        return []
    breaks = np.flatnonzero(np.diff(loud) > MIN_PAUSE_S * FRAMES_PER_S)
    begins = loud[np.concatenate([[0], breaks + 1])]
    ends = loud[np.concatenate([breaks, [len(loud) - 1]])] + 1
    ms = 1000 / FRAMES_PER_S / tempo
    return [(begin * ms, end * ms) for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)]


def _merged(parts: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Join parts across the shortest pauses until there are at most `most`."""
    while len(parts) > most:
        pauses = [after[0] - before[1] for before, after in itertools.pairwise(parts)]
        at = pauses.index(min(pauses))
        parts[at : at + 2] = [(parts[at][0], parts[at + 1][1])]
    return parts


def _share(
    texts: list[str], parts: list[tuple[float, float]], ms_per_unit: float, *, is_whole: bool
) -> Floats:
    """The beginning and end of each word, in ms: [words, 2]. There are at least as many words as parts.

    The words are divided among the parts so that each part is about as long as its words take, and so that parts end at
    the text's marks; the best division is found by dynamic programming.
    """
    ends_units = np.concatenate([[0.0], np.cumsum([_units(text) for text in texts])])
    durations = np.array([end - begin for begin, end in parts])
    rate = durations.sum() / ends_units[-1] if is_whole else ms_per_unit
    expected = (ends_units[None] - ends_units[:, None]) * rate  # [first word, word after the last]
    is_some = np.triu(np.ones(expected.shape, bool), 1)
    unmarked = np.array([0.0, *(0.0 if _MARKED.search(text) else UNMARKED_PAUSE for text in texts)])
    best = np.full(len(ends_units), np.inf)
    best[0] = 0.0
    choices = []
    for number, duration in enumerate(durations):
        is_last = number == len(durations) - 1
        off = duration - expected
        if is_last and not is_whole:
            off = np.maximum(off, 0.0)  # it continues
        cost = np.where(is_some, off**2 / (SPREAD_MS * np.maximum(expected, 1.0)), np.inf)
        total = best[:, None] + cost + (0.0 if is_last else unmarked)
        choices.append(total.argmin(axis=0))
        best = total.min(axis=0)
    times = np.zeros((len(texts), 2))
    last = len(texts)
    for (begin, end), choice in zip(reversed(parts), reversed(choices), strict=True):
        first = int(choice[last])
        units = ends_units[first : last + 1] - ends_units[first]
        length = end - begin
        if last == len(texts) and not is_whole:
            length = max(length, units[-1] * rate)
        places = begin + length * units / units[-1]
        times[first:last, 0], times[first:last, 1] = places[:-1], places[1:]
        last = first
    return times


def _units(word: str) -> float:
    """How long the word takes to say, in letters; what is not said takes next to nothing."""
    num_long = len(_LONG.findall(word))
    num_letters = sum(map(str.isalpha, _LONG.sub("", word)))
    return num_letters + LONG_UNITS * num_long + UNITS_PER_WORD if num_letters or num_long else 0.01
