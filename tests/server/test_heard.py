"""How much text was heard by a moment of the sound."""

from __future__ import annotations

import re
from itertools import count

from streamer.server.heard import HeardWords
from streamer.speech.events import WordTime

TEXT = "One two. Three four."


def _words(text: str, start_ms: int) -> tuple[WordTime, ...]:
    """Half a second each."""
    starts = count(start_ms, 500)
    return tuple(
        WordTime(match.group(), start, start + 500, *match.span())
        for match, start in zip(re.finditer(r"\S+", TEXT), starts, strict=False)
        if match.group() in text
    )


def test_only_whole_words_count() -> None:
    """The position is the end of a word that was heard to its end, and grows with time."""
    words = HeardWords()
    for text in ("One two.", "Three four."):
        words.begin_sentence(tuple)
        words.end_sentence(_words(text, 0))
    heard = [TEXT[: words.until(ms)] for ms in (0, 300, 700, 1000, 1700, 2000, 9000)]
    assert heard == ["", "", "One", "One two.", "One two. Three", TEXT, TEXT]


def test_a_sentence_that_goes_on_is_heard_as_far_as_it_is_known() -> None:
    """Its words are asked for at the moment of the question; once its sound is whole that counts."""
    words = HeardWords()
    words.begin_sentence(tuple)
    words.end_sentence(_words("One two.", 0))
    expected: list[WordTime] = []
    words.begin_sentence(lambda: tuple(expected))
    assert TEXT[: words.until(1600)] == "One two."
    expected += _words("Three four.", 0)
    assert TEXT[: words.until(1600)] == "One two. Three"
    words.end_sentence(_words("Three four.", 600))
    assert TEXT[: words.until(2000)] == "One two."


def test_nothing_is_heard_before_there_is_a_sentence() -> None:
    """An utterance that was stopped at once has said nothing."""
    assert HeardWords().until(1000) == 0
