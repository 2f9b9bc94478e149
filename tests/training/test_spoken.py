"""What the teacher said is cut into the parts that the server asks the semantic model for."""

from __future__ import annotations

import random

import numpy as np
import pytest

from training import spoken
from training.pronunciation import PIECE
from training.recipe import TEXT_CONTEXT
from training.spoken import Cutter, Spoken


def said(text: str, tokens_per_sign: int = 2) -> Spoken:
    """An utterance whose every piece has one sign per character, and whose token n is n."""
    pieces = [list(piece) for piece in PIECE.findall(text.lower())]
    num_signs = sum(map(len, pieces))
    places = np.arange(num_signs).repeat(tokens_per_sign).astype(np.int16)
    semantic = np.arange(len(places)).astype(np.int16)
    codes = np.broadcast_to(np.arange(len(places) * 3 // 2), (8, len(places) * 3 // 2)).astype(np.int16)
    return Spoken(text, pieces, semantic, places, codes, "kumo")


def parts(item: Spoken, chance: random.Random | None = None) -> list[Spoken]:
    return list(Cutter(len).parts(item, chance or NoClauses()))


class NoClauses(random.Random):
    """Never cuts a sentence into clauses."""

    def random(self) -> float:
        return 0.99


class AllClauses(random.Random):
    """Always cuts a sentence into clauses."""

    def random(self) -> float:
        return 0.0


def heard(part: Spoken) -> str:
    """The signs that the part's tokens say, each once."""
    signs = [sign for piece in part.pieces for sign in piece]
    return "".join(signs[place] for place in dict.fromkeys(part.places.tolist()))


@pytest.mark.parametrize(
    "text",
    ["Go now.", "Go now. Come back!", "Is it? Yes; it is. Good…", 'He said "go." Then he went.', "A. B. C."],
)
def test_each_sentence_is_a_part_of_its_own(text: str) -> None:
    """The parts are the sentences in order, every token is in one of them, and each says its own text."""
    found = parts(said(text))
    ends = text.lower().replace(". ", ".|").replace("! ", "!|").replace("? ", "?|").replace('." ', '."|')
    assert [part.text for part in found] == ends.split("|")
    assert np.concatenate([part.semantic for part in found]).tolist() == said(text).semantic.tolist()
    assert np.concatenate([part.codes for part in found], axis=1).tolist() == said(text).codes.tolist()
    for part in found:
        assert PIECE.findall(part.text + " ")[: len(part.pieces) - 1] == [
            "".join(p) for p in part.pieces[:-1]
        ]
        assert heard(part).rstrip() == part.text


def test_a_part_knows_what_was_said_before_it() -> None:
    """The first part has nothing before it; the others have all tokens up to their own."""
    first, second = parts(said("Go now. Come back."))
    assert first.before is None
    assert second.before is not None and second.before.tolist() == list(range(int(second.semantic[0])))


def test_a_sentence_that_is_too_long_is_cut_at_a_mark_near_its_middle() -> None:
    """No part is longer than the model's context, and a comma near the middle is preferred to a space."""
    text = (
        "a walk in the park is what she wanted to have for all of the morning, "
        "but then it rained so hard that she went home at once to read."
    )
    assert len(text) > TEXT_CONTEXT
    found = parts(said(text))
    assert [part.text for part in found] == [text[: text.index(",") + 1], text[text.index(",") + 2 :]]
    found = parts(said(text.replace(",", "")))
    assert len(found) == 2 and all(len(part.text) <= TEXT_CONTEXT for part in found)
    assert " ".join(part.text for part in found) == text.replace(",", "")


def test_a_sentence_that_lasts_too_long_is_cut_even_if_its_text_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A part has at most `LONGEST_PART` tokens."""
    monkeypatch.setattr(spoken, "LONGEST_PART", 40)
    found = parts(said("one two three four five six seven", tokens_per_sign=4))
    assert len(found) > 1 and all(len(part.semantic) <= 40 for part in found)
    assert " ".join(part.text for part in found) == "one two three four five six seven"


def test_clauses_stand_alone_beside_the_whole() -> None:
    """A sentence with a comma is there whole, and also as what is before and behind the comma."""
    found = [part.text for part in parts(said("With a light wind, they set sail again."), AllClauses(0))]
    assert found == ["with a light wind, they set sail again.", "with a light wind,", "they set sail again."]


def test_pieces_that_are_not_the_texts_are_an_error() -> None:
    """The teacher's rows must be those of the text."""
    item = said("Go now.")
    item.pieces.pop()
    with pytest.raises(ValueError, match=r"'Go now.' has 4 pieces, but the teacher was given 3"):
        parts(item)
