"""How much text was heard by a moment of the sound."""

from __future__ import annotations

from streamer.server.heard import SpokenSentence, heard_until

TEXT = "One two. Three four."


def _sentences(*, is_second_complete: bool) -> list[SpokenSentence]:
    return [
        SpokenSentence("One two.", 0, 8, 0, 1000, is_complete=True),
        SpokenSentence("Three four.", 9, 20, 1000, 2000, is_complete=is_second_complete),
    ]


def test_only_whole_words_count() -> None:
    """The position is the end of a word that was heard to its end, and grows with time."""
    sentences = _sentences(is_second_complete=True)
    heard = [TEXT[: heard_until(sentences, ms)] for ms in (0, 300, 700, 1000, 1700, 2000, 9000)]
    assert heard == ["", "", "One", "One two.", "One two. Three", TEXT, TEXT]


def test_a_sentence_still_being_made_is_not_heard_whole() -> None:
    """While the rest of its sound is unknown, its end is a guess that is not before what was sent."""
    assert TEXT[: heard_until(_sentences(is_second_complete=False), 1600)] == "One two. Three"
    assert heard_until([], 1000) == 0
