"""The turns of the acceptance tests are such that a sentence shows which turn it is of."""

from __future__ import annotations

from tests.clients.turns import TURNS


def test_no_word_belongs_to_two_turns() -> None:
    """There are ten turns, of which three are interrupted; each word is said in one of them."""
    words = [word for turn in TURNS for word in set(turn.words)]
    assert sorted(words) == sorted(set(words))
    assert len(TURNS) == 10 and sum(turn.is_interrupted for turn in TURNS) == 3
