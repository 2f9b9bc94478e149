"""The verdict on one stop."""

from __future__ import annotations

import pytest

from streamer.text.splitting.punkt import sentence_end_classifier


@pytest.mark.parametrize(
    ("word", "stops", "next_word", "ends"),
    [
        ("there", ".", "how", True),
        ("Dr", ".", "The", False),
        ("U.S", ".", "Senate", False),
        ("U.S", ".", "He", True),
        ("X.Y.Z", ".", "foo", False),
        ("No", ".", "5", False),
        ("No", ".", "Mary", True),
        ("hmm", "…", "What", True),
        ("hmm", "...", "mary", False),
        ("in 2019", ".", "Mary", True),
        ("etc", "?", "mary", True),
    ],
)
def test_verdicts(word: str, stops: str, next_word: str, ends: bool) -> None:
    """Punkt decides by the word before the stop and the one after it."""
    assert sentence_end_classifier("en").ends(word, stops, next_word) is ends


def test_unknown_languages_have_a_judge() -> None:
    """A language without a table is split by the plain rules."""
    assert sentence_end_classifier("xx-YY").ends("word", ".", "Word")


def test_a_certain_verdict_does_not_wait() -> None:
    """Only words whose verdict the next one can change need it whole."""
    judge = sentence_end_classifier("en")
    assert not judge.needs_next_word("there", ".") and not judge.needs_next_word("Dr", ".")
    assert judge.needs_next_word("etc", ".") and judge.needs_next_word("J", ".")
