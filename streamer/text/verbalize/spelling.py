"""Counts in one language: cardinals, ordinals, years, decimals and digits in words; under the readers of `numbers`.

The rules are Unicode's (CLDR's spell-out rules, run by `unicode_rbnf`).
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Final

from unicode_rbnf import RbnfEngine
from unicode_rbnf.engine import RbnfError

from streamer.text.verbalize.languages import NUMBERING, WORDS

ENGLISH_ORDINAL: Final = "spellout-ordinal-verbose"
MAX_COUNTED_DIGITS: Final = 18
"""Longer numbers are read digit by digit."""
NARROW_SPACES: Final = "\u00a0\u2009\u202f"
_GROUPING: Final = re.compile(rf"[ '’{NARROW_SPACES}]")
POLISH_CASES: Final = {"genitive": ("iego", "ego"), "locative": ("im", "ym"), "nominative": ("i", "y")}
"""Names of our own rules for Polish ordinals, which CLDR lacks, and the endings they put for -iego and -ego."""
_POLISH_ORDINALS: Final = (
    "", "pierwszego", "drugiego", "trzeciego", "czwartego", "piątego", "szóstego", "siódmego", "ósmego", "dziewiątego",
    "dziesiątego", "jedenastego", "dwunastego", "trzynastego", "czternastego", "piętnastego", "szesnastego",
    "siedemnastego", "osiemnastego", "dziewiętnastego",
)  # fmt: skip
_POLISH_TENS: Final = (
    "", "", "dwudziestego", "trzydziestego", "czterdziestego", "pięćdziesiątego", "sześćdziesiątego",
    "siedemdziesiątego", "osiemdziesiątego", "dziewięćdziesiątego",
)  # fmt: skip
_ENGLISH_SCALES: Final = tuple(
    (1000**power, name) for power, name in enumerate(("thousand", "million", "billion", "trillion"), 1)
)[::-1]
_DEFAULT_RULES: Final = {"en": "spellout-numbering-verbose", "ko": "spellout-cardinal-sinokorean"}
_WITHOUT_GAPS: Final = ("ja", "ko", "zh")


class Speller:
    """A `Speller` says the numbers of one language, a key of `WORDS`."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.words = WORDS[language]
        self.gap = "" if language in _WITHOUT_GAPS else " "
        """What stands between a number and the word behind it."""
        self.point = "." if self.words.comma_groups else ","
        """The decimal sign, as it is written."""
        self.to = f"{self.gap}{self.words.to}{' ' if self.words.to and self.words.has_spaces else ''}"
        """What stands between the two ends of a range."""
        self._engine = RbnfEngine.for_language(language)
        self._rulesets = frozenset(self._engine.rulesets)
        self._count = lru_cache(maxsize=4096)(self._count_anew)
        self._default_rules = _DEFAULT_RULES.get(language, NUMBERING)
        self.minus = self._count_anew(-1, NUMBERING).removesuffix(self._count_anew(1, NUMBERING))
        self.number = _number_pattern(self.words.comma_groups, self.words.space_groups)
        """A pattern, without groups, for a number with its separators."""

    def cardinal(self, number: int, rules: str = NUMBERING) -> str:
        """Return a number in words, by `rules` if the language has them."""
        return self._count(number, rules)

    def ordinal(self, number: int, rules: str) -> str:
        """Return the number's place in a row, by `rules`."""
        if rules in POLISH_CASES:
            return self._polish_ordinal(number, rules)
        return self._count(number, rules)

    def digits(self, digits: str) -> str:
        """Say the digits one by one; anything else is passed over."""
        return self.gap.join(self._count(int(digit), NUMBERING) for digit in digits if digit.isdecimal())

    def year(self, digits: str) -> str:
        """Return a year in words."""
        if digits[0] == "0" or self.language == "zh":
            return self.digits(digits)
        return self.ordinal(int(digits), self.words.year_rules)

    def say(self, number: str, rules: str = NUMBERING) -> str:
        """Return a number, as it is written, in words: `1,250.5`, `.5`, `007`."""
        whole, decimals = self.split(number)
        words = self.whole(whole, rules) if whole else ""
        if not decimals:
            return words
        return self.gap.join(filter(None, (words, self.words.point, self.digits(decimals))))

    def whole(self, digits: str, rules: str = NUMBERING) -> str:
        """Count a row of digits, or read it digit by digit if it is too long or begins with a zero."""
        if len(digits) > MAX_COUNTED_DIGITS or (len(digits) > 1 and digits[0] == "0"):
            return self.digits(digits)
        words = self._count(int(digits), rules)
        return self.digits(digits) if any(map(str.isdecimal, words)) else words

    def value(self, number: str) -> Decimal:
        """Return what a number is worth, for its plural form."""
        whole, decimals = self.split(number)
        value = Decimal(f"{whole[-MAX_COUNTED_DIGITS:] or 0}.{decimals[:MAX_COUNTED_DIGITS] or 0}")
        return value if decimals else Decimal(int(value))

    def split(self, number: str) -> tuple[str, str]:
        """Return the digits before the decimal sign and behind it, whatever separates groups."""
        number = _GROUPING.sub("", number)
        position = max(number.rfind("."), number.rfind(","))
        if position < 0:
            return number, ""
        mark, whole, decimals = number[position], number[:position], number[position + 1 :]
        others = [sign for sign in whole if sign in ".,"]
        groups = mark == ("," if self.words.comma_groups else ".")
        is_group = mark in others or (
            not others and groups and len(decimals) == 3 and 1 <= len(whole) <= 3 and whole != "0"
        )
        digits = re.sub("[.,]", "", whole)
        return (digits + decimals, "") if is_group else (digits, decimals)

    def _polish_ordinal(self, number: int, case: str) -> str:
        hundreds, rest = number // 100 * 100, number % 100
        if not rest:
            return self._count(number, NUMBERING)
        small = rest < len(_POLISH_ORDINALS)
        words = [_POLISH_ORDINALS[rest]] if small else [_POLISH_TENS[rest // 10], _POLISH_ORDINALS[rest % 10]]
        soft, hard = POLISH_CASES[case]
        words = [
            word.removesuffix("iego") + soft if word.endswith("iego") else word.removesuffix("ego") + hard
            for word in words
            if word
        ]
        return " ".join([self._count(hundreds, NUMBERING)] * bool(hundreds) + words)

    def _english(self, number: int) -> str:
        """As CLDR's rules, which take a hundred times as long for a number that was not counted before."""
        scale, name = next((scale, name) for scale, name in _ENGLISH_SCALES if number >= scale)
        count, rest = divmod(number, scale)
        words = f"{self._count(count, NUMBERING)} {name}"
        return f"{words} {'and ' if rest < 100 else ''}{self._count(rest, NUMBERING)}" if rest else words

    def _count_anew(self, number: int, rules: str) -> str:
        if rules == NUMBERING or rules not in self._rulesets:
            rules = self._default_rules
        if rules == _DEFAULT_RULES["en"] and 1000 <= number < 1000 * _ENGLISH_SCALES[0][0]:
            return self._english(number)
        try:
            words = self._engine.format_number(number, ruleset_names=[rules]).text
        except (RbnfError, RecursionError):  # it computes with floats, which round 10**17 - 1 up
            return str(number)
        # The built-in voice was trained on words without hyphens and commas.
        return (
            words.replace("-", " ").replace(",", "") if self.language == "en" else words.replace("\u00ad", "")
        )


@lru_cache(maxsize=16)
def speller(language: str) -> Speller:
    """Return the language's speller; it reads its rules at the first call (some 10 ms)."""
    return Speller(language)


def _number_pattern(has_comma_groups: bool, has_space_groups: bool) -> str:
    """Return a pattern that never begins inside a number and never gives back what it took, to stay linear."""
    group, point = (",", r"\.") if has_comma_groups else (r"\.", ",")
    decimals = rf"(?:{point}[0-9]+)?" if has_comma_groups else "(?:[.,][0-9]+)?"
    spaced = "(?: [0-9]{3})+" if has_space_groups else "(?: [0-9]{3}){2,}|(?: 000)+"
    patterns = (
        rf"[0-9]+(?![., '’{NARROW_SPACES}]?[0-9])",  # most numbers
        rf"[0-9]{{1,3}}(?:{group}[0-9]{{3}})+(?![0-9])(?:{point}[0-9]+)?",
        r"[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}(?![0-9])(?:\.[0-9]+)?",
        rf"[0-9]{{1,3}}(?:{point}[0-9]{{3}})+(?:{group}[0-9]{{1,2}}(?![0-9])|(?<={point}[0-9]{{3}}{point}[0-9]{{3}}))"
        rf"(?!{point}?[0-9])",
        rf"[0-9]{{1,3}}(?:[{NARROW_SPACES}'’][0-9]{{3}})+(?![0-9])(?:[.,][0-9]+)?",
        rf"[0-9]{{1,3}}(?:{spaced})(?![0-9]){decimals}",
        rf"[0-9]+{decimals}",
        r"(?<![0-9.,\w])\.[0-9]+",
    )
    return rf"(?:(?<![0-9])(?>{'|'.join(patterns)}))"
