"""Says signs behind and between numbers: ranges, rates, powers, operators; kinds of `numbers`."""

from __future__ import annotations

import re
from typing import Final

from streamer.text.verbalize.kinds import Kind
from streamer.text.verbalize.spelling import NARROW_SPACES, Speller
from streamer.text.verbalize.units import alternatives, unit_symbols, with_unit

_SPACE: Final = f"[ {NARROW_SPACES}]?"
_TERM: Final = "[-−]?[0-9.]{1,12}"
_OPERATORS: Final = {
    "/": "divided by", "÷": "divided by", "*": "times", "×": "times", "x": "by", "X": "by",
}  # fmt: skip
_PER: Final = (
    "second|minute|hour|day|night|week|month|quarter|year|person|user|seat|item|unit|head|capita|share|gallon|"
    "pound|liter"
)
"""Before these words, a slash behind an amount says `per`."""


def sign_kinds(speller: Speller) -> list[Kind]:
    """Return the kinds of signs: in all languages those directly behind an amount, in English others too."""
    return [
        *(_english_kinds(speller) if speller.language == "en" else []),
        Kind(  # with an equals sign behind it, a dash is a minus
            rf"{_SPACE}[-–]{_SPACE}(?=(?:{_TERM} ?[+*/×÷-] ?){{0,3}}{_TERM} ?[=≈])",
            lambda _: f" {speller.minus.strip()} ",
            needs_amount=True,
            behind="",
        ),
        Kind(
            rf"(?:{_SPACE}[-–]{_SPACE}|—)(?=(?:AD )?[$€£¥₹]?\.?[0-9])",
            lambda _: speller.to,
            needs_amount=True,
            behind="",
        ),
    ]


def _english_kinds(speller: Speller) -> list[Kind]:
    symbols = unit_symbols(speller)
    units = alternatives(symbols)
    several = rf"(?<=[A-Za-z]/)(?=[0-9]{{1,4}} ?(?:{units})(?![\w^]))"  # 5 l/100 km

    def per(match: re.Match[str]) -> str:
        name = with_unit(speller, symbols[match["unit"]], "1", words="").strip() if match["unit"] else ""
        return f" per {name}"

    def power(match: re.Match[str]) -> str:
        exponent = match["exponent"]
        if exponent in ("2", "3"):
            return " squared" if exponent == "2" else " cubed"
        sign = speller.minus if exponent[0] in "-−" else ""
        exponent = exponent.lstrip("-−+")
        return f" to the power of {sign}{speller.whole(exponent) if exponent.isdecimal() else exponent}"

    def operator(match: re.Match[str]) -> str:
        sign = match["sign"] or match["tight"]
        # 1920×1080 is a size, 3×4 a product.
        is_size = match["tight"] == "×" and re.match("[0-9]{3}", match.string[match.end() : match.end() + 3])
        return f" {'by' if is_size else _OPERATORS[sign]} "

    return [
        Kind(
            rf"/(?:(?P<unit>{units})(?![\w^])|(?=(?:{_PER})\b)|{several})", per, needs_amount=True, behind=""
        ),
        Kind(
            r" (?P<sign>[/÷*×xX]) (?=[-−$€£(.]?[0-9(])|(?P<tight>[*÷xX×])(?=[-−(.]?[0-9(])",
            operator,
            needs_amount=True,
        ),
        Kind(r"(?<=[0-9])/(?=[0-9])", lambda _: " slash ", behind=""),
        Kind(r"(?<=[\w)])\^[({]?(?P<exponent>[+−-]?[0-9]{1,9}|[a-z])(?!\w)[)}]?", power, behind=""),
    ]
