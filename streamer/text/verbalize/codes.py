"""Reads numbers that are names, not amounts; kinds of `numbers`.

Telephone numbers, addresses, versions and part numbers are said by their digits or in groups.
"""

from __future__ import annotations

import re
from string import ascii_uppercase
from typing import Final

from streamer.text.verbalize.kinds import LETTER, Kind
from streamer.text.verbalize.spelling import Speller
from streamer.text.verbalize.units import CODES

_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_PHONES: Final = {
    r"(?<![\w.,])(?:\+?[0-9]{1,3}[-. ])?(?:\([0-9]{3}\)[ -]?|[0-9]{3}[-. ])?[0-9]{3}-[0-9]{4}(?![\w-])": "-. ",
    r"(?<![\w.,])(?:\+?[0-9]{1,3}[-. ])?(?:\([0-9]{3}\) ?|[0-9]{3}[. ])[0-9]{3}[. ][0-9]{4}(?![\w-])": "-. ",
    r"(?<![\w.,])\+(?=(?:[ ()./-]{0,2}[0-9]){7})[0-9]{1,3}(?:[ ./-]?\(?[0-9]{1,12}\)?){1,6}(?!\w)": "",
    r"(?<![\w.,])(?=0(?:[ /-]?[0-9]){6})0[0-9]{1,5}(?:[ /-][0-9]{2,8}){1,5}(?![\w:.,/-]?[0-9])": " /-",
    r"(?<![\w.,-])[0-9]{4}(?:[ -][0-9]{4}){3}(?![\w-])": " -",
    r"(?<![\w.,-])[0-9]{1,5}(?:-[0-9]{1,7}){2,5}(?![\w-]|[.,][0-9])": "-",
}
"""The patterns find American numbers, international ones, those with a leading zero, cards, and rows such as ISBNs.
With each stands what may be behind its first digits."""
_NUMBERED: Final = (
    r"Airbus|Apartment|Apt\.|Area|Boeing|Bus|Channel|Flight|Gate|Highway|Interstate|Line|Peugeot|Platform|Room|"
    "Route|Suite"
)
_PLACES: Final = "Building|Chapter|Class|Exhibit|Figure|Grade|Phase|Row|Seat|Section|Table|Unit"
"""Words whose numbers may end in a letter, besides those of `_NUMBERED`: `Seat 12B`."""
_STREETS: Final = (
    "[Ss]treet|[Aa]venue|[Rr]oad|[Bb]oulevard|[Dd]rive|Lane|Way|Court|Square|Place|Terrace|"
    "St|Ave|Rd|Blvd|Dr|Ln"
)
_CALLED: Final = "[Cc]all|[Cc]alled|[Dd]ial|[Dd]iall?ed|[Pp]hone"
_NO_AMOUNT: Final = r"(?![\w%°]|[-.,:/][0-9])"


def code_kinds(speller: Speller) -> list[Kind]:
    """Return the kinds of all languages: telephone numbers, IP addresses and versions."""
    reader = CodeReader(speller)
    return [
        Kind(
            rf"(?<![\w.])(?P<address>{_OCTET}(?:\.{_OCTET}){{3}})(?:/(?P<mask>[0-9]{{1,2}}))?"
            r"(?::(?P<port>[0-9]{1,5}))?(?![\w]|\.[0-9])",
            reader.ip_address,
            is_amount=False,
            behind=".",
        ),
        *(Kind(pattern, reader.phone, is_amount=False, behind=behind) for pattern, behind in _PHONES.items()),
        Kind(
            r"(?<![0-9.,])(?![0-9]{1,3}(?:\.[0-9]{3})+(?!\.?[0-9]))[0-9]{1,9}(?:\.[0-9]{1,9}){2,}(?!\w)",
            reader.version,
            behind=".",
        ),
    ]


def english_code_kinds(speller: Speller) -> list[Kind]:
    """Return the kinds of English: part numbers, room numbers, emergency numbers, post codes and ports."""
    reader = CodeReader(speller)
    codes = "|".join(CODES)
    return [
        Kind(
            rf"{LETTER}\b(?P<before>(?:{_NUMBERED})(?: number)?) (?P<digits>[0-9]{{3}})(?:-(?P<more>[0-9]{{3}}))?"
            r"(?![\w%°]|[.,:/][0-9]|(?: ?[-–])?[0-9])",
            reader.part_number,
        ),
        Kind(rf"{LETTER}\b(?P<before>{_CALLED}) (?P<digits>[0-9]{{3}}){_NO_AMOUNT}", reader.by_digits),
        Kind(
            rf"{LETTER}\b(?P<before>[A-Z]{{2}}) (?P<digits>[0-9]{{5}})(?:-(?P<more>[0-9]{{4}}))?{_NO_AMOUNT}",
            reader.by_digits,
        ),
        Kind(
            r"(?<!\w)0x(?P<digits>[0-9A-Fa-f]{1,32})(?!\w)", reader.hexadecimal, is_amount=False, behind="x"
        ),
        Kind(
            rf"{LETTER}\b(?P<before>(?:{_NUMBERED}|{_PLACES})(?: number)?) "
            r"(?P<digits>[0-9]{1,4})(?P<letter>[A-Z])(?!\w)",
            reader.place,
            is_amount=False,
        ),
        Kind(
            r"(?<![\w.,$€£-])(?P<digits>[0-9]{1,4})(?P<letter>[A-Z])"
            rf"(?=(?: [A-Z][a-z]{{1,20}}){{1,3}} (?:{_STREETS})\b)",
            reader.place,
            is_amount=False,
            behind=ascii_uppercase,
        ),
        Kind(
            r"(?<=[a-z])(?P<before>:)(?P<digits>[0-9]{2,5})(?![\w:])",
            reader.by_digits,
            is_amount=False,
            behind="",
        ),
        Kind(
            rf"{LETTER}(?<![^\W\d_])(?!(?:{codes})[0-9])(?P<before>[A-Za-z]{{1,10}})(?P<digits>[0-9]{{1,6}})"
            r"(?!\w*%|[0-9°:]|[.,/][0-9])",
            reader.part_number,
            is_amount=False,
        ),
        Kind(
            rf"{LETTER}(?<![\w])(?P<before>[A-Z][A-Za-z]{{0,9}})-(?P<digits>[0-9]{{1,6}})(?![\w%°:]|[.,/][0-9]|[-–][0-9])",
            reader.part_number,
            is_amount=False,
        ),
    ]


class CodeReader:
    """A `CodeReader` says numbers that are names, in one language."""

    def __init__(self, speller: Speller) -> None:
        self._speller = speller

    def ip_address(self, match: re.Match[str]) -> str:
        """Say an IP address digit by digit."""
        speller, is_english = self._speller, self._speller.language == "en"
        dot = f"{speller.gap}{speller.words.dot}{speller.gap}"
        words = dot.join(map(speller.digits, match["address"].split(".")))
        if match["mask"]:
            words += f"{' slash ' if is_english else '/'}{speller.cardinal(int(match['mask']))}"
        if match["port"]:
            words += f"{' colon ' if is_english else ': '}{speller.digits(match['port'])}"
        return words

    def phone(self, match: re.Match[str]) -> str:
        """Say groups of digits, digit by digit; a row of short groups is counted (4-4-2)."""
        speller = self._speller
        groups = re.findall("[0-9]+", match.group())
        if "-" in match.group() and all(len(group) < 3 and group[0] != "0" for group in groups):
            return speller.gap.join(map(speller.whole, groups))
        plus = ("plus " if speller.language == "en" else "+") if match.group().startswith("+") else ""
        return plus + (", " if speller.words.has_spaces else "、").join(map(speller.digits, groups))

    def version(self, match: re.Match[str]) -> str:
        """Say numbers between dots; each is counted."""
        speller = self._speller
        point = speller.words.point if speller.language == "en" else speller.words.dot
        return f"{speller.gap}{point}{speller.gap}".join(map(speller.whole, match.group().split(".")))

    def by_digits(self, match: re.Match[str]) -> str:
        """Say the digits of `call 911`, `CA 90210-1234` and `localhost:8080`."""
        before = " colon" if match["before"] == ":" else match["before"]
        more = match.groupdict().get("more")
        words = f"{before} {self._speller.digits(match['digits'])}"
        return f"{words}, {self._speller.digits(more)}" if more else words

    def part_number(self, match: re.Match[str]) -> str:
        """Say `A320`, `COVID-19`, `Boeing 747-400` and `Room 101`."""
        groups = [match["digits"], match.groupdict().get("more")]
        return " ".join([match["before"], *(self._in_pairs(digits) for digits in groups if digits)])

    def place(self, match: re.Match[str]) -> str:
        """Say `Room 5B` and `221B Baker Street`: the letter is a name and no billion."""
        before = f"{match['before']} " if match.groupdict().get("before") else ""
        letter = "ay" if match["letter"] == "A" else match["letter"].lower()
        return f"{before}{self._in_pairs(match['digits'])} {letter}"

    def hexadecimal(self, match: re.Match[str]) -> str:
        """Say `0x1F` character by character."""
        speller = self._speller
        characters = [
            speller.digits(digit) if digit.isdecimal() else "ay" if digit in "aA" else digit.lower()
            for digit in match["digits"]
        ]
        return " ".join([speller.digits("0"), "x", *characters])

    def _in_pairs(self, digits: str) -> str:
        """Say digits as part numbers are said: three twenty, seven forty seven, one oh one, nineteen eleven."""
        speller = self._speller
        if digits[0] == "0" or len(digits) > 4:
            return speller.digits(digits)
        if len(digits) == 4:
            return speller.year(digits)
        if len(digits) < 3 or digits.endswith("00"):
            return speller.whole(digits)
        return f"{speller.cardinal(int(digits[0]))} {'oh ' * (digits[1] == '0')}{speller.cardinal(int(digits[1:]))}"
