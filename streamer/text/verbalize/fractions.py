"""Reads fractions: `1/2`, `1½`, `3/4 tsp`; a kind of `numbers`."""

from __future__ import annotations

import re
from typing import Final

from streamer.text.verbalize.kinds import MINUS, Kind
from streamer.text.verbalize.languages import FEMININE, MASCULINE, NUMBERING
from streamer.text.verbalize.spelling import ENGLISH_ORDINAL, Speller
from streamer.text.verbalize.units import alternatives, unit_symbols, with_unit

_NEUTER: Final = "spellout-cardinal-neuter"
_MASCULINE_ORDINAL: Final = "spellout-ordinal-masculine"
_BEYOND_TENTHS: Final = (12, 16, 32, 64)
"""These English denominators above nine name a part; others are a share (`8/10`) or a ratio (`120/80`)."""
_SHARES: Final = (10, 20, 25, 50, 100)
_FULL_MARKS: Final = (5, 10, 100)
"""`10/10` is all that can be had; `50/50` and `20/20` are said side by side."""
_SIDE_BY_SIDE: Final = ((24, 7), (9, 11))


def fraction_kind(speller: Speller) -> Kind:
    """Return the kind of a fraction, with a whole number before it or a unit behind it."""
    return Kind(
        rf"{MINUS}(?<![\w./,:])(?:(?P<whole>[0-9]{{1,4}}) )?(?P<above>[0-9]{{1,4}})[/⁄](?P<below>[0-9]{{1,4}})"
        rf"(?![0-9/]|[.,][0-9])(?:rds?|ths?)?(?: ?(?P<unit>{alternatives(unit_symbols(speller))})(?![\w^/]))?",
        FractionReader(speller).fraction,
        behind=" /⁄",
    )


class FractionReader:
    """A `FractionReader` says fractions in one language."""

    def __init__(self, speller: Speller) -> None:
        self._speller = speller
        self._symbols = unit_symbols(speller)

    def fraction(self, match: re.Match[str]) -> str:
        """Say a fraction with its unit."""
        speller = self._speller
        whole, above, below = match["whole"], match["above"], match["below"]
        minus = speller.minus if match["minus"] else ""
        words = self._mixed(whole, above, below) if whole else self._simple(above, below)
        if not match["unit"]:
            return minus + words
        # The unit's form: one half kilometer, one and a half kilometers.
        number = f"{whole}5" if whole else "1" if speller.language == "en" else "0"
        return with_unit(speller, self._symbols[match["unit"]], number, minus, words)

    def _mixed(self, whole: str, above: str, below: str) -> str:
        speller, words = self._speller, self._speller.words
        said = words.fractions.get(f"{whole} {above}/{below}")
        if said is not None:
            return said
        fraction = self._simple(above, below)
        if int(above) >= int(below):  # two numbers, by chance side by side
            return f"{speller.say(whole)}{speller.gap or '、'}{fraction}"
        template = words.mixed_half if (above, below) == ("1", "2") and words.mixed_half else words.mixed
        return template.format(
            speller.say(whole, _NEUTER if speller.language == "de" else NUMBERING), fraction
        )

    def _simple(self, above: str, below: str) -> str:
        words = self._speller.words.fractions.get(f"{above}/{below}")
        if words is not None:
            return words
        n, d = int(above), int(below)
        if self._speller.language == "en":
            return self._in_english(n, d)
        if above[0] == "0" or d < 2:
            return f"{self._speller.whole(above)} / {self._speller.whole(below)}"
        number, name = self._parts(n, d)
        return self._speller.words.fraction.format(n=number, d=name)

    def _parts(self, n: int, d: int) -> tuple[str, str]:
        """Return the numerator, and the denominator as the language names parts."""
        speller = self._speller
        match speller.language:
            case "de":
                return speller.cardinal(n, _NEUTER), f"{speller.ordinal(d, 'spellout-ordinal')}l".capitalize()
            case "fr":
                name = speller.ordinal(d, _MASCULINE_ORDINAL)
                return speller.cardinal(n, MASCULINE), name + ("s" if n > 1 else "")
            case "es" | "pt":
                if d > 10:
                    return speller.cardinal(n), f"sobre {speller.cardinal(d)}"
                name = speller.ordinal(d, _MASCULINE_ORDINAL)
                return speller.cardinal(n, MASCULINE), name + ("s" if n > 1 else "")
            case "it":
                name = speller.ordinal(d, _MASCULINE_ORDINAL + ("-plural" if n > 1 else ""))
                return speller.cardinal(n, MASCULINE), name
            case "ru":
                is_one = n % 10 == 1 and n % 100 != 11
                rules = "spellout-ordinal-feminine" if is_one else "spellout-ordinal-plural-genitive"
                return speller.cardinal(n, FEMININE), speller.ordinal(d, rules)
            case "tr":
                return speller.cardinal(n), _turkish_locative(speller.cardinal(d))
        return speller.cardinal(n), speller.cardinal(d)

    def _in_english(self, n: int, d: int) -> str:
        """Say two thirds; nine eleven; eight out of ten; one hundred and twenty over eighty."""
        speller = self._speller
        above, below = speller.cardinal(n), speller.cardinal(d)
        if 1000 < n < 2100 and d == (n + 1) % 100:  # a season, a school year
            return f"{speller.year(str(n))} {below}"
        if (n == d and d not in _FULL_MARKS) or (n, d) in _SIDE_BY_SIDE:
            return f"{above} {below}"
        if 0 < n < 100 and n != d and d > 1 and (d < 10 or d in _BEYOND_TENTHS or n == 1):
            one, many = {2: ("half", "halves"), 4: ("quarter", "quarters")}.get(d, ("", ""))
            name = one or speller.ordinal(d, ENGLISH_ORDINAL)
            return f"{above} {name if n == 1 else many or f'{name}s'}"
        return f"{above} {'out of' if d in (*_SHARES, *_FULL_MARKS) and 0 < n <= d else 'over'} {below}"


def _turkish_locative(word: str) -> str:
    """Return the form that a denominator takes in Turkish: `beş`, `beşte` (in five parts)."""
    vowel = next((letter for letter in reversed(word) if letter in "aıoueiöü"), "e")
    return word + ("t" if word[-1] in "çfhkpsşt" else "d") + ("a" if vowel in "aıou" else "e")
