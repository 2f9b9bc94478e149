"""The judge of word times counts only words that were understood, and late times have positive errors."""

import numpy as np

from benchmarks import word_times
from streamer.api import Audio
from streamer.speech.events import SentenceEnded, SentenceStarted, WordTime, WordTimes
from streamer.text.splitting.sentences import Sentence


def test_errors_are_those_of_words_understood():
    """A word that was misheard has no time to compare with; the others keep their own."""
    told = [
        WordTime("Hello,", 0, 300, 0, 6),
        WordTime("dear", 300, 500, 7, 11),
        WordTime("me.", 500, 700, 12, 15),
    ]
    heard = [("hello", 20, 300), ("deer", 300, 500), ("me", 450, 600)]
    errors = word_times.errors_ms(told, heard)
    assert errors == [(-20, 0), (50, 100)]
    assert word_times.summary(errors)["median_ms"] == 35 and word_times.summary([])["median_ms"] is None


def test_errors_in_step_are_those_beside_a_judge_who_is_always_late():
    """A lateness that all words share is the judge's; what differs from word to word is counted."""
    figures = word_times.summary([(-80, -100), (-80, -100), (-50, -100), (-80, -140)])
    assert (figures["begins_late_ms"], figures["ends_late_ms"]) == (-80, -100)
    assert figures["mean_in_step_ms"] == 70 / 8
    assert word_times.summary([(-80, -100)] * 3)["p90_in_step_ms"] == 0


def test_every_estimate_has_every_word_of_every_sentence():
    """The estimates are compared on the same words; words that the first half does not know have no name."""
    audio = Audio(np.full(24_000, 0.3, np.float32), 24_000, seed=0)
    words = word_times.by_letters(Sentence("One two three four.", 0, 19, 0.0, "One two three four."), 0, 1000)
    events = [
        SentenceStarted(0, "One two three four.", 0, 19, 0),
        WordTimes(0, words),
        SentenceEnded(0, 1000),
    ]
    found = word_times.estimates(events, audio)
    assert [len(found[name]) for name in word_times.ESTIMATES] == [4] * 4
    assert found["proportion"][-1].end_ms == 1000 and found["proportion"][0].end_ms == 200
    assert found["first_half"][0].text == "One" and found["first_half"][-1].text == ""


def test_the_teachers_words_begin_and_end_with_their_sounds():
    """Spaces and marks belong to no word; a line that is read with more words than it has is not judged."""
    phonemes = [
        *(("h", 2400, 1200), ("ˈ", 3600, 600), ("I", 4200, 2400), (",", 6600, 1200), (" ", 7800, 2400)),
        *(("j", 10_200, 1200), ("u", 11_400, 1800), (".", 13_200, 6000)),
    ]
    words = word_times.teacher_words("Hi, you.", phonemes)
    assert [(word.text, word.start_ms, word.end_ms) for word in words] == [
        ("Hi,", 100, 275),
        ("you.", 425, 550),
    ]
    assert word_times.teacher_words("Hi.", phonemes) == []
