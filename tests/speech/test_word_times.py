"""Words are told by the model or found by the pauses in its sound, which is tones and silences here."""

from __future__ import annotations

import random
import re
from itertools import pairwise

import numpy as np
import pytest

from streamer.audio.samples import Samples
from streamer.speech.events import WordTime
from streamer.speech.word_times import SpokenWords
from streamer.synthesis import SaidWord
from streamer.text.splitting.sentences import Sentence

RATE_HZ = 24_000
START_MS = 700


def _sound(*lengths_ms: int) -> Samples:
    """Tone, silence, tone, ... float32 [num_samples]"""
    pieces = [
        (0.3 if number % 2 == 0 else 0.001) * np.sin(0.06 * np.arange(length_ms * RATE_HZ // 1000))
        for number, length_ms in enumerate(lengths_ms)
    ]
    return np.concatenate(pieces).astype(np.float32)


def _spoken(text: str, *pieces: Samples, spoken_text: str | None = None) -> SpokenWords:
    words = SpokenWords(Sentence(text, 5, 5 + len(text), 0.25, spoken_text or text), START_MS, RATE_HZ)
    for piece in pieces:
        words.add(piece)
    return words


def _whole(text: str, sound: Samples) -> tuple[WordTime, ...]:
    return _spoken(text, sound).whole(START_MS + len(sound) * 1000 // RATE_HZ)


def _times(words: tuple[WordTime, ...]) -> list[int]:
    return [time for word in words for time in (word.start_ms, word.end_ms)]


def test_a_pause_is_where_the_text_has_a_mark() -> None:
    """Though the second part is much longer than its letters' share, the comma decides."""
    words = _whole("Yes indeed, he will be there.", _sound(500, 400, 1500))
    assert [(word.text, word.end_ms - START_MS) for word in words][1] == ("indeed,", 500)
    assert words[2].start_ms - START_MS == 900 and words[-1].end_ms - START_MS == 2400


def test_of_two_marks_the_one_that_fits_the_length_has_the_pause() -> None:
    """A speaker may pass over a comma."""
    early, late = _sound(300, 300, 1700), _sound(1700, 300, 300)
    text = "Well, to be honest I am not sure, no."
    assert _whole(text, early)[1].start_ms - START_MS == 600
    assert _whole(text, late)[-1].start_ms - START_MS == 2000


def test_a_short_silence_is_no_pause() -> None:
    """Before a `t` the mouth is closed; such a moment moves no word."""
    quiet, short = _whole("A little better.", _sound(1000)), _whole("A little better.", _sound(500, 100, 400))
    assert _times(quiet) == _times(short)


def test_silence_around_the_words_belongs_to_none() -> None:
    """The first word begins with the sound, and the last ends with it."""
    words = _whole("So be it.", np.concatenate([0 * _sound(200), _sound(600, 300)]))
    assert (words[0].start_ms, words[-1].end_ms) == (START_MS + 200, START_MS + 800)


def test_long_words_and_digits_take_longer() -> None:
    """A share of the time by what is said, not by the number of words."""
    words = _whole("a telephone 2024 no", _sound(2000))
    lengths = [word.end_ms - word.start_ms for word in words]
    assert lengths[2] >= lengths[1] > lengths[3] > lengths[0]


def test_signs_of_a_syllable_are_words_of_their_own() -> None:
    """In a script without spaces an interruption is told to the sign."""
    words = _whole("你好，世界 ok", _sound(900))
    assert [word.text for word in words] == ["你", "好，", "世", "界", "ok"]
    assert [(word.char_start, word.char_end) for word in words][1:3] == [(6, 8), (8, 9)]


@pytest.mark.parametrize("seed", range(20))
def test_times_rise_cover_all_words_and_do_not_depend_on_chunks(seed: int) -> None:
    """For any text and sound: inside the sentence, in order, every word; chunked as whole."""
    draw = random.Random(seed)
    tokens = ["I", "see,", "wonderful", "—", "…", "2024", "¿no?", "a;", "界面", "[laughs]", "été."]
    text = " ".join(draw.choices(tokens, k=draw.randint(1, 30)))
    sound = _sound(*(draw.randint(1, 600) for _ in range(draw.randint(1, 40))))
    end_ms = START_MS + len(sound) * 1000 // RATE_HZ
    whole = _whole(text, sound)
    assert "".join(word.text for word in whole) == "".join(text.split())
    assert all(text[word.char_start - 5 : word.char_end - 5] == word.text for word in whole)
    times = _times(whole)
    assert times == sorted(times) and times[0] >= START_MS and times[-1] <= end_ms
    cuts = sorted(draw.sample(range(len(sound)), k=min(9, len(sound))))
    spoken = _spoken(text, *np.split(sound, cuts))
    assert spoken.whole(end_ms) == whole
    for words in (spoken.expected(), spoken.until_cut(end_ms)):
        assert _times(words) == sorted(_times(words))
    assert max(_times(spoken.until_cut(end_ms)), default=0) <= end_ms


def test_what_is_past_is_known_before_the_sound_is_whole() -> None:
    """Behind a pause the first words already have their final times; those to come are guessed."""
    text = "Yes indeed, he will be there."
    words = _spoken(text, _sound(500, 400, 200)).expected()
    assert words[1].end_ms - START_MS == 500 and words[2].start_ms - START_MS == 900
    assert len(words) == 6 and words[-1].end_ms > START_MS + 1100


def test_before_the_first_sound_all_words_are_still_to_come() -> None:
    """None is heard yet, and none is missing."""
    words = _spoken("Hello there.").expected()
    assert words[0].start_ms == START_MS and all(word.end_ms > START_MS for word in words)


def test_a_slow_speaker_is_not_ahead_of_his_sound() -> None:
    """If the sound continues longer than was guessed, the last word ends no sooner than the sound."""
    assert _spoken("Oh.", _sound(3000)).expected()[-1].end_ms == START_MS + 3000


def test_a_cut_sound_has_the_words_that_were_begun() -> None:
    """What was not said is not among its words."""
    sound = _sound(600)
    words = _spoken("This is much more than can be said in such a moment.", sound).until_cut(START_MS + 600)
    assert 0 < len(words) < 6 and words[-1].end_ms <= START_MS + 600
    assert words[0].text == "This"


def test_a_sentence_without_sound_has_its_words_all_the_same() -> None:
    """A model may have nothing to say for them."""
    words = _spoken("Hm hm.").whole(START_MS)
    assert _times(words) == [START_MS] * 4


def test_text_that_says_nothing_needs_no_time() -> None:
    """A lone dash between words takes none of theirs."""
    words = _whole("One – two", _sound(1000))
    assert words[1].end_ms - words[1].start_ms <= 2


def _said(spoken_text: str, *times_s: tuple[float, float]) -> list[SaidWord]:
    """The first words of `spoken_text`, at these times."""
    spans = [match.span() for match in re.finditer(r"\S+", spoken_text)]
    return [SaidWord(*span, *time) for span, time in zip(spans, times_s, strict=False)]


def _told(text: str, spoken_text: str, *times_s: tuple[float, float], left_out_s: float = 0.0) -> SpokenWords:
    words = _spoken(text, _sound(3000), spoken_text=spoken_text)
    words.tell(_said(spoken_text, *times_s), left_out_s)
    return words


def _in_s(words: tuple[WordTime, ...]) -> list[tuple[str, float, float]]:
    return [(word.text, (word.start_ms - START_MS) / 1000, (word.end_ms - START_MS) / 1000) for word in words]


ONE, TWO, THREE, FOUR, FIVE = (0.1, 0.4), (0.5, 0.8), (0.8, 1.2), (1.5, 2.0), (2.0, 2.4)


@pytest.mark.parametrize(
    ("text", "spoken_text", "expected"),
    [
        ("So it is.", "So it is.", [("So", *ONE), ("it", *TWO), ("is.", *THREE)]),
        (
            "It costs $12.50 now.",
            "It costs twelve fifty now.",
            [("It", *ONE), ("costs", *TWO), ("$12.50", 0.8, 2.0), ("now.", *FIVE)],
        ),
        ("5% more", "five percent more", [("5%", 0.1, 0.8), ("more", *THREE)]),
        ("It is 8", "It is eight", [("It", *ONE), ("is", *TWO), ("8", *THREE)]),
        ("“Dr.” Who", "doctor Who", [("“Dr.”", *ONE), ("Who", *TWO)]),
        ("So - no", "So no", [("So", *ONE), ("-", 0.4, 0.4), ("no", *TWO)]),
        ("A 3-4 B", "A three to four B", [("A", *ONE), ("3-4", 0.5, 2.0), ("B", *FIVE)]),
        ("no no no", "no no no", [("no", *ONE), ("no", *TWO), ("no", *THREE)]),
    ],
)
def test_what_the_model_tells_is_told_of_the_written_words(
    text: str, spoken_text: str, expected: list[tuple[str, float, float]]
) -> None:
    """A number has the time of all the words that are said in its place; the sound's pauses do not matter."""
    words = _told(text, spoken_text, ONE, TWO, THREE, FOUR, FIVE)
    assert not words.is_estimated
    assert _in_s(words.whole(START_MS + 3000)) == expected


def test_words_that_share_a_number_share_its_time() -> None:
    """Several written words for which others are said divide their time by what is said."""
    words = _in_s(_told("At 5 30 pm", "At half past five", ONE, TWO, THREE, FOUR).whole(START_MS + 3000))
    assert [word for word, _, _ in words] == ["At", "5", "30", "pm"]
    assert words[1][1] == 0.5 and words[3][2] == 2.0
    assert all(earlier[2] == later[1] for earlier, later in pairwise(words[1:]))


@pytest.mark.parametrize("left_out_s", [0.05, 0.1, 0.3])
def test_silence_that_was_left_out_moves_the_words(left_out_s: float) -> None:
    """The model counts from where its own sound begins; a word never begins before the sentence."""
    words = _in_s(
        _told("So it is", "So it is", ONE, TWO, THREE, left_out_s=left_out_s).whole(START_MS + 3000)
    )
    assert words[0][1] == pytest.approx(max(0.0, 0.1 - left_out_s), abs=1e-3)
    assert words[2][2] == pytest.approx(1.2 - left_out_s, abs=1e-3)


def test_words_that_are_not_told_yet_are_guessed_behind_those_that_are() -> None:
    """While the sentence is made the first words have their final times, and the others come later."""
    for num_told in range(4):
        words = _told("So it is then", "So it is then", *(ONE, TWO, THREE)[:num_told])
        found = _in_s(words.expected())
        assert [time[1:] for time in found[:num_told]] == [ONE, TWO, THREE][:num_told]
        assert len(found) == 4 and found[-1][2] > found[max(0, num_told - 1)][1]
        assert _times(words.expected()) == sorted(_times(words.expected()))


def test_words_that_a_cut_sentence_did_not_come_to_have_no_time() -> None:
    """What the model tells at the end of the sound is all that was said, and it lies in the sound."""
    words = _told("So it is $5.20 then", "So it is five twenty then", ONE, TWO, THREE, FOUR)
    assert [word.text for word in words.whole(START_MS + 3000)] == ["So", "it", "is"]
    assert words.whole(START_MS + 600)[-1].end_ms == START_MS + 600
    assert [word.text for word in words.until_cut(START_MS + 600)] == ["So", "it"]
