"""Roman numerals in words."""

from __future__ import annotations

import pytest

from streamer.text.verbalize.normalize import normalize


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("King Henry VIII", "King Henry the eighth"),
        ("Louis XIV, Louis XVI's, George V", "Louis the fourteenth, Louis the sixteenth's, George the fifth"),
        ("Pope John Paul II, Elizabeth II", "Pope John Paul the second, Elizabeth the second"),
        ("Queen Elizabeth I was", "Queen Elizabeth the first was"),
        ("World War II, WORLD WAR II", "World War two, WORLD WAR two"),
        ("Chapter IV, Part III, Act I", "Chapter four, Part three, Act one"),
        ("Rocky IV, Apollo XI", "Rocky four, Apollo eleven"),
        ("Super Bowl LVIII", "Super Bowl fifty eight"),
        ("the XIX century, the XIXth century", "the nineteenth century, the nineteenth century"),
        ("in MCMXCIX", "in nineteen ninety nine"),
    ],
)
def test_roman_numerals_are_read_where_something_shows_them(written: str, said: str) -> None:
    """Numerals are ordinals behind rulers' names and cardinals behind what is counted."""
    assert normalize(written) == said


@pytest.mark.parametrize(
    "text",
    [
        "Then I left.",
        "When Charles I saw was gone",
        "The MIX is CIVIL.",
        "Malcolm X spoke.",
        "vitamin C",
        "Plan B",
        "The IV drip",
    ],
)
def test_words_and_letters_stay(text: str) -> None:
    """What could be a numeral and is a word, a pronoun or an initial is left alone."""
    assert normalize(text) == text
