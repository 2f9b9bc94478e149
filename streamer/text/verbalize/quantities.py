"""Reads amounts of money and measures with their units; kinds of `numbers`."""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Final

from streamer.text.verbalize.kinds import LETTER, MINUS, Kind
from streamer.text.verbalize.languages import FEMININE, MASCULINE, NUMBERING
from streamer.text.verbalize.spelling import NARROW_SPACES, Speller
from streamer.text.verbalize.units import (
    CODES,
    SIGN_CODES,
    SPACELESS,
    alternatives,
    currency_name,
    plural_form,
    unit_symbols,
    with_unit,
)

_SPACE: Final = f"[ {NARROW_SPACES}]?"
_SEVERAL: Final = Decimal(5)
_COUNTED_SCALES: Final = ("mil", "mille", "mila")
"""These scales take no `de` or `di` before a currency."""
_FEMININE_SCALES: Final = ("*", "Mill", "Bill", "тысяч")
"""Scales that begin like this ask for a feminine number."""
_CENTS_OF: Final = dict.fromkeys(
    ("US$", "USD", "A$", "AU$", "AUD", "C$", "CA$", "CAD", "NZ$", "NZD", "HK$", "HKD", "S$", "SGD"), "$"
) | {"EUR": "€", "GBP": "£", "INR": "₹", "PLN": "zł", "BRL": "R$", "RUB": "₽", "TRY": "₺"}
"""Signs and codes, and the sign whose hundredths have the same name."""
_FRENCH_VOWELS: Final = "aehiouy"
_EUROPEAN_THOUSANDS: Final = re.compile(r"[0-9]{1,3}\.[0-9]{3}")


def quantity_kinds(speller: Speller) -> list[Kind]:
    """Return the kinds of money, durations with units, measures, and shortened scales (`10K`, `5 Mio.`)."""
    money, measures = MoneyReader(speller), MeasureReader(speller)
    number = speller.number
    cents = "(?:,[0-9]{2}(?![0-9]|,[0-9]))?" if speller.words.comma_groups else ""
    amount = f"(?P<number>{number}{cents})"
    upper = f"(?:{_SPACE}[-–]{_SPACE}(?P<upper>{number}{cents}))?"
    sign = f"(?P<sign>{money.signs})"
    scale = f"(?:{_SPACE}(?P<scale>{money.scales})(?!\\w))?"
    code = rf"(?P<code>{'|'.join(CODES)})"
    unit = f"(?P<unit>{alternatives(unit_symbols(speller))})"
    spaceless = [symbol for symbol in SPACELESS if (speller.language, symbol) != ("en", "mi")]
    gap = rf"(?:[ {NARROW_SPACES}](?!(?:{alternatives(spaceless)})(?![\w^/])))?"
    ends = (
        r"(?:(?<=[%‰°])|(?![\w^]))"
        if speller.words.has_spaces and speller.language != "ko"
        else "(?![A-Za-z0-9_^])"
    )
    # If a unit's name stands before the number, a range is said behind it.
    is_prefixed = speller.language in ("ja", "ko", "tr", "zh")
    lower = rf"(?:(?P<lower>{number}){_SPACE}[-–~]{_SPACE})?" if is_prefixed else "(?P<lower>(?!))?"
    kinds = [
        Kind(rf"{MINUS}(?<![A-Za-z]){sign}{_SPACE}(?P<inner>[-−])?{amount}{upper}{scale}", money.money),
        Kind(rf"{LETTER}\b{code}{_SPACE}(?P<inner>[-−])?{amount}{upper}{scale}", money.money),
        Kind(rf"{MINUS}{amount}{upper}{scale}{_SPACE}(?:{sign}(?![\w$])|{code}\b)", money.money),
        Kind(
            rf"{MINUS}(?<![\w.,])(?P<days>[0-9]{{1,4}}) ?d(?:ays?)? ?(?P<hours>[0-9]{{1,2}}) ?h(?:rs?|ours?)?\b"
            rf"|(?<![\w.,])(?P<hours2>[0-9]{{1,4}}) ?h(?:rs?|ours?)? ?(?P<minutes>[0-9]{{1,2}}) ?m(?:ins?)?"
            rf"(?: ?(?P<seconds>[0-9]{{1,2}}) ?s(?:ecs?)?)?\b"
            rf"|(?<![\w.,])(?P<minutes2>[0-9]{{1,4}}) ?m(?:ins?)? ?(?P<seconds2>[0-9]{{1,2}}) ?s(?:ecs?)?\b",
            measures.duration,
            behind=" dhm",
        ),
        Kind(rf"{MINUS}(?![0-9]{{4}})(?P<number>{number}){money.counted_scales}", money.scaled),
        Kind(rf"{MINUS}{lower}(?P<number>{number}){gap}{unit}{ends}", measures.measure),
    ]
    if speller.language == "tr":
        kinds.insert(0, Kind(rf"{MINUS}(?P<unit>[%‰]){_SPACE}{lower}(?P<number>{number})", measures.measure))
    return kinds


class MoneyReader:
    """A `MoneyReader` says amounts of money in one language."""

    def __init__(self, speller: Speller) -> None:
        self._speller = speller
        words = speller.words
        self._names = _forms(words.currencies)
        self._cents = _forms(words.cents)
        shortened = words.abbreviated_scales
        self.signs = alternatives(list({*SIGN_CODES, *self._names}))
        self.scales = "|".join(filter(None, (words.scales, alternatives(shortened)))) or "(?!)"
        letters = [scale for scale in shortened if speller.language != "en" or scale in _SPOKEN_SCALES]
        space = "" if speller.language == "en" else _SPACE
        spelled = words.scales if speller.language != "en" and words.has_spaces else "(?!)"
        shortened_here = f"{space}(?P<scale>{alternatives(letters) or '(?!)'})"
        self.counted_scales = rf"(?:{shortened_here}|{_SPACE}(?P<word>{spelled}))(?!\w|[-'’]\w)"

    def money(self, match: re.Match[str]) -> str:
        """Say an amount or a range of amounts with the name of the currency."""
        found = match.groupdict()
        sign = found.get("sign") or found["code"]
        has_minus = found.get("minus") or found.get("inner")
        minus = self._speller.minus if has_minus else ""
        number, upper, scale = found["number"], found["upper"], found["scale"]
        if not upper:
            return minus + self._amount(number, sign, scale)
        return f"{minus}{self._speller.say(number)}{self._speller.to}{self._amount(upper, sign, scale)}"

    def scaled(self, match: re.Match[str]) -> str:
        """Say a number with a shortened scale: ten thousand, five million."""
        minus = self._speller.minus if match["minus"] else ""
        return minus + self._in_scale(match["number"], match["scale"] or match["word"])

    def _amount(self, number: str, sign: str, scale: str | None) -> str:
        speller = self._speller
        if sign == "€" and speller.words.comma_groups and _EUROPEAN_THOUSANDS.fullmatch(number):
            number = number.replace(".", "")
        whole, decimals = speller.split(number)
        whole = whole or "0"
        after, gap = speller.words.cents_after, speller.gap
        if scale:
            words, name = self._in_scale(number, scale), self._name(sign, _SEVERAL)
            of = speller.words.of_scale if not words.endswith(_COUNTED_SCALES) else ""
            joint = (
                "d'"
                if of == " de" and speller.language == "fr" and name[0] in _FRENCH_VOWELS
                else of[1:] + gap
            )
            return f"{words}{gap}{joint if of else ''}{name}"
        is_read_as_decimal = len(decimals) > 2 or (decimals and after is None)
        if is_read_as_decimal or (speller.words.names_cents and len(decimals) == 1):
            return f"{speller.say(number)}{gap}{self._name(sign, speller.value(number))}"
        hundredths = decimals.ljust(2, "0") if decimals.strip("0") else ""
        cents = sign if sign in self._cents else _CENTS_OF.get(sign, "")
        if hundredths and not whole.strip("0") and cents in self._cents:
            return self._hundredths(cents, hundredths)
        if hundredths and speller.words.names_cents and cents not in self._cents:
            return f"{speller.say(number)} {self._name(sign, speller.value(number))}"
        rules = FEMININE if sign in self._names and self._names[sign][0] else MASCULINE
        words = f"{speller.whole(whole, rules)}{gap}{self._name(sign, speller.value(whole))}"
        if not hundredths:
            return words
        is_named = speller.words.names_cents
        small = self._hundredths(cents, hundredths) if is_named else speller.cardinal(int(hundredths))
        return f"{words}{after}{small}"

    def _in_scale(self, number: str, scale: str) -> str:
        """Return `5` and `Mio.` in words: five million."""
        speller = self._speller
        forms = speller.words.abbreviated_scales.get(scale, scale)
        value = speller.value(number)
        is_feminine = forms.startswith(_FEMININE_SCALES)
        rules = NUMBERING if value % 1 else FEMININE if is_feminine else MASCULINE
        return f"{speller.say(number, rules)}{speller.gap}{plural_form(speller, forms.lstrip('*').split('|'), value)}"

    def _hundredths(self, sign: str, digits: str) -> str:
        is_feminine, forms = self._cents[sign]
        rules = FEMININE if is_feminine else MASCULINE
        value = int(digits)
        return f"{self._speller.cardinal(value, rules)} {plural_form(self._speller, forms, Decimal(value))}"

    def _name(self, sign: str, value: Decimal) -> str:
        if sign in self._names:
            return plural_form(self._speller, self._names[sign][1], value)
        return currency_name(self._speller.language, SIGN_CODES.get(sign, sign), str(value))


class MeasureReader:
    """A `MeasureReader` says numbers with units in one language."""

    def __init__(self, speller: Speller) -> None:
        self._speller = speller
        self._symbols = unit_symbols(speller)

    def measure(self, match: re.Match[str]) -> str:
        """Say a number with the name of its unit."""
        minus = self._speller.minus if match["minus"] else ""
        words = None
        if match["lower"]:
            words = (
                f"{self._speller.say(match['lower'])}{self._speller.to}{self._speller.say(match['number'])}"
            )
        return with_unit(self._speller, self._symbols[match["unit"]], match["number"], minus, words)

    def duration(self, match: re.Match[str]) -> str:
        """Say `2h 15m`: hours, minutes and seconds by their names."""
        found = match.groupdict()
        fields = {
            "duration-day": found["days"],
            "duration-hour": found["hours"] or found["hours2"],
            "duration-minute": found["minutes"] or found["minutes2"],
            "duration-second": found["seconds"] or found["seconds2"],
        }
        words = [
            with_unit(self._speller, unit, str(int(digits))) for unit, digits in fields.items() if digits
        ]
        return (self._speller.minus if found["minus"] else "") + self._speller.gap.join(words)


_SPOKEN_SCALES: Final = frozenset(["k", "K", "M", "B", "mn", "mln", "bn", "Bn", "bln", "tn", "trn"])
"""These English scales are read without a currency too; `m` and `b` are not, `5T` is no amount either."""


@lru_cache(maxsize=32)
def _forms(table: str) -> dict[str, tuple[bool, list[str]]]:
    """Return signs, whether their name is feminine, and its forms."""
    forms: dict[str, tuple[bool, list[str]]] = {}
    sign = ""
    for entry in re.split(r" (?=\S+ \*?\S+\|)", table):
        sign, _, names = entry.partition(" ")
        if sign:
            forms[sign] = (names.startswith("*"), names.lstrip("*").split("|"))
    return forms
