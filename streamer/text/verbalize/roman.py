"""Reads Roman numerals in English: behind names, behind what is counted, and as years; kinds of `numbers`."""

from __future__ import annotations

import re
from typing import Final

from streamer.text.verbalize.kinds import LETTER, Kind
from streamer.text.verbalize.spelling import ENGLISH_ORDINAL, Speller

_NUMERAL: Final = (
    r"(?=[IVXLCDM])M{0,3}(?:CM|CD|D?C{0,3})(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})(?![^\W_]|[-’'](?!s\b)\w)"
)
_VALUES: Final = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100, "D": 500, "M": 1000}
TITLES: Final = "Pope|King|Queen|Emperor|Empress|Tsar|Czar|Sultan|Kaiser|Prince|Pharaoh"
_RULERS: Final = (
    "Albert|Alexander|Alfonso|Amenhotep|Artaxerxes|Benedict|Boniface|Carlos|Catherine|Charles|Christian|Clement|"
    "Constantine|Darius|Edward|Elizabeth|Emmanuel|Felipe|Ferdinand|Francis|Franz|Frederick|Friedrich|George|"
    "Gregory|Gustav|Haakon|Harald|Henri|Henry|Innocent|Ivan|James|John|Joseph|Juan|Leo|Leopold|Louis|Ludwig|"
    "Margrethe|Mary|Maximilian|Mehmed|Murad|Napoleon|Nicholas|Olav|Otto|Paul|Peter|Philip|Philippe|Pius|Ptolemy|"
    "Rama|Ramesses|Ramses|Richard|Robert|Rudolf|Selim|Sixtus|Stephen|Suleiman|Theodosius|Thutmose|Umberto|Urban|"
    "Victor|Wilhelm|William|Xerxes"
)
"""These first names are counted by ordinals (`the eighth`)."""
_BEHIND_THE_FIRST: Final = (
    r"['’]s|[^\w '’-]|\Z| [^a-z]| (?:was|is|of|and|had|in|who|at|died|ruled|reigned|became)\b"
)
"""A pattern for what may follow `King Charles I`, in which the I is not a pronoun."""
_COUNTED: Final = (
    "Act|Annex|Apollo|Appendix|Article|Book|Bowl|Chapter|Class|Division|Episode|Figure|Grade|Group|Lecture|Lesson|"
    "Level|Mark|Module|Olympiad|Opus|Page|Part|Phase|Psalm|Scene|Schedule|Season|Section|Sonata|Stage|Step|Symphony|"
    "Table|Tier|Title|Type|Unit|Volume|War|WrestleMania"
)
"""These are counted by cardinals (`four`), by single letters too."""
_NOT_COUNTED: Final = (
    "The|An?|This|That|My|Your|His|Her|Our|Their|With|No|In|On|And|Or|Via|By|If|For|Use|Is|To|At|As"
)
"""Behind these capitalised words letters are an abbreviation (`The IV drip`)."""


def roman_kinds(speller: Speller) -> list[Kind]:
    """Return the kinds of Roman numerals that something beside them shows; `I`, `CD` and `MIX` alone are words."""

    def ordinal(match: re.Match[str]) -> str:
        return speller.ordinal(_value(match["roman"]), ENGLISH_ORDINAL)

    def ruler(match: re.Match[str]) -> str:
        return f"{match['before']} the {ordinal(match)}"

    def counted(match: re.Match[str]) -> str:
        return f"{match['before']} {speller.cardinal(_value(match['roman']))}"

    return [
        Kind(
            rf"{LETTER}\b(?P<before>(?:{TITLES}) [A-Z][a-z]+(?: [A-Z][a-z]+)?) "
            rf"(?P<roman>(?!I\b){_NUMERAL}|I(?={_BEHIND_THE_FIRST}))",
            ruler,
        ),
        Kind(rf"{LETTER}\b(?P<before>{_RULERS}) (?P<roman>(?!I\b|[LCDM]){_NUMERAL})", ruler),
        Kind(rf"{LETTER}\b(?P<before>(?i:{_COUNTED})) (?P<roman>{_NUMERAL})", counted),
        Kind(
            rf"{LETTER}\b(?P<before>(?!(?:{_NOT_COUNTED})\b)[a-z]?[A-Z][a-z]+) (?P<roman>(?=[IVX]{{2}}){_NUMERAL})",
            counted,
        ),
        Kind(
            rf"{LETTER}\b(?P<roman>[IVX]{{1,6}})(?:st|nd|rd|th)?(?=[ -](?:centur(?:y|ies)|Olympi\w+)\b)",
            ordinal,
        ),
        Kind(
            rf"{LETTER}\b(?P<roman>(?=M[CDILMVX]{{3}}){_NUMERAL})",
            lambda match: speller.year(str(_value(match["roman"]))),
        ),
    ]


def _value(roman: str) -> int:
    values = [_VALUES[letter] for letter in roman]
    return sum(-value if value < max(values[index:]) else value for index, value in enumerate(values))
