"""Words are given out once, in order, with the sound in which they begin, whatever becomes of their estimates."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streamer.audio.packets import Packet
from streamer.server.sent_words import REFRESH_MS, SentWords
from streamer.speech.events import Flushed, SentenceEnded, SentenceStarted, SpeechEvent, WordTime, WordTimes

Span = tuple[str, int, int]


def timed(*spans: Span) -> tuple[WordTime, ...]:
    return tuple(WordTime(*span, 0, 0) for span in spans)


def sentence(*estimates: Sequence[WordTime], start_ms: int = 0) -> SentenceStarted:
    """A sentence whose words are estimated again each time; the last estimate stays."""
    rest = list(estimates)
    return SentenceStarted(
        0, "", 0, 0, start_ms, expected_words=lambda: tuple(rest.pop(0) if rest[1:] else rest[0])
    )


def sent(until_ms: float) -> Packet:
    """A packet of sound that ends at this moment."""
    return Packet(b"x", 0, round(until_ms * 48))


def told(words: SentWords, event: SpeechEvent) -> list[Span]:
    return [(word.text, word.start_ms, word.end_ms) for word in words.told(event)]


@pytest.mark.parametrize(
    ("until_ms", "expected"),
    [
        (0, []),
        (1, ["a"]),
        (100, ["a"]),
        (101, ["a", "b"]),
        (300, ["a", "b"]),
        (301, ["a", "b", "c"]),
        (9_999, ["a", "b", "c"]),
    ],
)
def test_a_word_comes_with_the_sound_in_which_it_begins(until_ms: float, expected: list[str]) -> None:
    """A packet brings those that begin before its end, and a second one brings none of them again."""
    words = SentWords()
    assert told(words, sentence(timed(("a", 0, 90), ("b", 100, 200), ("c", 300, 400)))) == []
    assert [text for text, *_ in told(words, sent(until_ms))] == expected
    assert told(words, sent(until_ms)) == []
    assert [word.text for word in words.upcoming] == ["a", "b", "c"][len(expected) :]


def test_what_was_given_out_stays_and_the_rest_follows_it() -> None:
    """A word that turns out to be earlier does not begin before the one that was given out before it."""
    words = SentWords()
    words.told(sentence(timed(("a", 100, 400), ("b", 500, 600), ("c", 700, 800))))
    assert told(words, sent(110)) == [("a", 100, 400)]
    rest = WordTimes(0, timed(("a", 0, 50), ("b", 60, 90), ("c", 200, 300)))
    assert told(words, rest) == [("b", 100, 100), ("c", 200, 300)]


def test_an_estimate_is_asked_for_again_when_its_word_is_due_or_after_a_while() -> None:
    """A better one comes later, or sooner, than the first one said; words at their old times cost nothing."""
    early, late = timed(("a", 300, 400)), timed(("a", 800, 900))
    words = SentWords()
    words.told(sentence(early, late))
    assert told(words, sent(301)) == []
    words = SentWords()
    words.told(sentence(late, early))
    assert told(words, sent(REFRESH_MS - 1)) == []
    assert told(words, sent(REFRESH_MS + 60)) == [("a", 300, 400)]


@pytest.mark.parametrize("num_spoken", [0, 1, 2, 3])
def test_a_cut_sentence_has_the_words_that_were_begun(num_spoken: int) -> None:
    """The next sentence begins with its own."""
    spans = (("a", 0, 10), ("b", 20, 30), ("c", 40, 50))
    words = SentWords()
    words.told(sentence(timed(*spans)))
    assert told(words, sent(1)) == [spans[0]]
    assert told(words, WordTimes(0, timed(*spans[:num_spoken]))) == [*spans[1:num_spoken]]
    words.told(sentence(timed(("d", 60, 70)), start_ms=60))
    assert told(words, sent(61)) == [("d", 60, 70)]


@pytest.mark.parametrize("event", [Flushed(None), SentenceEnded(0, 10)])
def test_other_events_bring_no_words(event: SpeechEvent) -> None:
    words = SentWords()
    assert told(words, sent(100)) == []
    words.told(sentence(timed(("a", 0, 10))))
    assert told(words, event) == []
    assert told(words, sent(1)) == [("a", 0, 10)]
