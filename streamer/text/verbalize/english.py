"""Writes numbers out in English words: amounts, dates, times, years, units; part of `normalize`.

Counting is done here, in a few lines: importing `inflect` takes seconds on a small machine, which the first
sentence with a number would have to wait for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

MAX_COUNTED_DIGITS: Final = 15
"""Longer numbers are read digit by digit."""
MONTHS: Final = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_SMALL: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS: Final = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES: Final = ("", " thousand", " million", " billion", " trillion")
_ORDINALS: Final = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
_MONTH_OF: Final = {month[:3].lower(): month for month in MONTHS}
_MONTH: Final = (
    r"(?P<month>Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?"
    r"|Sept?(?:ember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)
_CURRENCIES: Final = {
    "$": ("dollar", "cent", "cents"),
    "€": ("euro", "cent", "cents"),
    "£": ("pound", "penny", "pence"),
    "¥": ("yen", "sen", "sen"),
}
_UNITS: Final = {
    "km/h": "kilometer per hour", "mph": "mile per hour", "km": "kilometer", "cm": "centimeter",
    "mm": "millimeter", "m": "meter", "kg": "kilogram", "mg": "milligram", "g": "gram", "lb": "pound",
    "lbs": "pound", "oz": "ounce", "ft": "foot", "mi": "mile", "ml": "milliliter", "l": "liter", "L": "liter",
    "kB": "kilobyte", "KB": "kilobyte", "MB": "megabyte", "GB": "gigabyte", "TB": "terabyte", "Hz": "hertz",
    "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz", "ms": "millisecond", "s": "second",
    "sec": "second", "min": "minute", "h": "hour", "hr": "hour", "hrs": "hour", "W": "watt", "kW": "kilowatt",
    "kWh": "kilowatt hour", "V": "volt", "°C": "degree Celsius", "°F": "degree Fahrenheit", "°": "degree",
    "px": "pixel", "%": "percent",
}  # fmt: skip
_UNCHANGED_PLURALS: Final = frozenset(["hertz", "kilohertz", "megahertz", "gigahertz", "percent", "yen"])
_FRACTIONS: Final = {
    "½": "one half",
    "⅓": "one third",
    "¼": "one quarter",
    "¾": "three quarters",
    "⅔": "two thirds",
}

# `[0-9]`, because `\d` takes the digits of every script; never begun inside a number, to stay linear.
_NUMBER: Final = r"(?<![0-9])(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
_UNIT: Final = "|".join(re.escape(unit) for unit in sorted(_UNITS, key=len, reverse=True))


def write_numbers(text: str) -> str:
    """The text with its numbers in words; all else is left as it is."""
    for pattern, in_words in _RULES:
        text = pattern.sub(in_words, text)
    return text


def cardinal(number: str) -> str:
    """`1,250.5` in words; digits one by one where there are too many to count."""
    whole, point, decimals = number.replace(",", "").partition(".")
    if len(whole) > MAX_COUNTED_DIGITS or (len(whole) > 1 and whole[0] == "0"):
        words = digits(whole)
    else:
        words = _count(int(whole))
    return f"{words} point {digits(decimals)}" if point else words


def ordinal(number: int) -> str:
    before, space, last = _count(number).rpartition(" ")
    last = _ORDINALS.get(last) or (last[:-1] + "ieth" if last.endswith("y") else last + "th")
    return before + space + last


def digits(number: str) -> str:
    return " ".join(_SMALL[int(digit)] for digit in number)


def _count(number: int) -> str:
    """A number below 10 ** 15 in words, with `and` behind the hundreds."""
    if number < 1000:
        return _below_thousand(number)
    groups: list[str] = []
    rest, scale = number, 0
    while rest:
        rest, group = divmod(rest, 1000)
        if group:
            # One thousand and five, but one thousand one hundred.
            link = "and " if scale == 0 and group < 100 else ""
            groups.append(f"{link}{_below_thousand(group)}{_SCALES[scale]}")
        scale += 1
    return " ".join(reversed(groups))


def _below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    tens, ones = divmod(rest, 10)
    below = _SMALL[rest] if rest < 20 else _TENS[tens] + (f" {_SMALL[ones]}" if ones else "")
    if not hundreds:
        return below
    return f"{_SMALL[hundreds]} hundred" + (f" and {below}" if rest else "")


def year(number: str) -> str:
    """A year of four digits as it is said: nineteen oh five, two thousand six, twenty twenty six."""
    century, rest = number[:2], number[2:]
    if number[1:3] == "00":
        return cardinal(number[0] + "000") + ("" if rest == "00" else f" {cardinal(rest[1])}")
    if rest == "00":
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' + cardinal(rest[1]) if rest[0] == '0' else cardinal(rest)}"


def _time(match: re.Match[str]) -> str:
    hour, minute, half = int(match["hour"]), match["minute"], match["half"]
    words = cardinal(str(hour))
    if minute == "00" or minute is None:
        words += "" if half else " o'clock"
    else:
        words += f" {'oh ' + cardinal(minute[1]) if minute[0] == '0' else cardinal(minute)}"
    return f"{words} {'ay' if half in 'aA' else 'p'} m" if half else words


def _date(match: re.Match[str]) -> str:
    words = f"{_MONTH_OF[match['month'][:3].lower()]} {ordinal(int(match['day']))}"
    return f"{words}, {year(match['year'])}" if match["year"] else words


def _iso_date(match: re.Match[str]) -> str:
    month, day = int(match["month"]), int(match["day"])
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match.group()
    return f"{MONTHS[month - 1]} {ordinal(day)}, {year(match['year'])}"


def _month_and_year(match: re.Match[str]) -> str:
    return f"{_MONTH_OF[match['month'][:3].lower()]} {year(match['year'])}"


def _money(match: re.Match[str]) -> str:
    name, cent, cents = _CURRENCIES[match["sign"]]
    number, scale = match["number"].replace(",", ""), match["scale"]
    if scale:
        scale = {"k": "thousand", "m": "million", "b": "billion"}.get(scale.lower(), scale)
        return f"{cardinal(number)} {scale} {_many(name)}"
    whole, _, small = number.partition(".")
    words = f"{cardinal(whole)} {_counted(name, whole)}"
    if len(small) != 2:
        return f"{cardinal(number)} {_many(name)}" if small else words
    if small == "00":
        return words
    small_words = f"{cardinal(str(int(small)))} {cent if small == '01' else cents}"
    return small_words if whole == "0" else f"{words} and {small_words}"


def _quantity(match: re.Match[str]) -> str:
    name, per, rest = _UNITS[match["unit"]].partition(" per ")
    if name == "degree Celsius" or name == "degree Fahrenheit":
        name, per, rest = name.partition(" ")
    minus = "minus " if match["minus"] else ""
    return f"{minus}{cardinal(match['number'])} {_counted(name, match['number'])}{per}{rest}"


def _counted(name: str, number: str) -> str:
    return name if number == "1" else _many(name)


def _many(name: str) -> str:
    return name if name in _UNCHANGED_PLURALS else "feet" if name == "foot" else name + "s"


def _decade(match: re.Match[str]) -> str:
    words = year(match["year"]) if len(match["year"]) == 4 else cardinal(match["year"])
    return words[:-1] + "ies" if words.endswith("y") else words + "s"


def _phone(match: re.Match[str]) -> str:
    return ", ".join(digits(group) for group in re.findall(r"\d+", match.group()))


def _version(match: re.Match[str]) -> str:
    return " point ".join(cardinal(part) for part in match.group().split("."))


_RULES: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...]] = (
    (re.compile(r"\b(?P<year>[12][0-9]{3})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})\b"), _iso_date),
    (
        re.compile(
            rf"\b{_MONTH} (?P<day>[0-3]?[0-9])(?:st|nd|rd|th)?\b(?!:)(?:,? (?P<year>[12][0-9]{{3}})\b)?"
        ),
        _date,
    ),
    (
        re.compile(
            rf"\b(?P<day>[0-3]?[0-9])(?:st|nd|rd|th)? (?:of )?{_MONTH}(?:,? (?P<year>[12][0-9]{{3}})\b)?"
        ),
        _date,
    ),
    (re.compile(rf"\b{_MONTH} (?P<year>[12][0-9]{{3}})\b"), _month_and_year),
    (
        re.compile(
            r"\b(?P<hour>[01]?[0-9]|2[0-4]):(?P<minute>[0-5][0-9])(?::[0-5][0-9])?"
            r"(?: ?(?P<half>[AaPp])(?:\.[Mm]\b\.?|[Mm]\b))?"
        ),
        _time,
    ),
    (re.compile(r"\b(?P<hour>1[0-2]|[1-9])(?P<minute>){0} ?(?P<half>[AaPp])(?:\.[Mm]\b\.?|[Mm]\b)"), _time),
    (
        re.compile(
            rf"(?P<sign>[$€£¥]) ?(?P<number>{_NUMBER})"
            r"(?: ?(?P<scale>thousand|million|billion|trillion|[kKmMbB])\b)?"
        ),
        _money,
    ),
    (
        re.compile(r"(?<![0-9.])(?:\+?[0-9]{1,3}[-. ])?(?:\([0-9]{3}\) ?|[0-9]{3}[-.])?[0-9]{3}-[0-9]{4}\b"),
        _phone,
    ),
    (re.compile(r"(?<![\w.])'?(?P<year>[12][0-9][0-9]0|(?<=the )[2-9]0|(?<=')[2-9]0)'?s\b"), _decade),
    (re.compile(rf"(?P<minus>(?<![\w.)])[-−])?(?P<number>{_NUMBER}) ?(?P<unit>{_UNIT})(?!\w)"), _quantity),
    (re.compile(r"\b(?P<number>[0-9]{1,15})(?:st|nd|rd|th)\b"), lambda match: ordinal(int(match["number"]))),
    (re.compile(r"(?<=[A-Za-z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])"), lambda _: " "),
    (re.compile(r"(?<![0-9.])[0-9]+(?:\.[0-9]+){2,}\b"), _version),
    (re.compile(r"(?<=[0-9])\s?[–-]\s?(?=[0-9])"), lambda _: " to "),
    (
        re.compile(r"(?<![0-9,.])(?:1[1-9]|20)[0-9][0-9](?![0-9,]*[0-9]|\.[0-9])"),
        lambda match: year(match.group()),
    ),
    (re.compile(rf"(?<![\w.)])[-−](?={_NUMBER})"), lambda _: "minus "),
    (re.compile("[½⅓¼¾⅔]"), lambda match: f" {_FRACTIONS[match.group()]} "),
    (re.compile(_NUMBER), lambda match: cardinal(match.group())),
)
