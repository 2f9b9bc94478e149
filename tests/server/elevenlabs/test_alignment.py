"""Words are given out once, in order, when their beginning is sent, and their times never run backwards."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from streamer.audio.packets import Packet
from streamer.server.elevenlabs.alignment import AlignedChars, WordAligner
from streamer.server.sent_words import REFRESH_MS
from streamer.speech.events import SentenceStarted, WordTime, WordTimes


def timed(text: str, *times_ms: tuple[int, int]) -> tuple[WordTime, ...]:
    """The words of a text at these times."""
    words = text.split() if " " in text else list(text)
    return tuple(WordTime(word, *span, 0, 0) for word, span in zip(words, times_ms, strict=True))


def sentence(text: str, *estimates: Sequence[WordTime], start_ms: int = 0) -> SentenceStarted:
    """A sentence whose words are estimated anew each time; the last estimate stays."""
    rest = list(estimates)
    return SentenceStarted(
        0, text, 0, len(text), start_ms, expected_words=lambda: tuple(rest.pop(0) if rest[1:] else rest[0])
    )


def sent(until_ms: float) -> Packet:
    """A packet of sound that ends at this moment."""
    return Packet(b"x", 0, round(until_ms * 48))


def ended(aligner: WordAligner, words: Sequence[WordTime]) -> AlignedChars:
    """The characters that come with the end of a sentence, which has these words."""
    return aligner.told(WordTimes(0, tuple(words)))


def spans(chars: AlignedChars) -> list[tuple[str, int, int]]:
    return list(zip(chars.chars, chars.starts_ms, chars.ends_ms, strict=True))


def test_a_word_comes_with_the_sound_in_which_it_begins() -> None:
    """Its characters share its time, and the space behind it lasts until the next word."""
    aligner = WordAligner()
    aligner.begin(sentence("ab cd", timed("ab cd", (0, 100), (150, 250))), "")
    assert spans(aligner.told(sent(0))) == []
    assert spans(aligner.told(sent(1))) == [("a", 0, 50), ("b", 50, 100), (" ", 100, 150)]
    assert spans(aligner.told(sent(150))) == []
    assert spans(aligner.told(sent(151))) == [("c", 150, 200), ("d", 200, 250), (" ", 250, 250)]
    assert (
        spans(aligner.told(sent(9_999))) == []
        and spans(ended(aligner, timed("ab cd", (0, 100), (150, 250)))) == []
    )


def test_what_was_given_out_stays_and_the_rest_follows_it() -> None:
    """A word that turns out to be earlier begins where the one before has ended."""
    aligner = WordAligner()
    aligner.begin(sentence("ab cd ef", timed("ab cd ef", (0, 400), (500, 600), (900, 1000))), "")
    assert spans(aligner.told(sent(10)))[-1] == (" ", 400, 500)
    rest = spans(ended(aligner, timed("ab cd ef", (0, 100), (200, 300), (700, 800))))
    assert rest == [
        ("c", 500, 500),
        ("d", 500, 500),
        (" ", 500, 700),
        ("e", 700, 750),
        ("f", 750, 800),
        (" ", 800, 800),
    ]


def test_a_word_that_moves_is_asked_for_again() -> None:
    """By a better estimate it comes later, or sooner, than by the first one."""
    late, early = timed("a b", (0, 10), (800, 900)), timed("a b", (0, 10), (300, 400))
    aligner = WordAligner()
    aligner.begin(sentence("a b", early, early, late), "")
    aligner.told(sent(1))
    assert spans(aligner.told(sent(301))) == []
    aligner = WordAligner()
    aligner.begin(sentence("a b", late, late, early), "")
    aligner.told(sent(1))
    assert spans(aligner.told(sent(REFRESH_MS))) == [] and [
        char for char, *_ in spans(aligner.told(sent(310 + REFRESH_MS)))
    ] == ["b", " "]


@pytest.mark.parametrize(
    ("following", "is_spaced"),
    [("", True), (" ", True), ("\n", True), ("<", True), ("世", False), ("N", False)],
)
def test_a_sentence_ends_with_a_space_unless_the_text_shows_otherwise(
    following: str, is_spaced: bool
) -> None:
    """Scripts without spaces get none between their words either."""
    aligner = WordAligner()
    aligner.begin(sentence("你好。", timed("你好。", (0, 100), (100, 200), (200, 200))), following)
    assert "".join(aligner.told(sent(1_000)).chars) == "你好。" + " " * is_spaced


def test_words_that_are_not_in_the_text_are_spaced() -> None:
    """What a text's markup has said is another word; those behind it are found again."""
    aligner = WordAligner()
    words = timed("ab xx cd", (0, 10), (20, 30), (40, 50))
    aligner.begin(sentence('ab <sub alias="xx">yy</sub> cd', words), "")
    assert "".join(aligner.told(sent(1_000)).chars) == "ab xx cd "


def test_a_cut_sentence_has_the_words_that_were_begun() -> None:
    """The next sentence begins with its own."""
    aligner = WordAligner()
    words = timed("a b c", (0, 10), (20, 30), (40, 50))
    aligner.begin(sentence("a b c", words), "")
    aligner.told(sent(1))
    assert ended(aligner, words[:2]).chars == ["b", " "] and ended(aligner, words[:1]).chars == []
    aligner.begin(sentence("d", timed("d", (60, 70))), "")
    assert spans(aligner.told(sent(61))) == [("d", 60, 70), (" ", 70, 70)]
