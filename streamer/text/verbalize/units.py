"""Names of units, currencies and months in each language, for the readers of `numbers`.

The names are CLDR's, by Babel; the symbols that stand for them are ours.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache
from typing import Final

from babel import Locale
from babel.core import UnknownLocaleError
from babel.numbers import get_currency_name
from babel.units import format_unit

from streamer.text.verbalize.languages import FEMININE, MASCULINE, NUMBERING
from streamer.text.verbalize.spelling import Speller

SYMBOLS: Final = {
    "%": "concentr-percent", "‰": "concentr-permille",
    "°C": "temperature-celsius", "°F": "temperature-fahrenheit", "°": "angle-degree",
    "km": "length-kilometer", "cm": "length-centimeter", "mm": "length-millimeter", "m": "length-meter",
    "µm": "length-micrometer", "μm": "length-micrometer", "nm": "length-nanometer", "mi": "length-mile",
    "ft": "length-foot", "yd": "length-yard", "in": "length-inch", "ly": "length-light-year",
    "km^2": "area-square-kilometer", "m^2": "area-square-meter", "cm^2": "area-square-centimeter",
    "ft^2": "area-square-foot", "sq ft": "area-square-foot", "sq. ft": "area-square-foot", "sq m": "area-square-meter",
    "sq km": "area-square-kilometer", "sq mi": "area-square-mile", "ha": "area-hectare",
    "m^3": "volume-cubic-meter", "cm^3": "volume-cubic-centimeter", "km^3": "volume-cubic-kilometer",
    "ft^3": "volume-cubic-foot", "kg": "mass-kilogram", "mg": "mass-milligram", "µg": "mass-microgram",
    "μg": "mass-microgram", "mcg": "mass-microgram", "g": "mass-gram", "lb": "mass-pound", "lbs": "mass-pound",
    "oz": "mass-ounce", "l": "volume-liter", "L": "volume-liter", "ml": "volume-milliliter", "mL": "volume-milliliter",
    "cl": "volume-centiliter", "dl": "volume-deciliter", "dL": "volume-deciliter",
    "fl oz": "volume-fluid-ounce", "gal": "volume-gallon",
    "tsp": "volume-teaspoon", "tbsp": "volume-tablespoon", "Tbsp": "volume-tablespoon",
    "kB": "digital-kilobyte", "KB": "digital-kilobyte", "MB": "digital-megabyte", "GB": "digital-gigabyte",
    "TB": "digital-terabyte", "PB": "digital-petabyte", "Mbit": "digital-megabit", "Gbit": "digital-gigabit",
    "Hz": "frequency-hertz", "kHz": "frequency-kilohertz", "MHz": "frequency-megahertz", "GHz": "frequency-gigahertz",
    "ns": "duration-nanosecond", "µs": "duration-microsecond", "μs": "duration-microsecond",
    "ms": "duration-millisecond", "s": "duration-second", "sec": "duration-second", "secs": "duration-second",
    "min": "duration-minute", "mins": "duration-minute", "h": "duration-hour", "hr": "duration-hour",
    "hrs": "duration-hour", "W": "power-watt", "kW": "power-kilowatt", "MW": "power-megawatt", "GW": "power-gigawatt",
    "kWh": "energy-kilowatt-hour", "hp": "power-horsepower", "V": "electric-volt", "mA": "electric-milliampere",
    "J": "energy-joule", "kJ": "energy-kilojoule", "kcal": "energy-kilocalorie", "cal": "energy-calorie",
    "N": "force-newton", "Pa": "pressure-pascal", "hPa": "pressure-hectopascal", "kPa": "pressure-kilopascal",
    "MPa": "pressure-megapascal", "mbar": "pressure-millibar", "psi": "pressure-pound-force-per-square-inch",
    "px": "graphics-pixel", "dpi": "graphics-dot-per-inch", "Ω": "electric-ohm",
    "km/h": "speed-kilometer-per-hour", "kph": "speed-kilometer-per-hour", "m/s": "speed-meter-per-second",
    "m/s^2": "acceleration-meter-per-square-second",
    "mph": "speed-mile-per-hour", "mpg": "consumption-mile-per-gallon",
}  # fmt: skip
"""Symbols and CLDR's names of their units; a power is written `^2`. Symbols that are also words need no space before
them (`SPACELESS`)."""
SPACELESS: Final = frozenset(["in", "N", "J", "cal", "mi"])
"""Symbols that count only directly behind a digit: with a space they may be a word or an initial."""
SIGN_CODES: Final = {
    "US$": "USD", "A$": "AUD", "AU$": "AUD", "C$": "CAD", "CA$": "CAD", "NZ$": "NZD", "HK$": "HKD",
    "S$": "SGD", "R$": "BRL", "NT$": "TWD", "MX$": "MXN",
    "$": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "￥": "JPY", "₹": "INR", "₩": "KRW", "₽": "RUB", "₺": "TRY",
    "₴": "UAH", "₪": "ILS", "₫": "VND", "₱": "PHP", "฿": "THB", "₦": "NGN", "zł": "PLN",
}  # fmt: skip
CODES: Final = (
    "USD", "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "NZD", "CNY", "INR", "KRW", "RUB", "TRY", "PLN", "BRL", "MXN",
    "SEK", "NOK", "DKK", "CZK", "HUF", "HKD", "SGD", "ZAR", "ILS", "UAH",
)  # fmt: skip
_UNIT_OVERRIDES: Final = {
    ("en", "concentr-permille"): "# per mille", ("en", "mass-tonne"): "# tonnes",
    ("en", "frames-per-second"): "# frames per second", ("en", "revolutions-per-minute"): "# revolutions per minute",
    ("en", "beats-per-minute"): "# beats per minute", ("en", "kilobits-per-second"): "# kilobits per second",
    ("en", "megabits-per-second"): "# megabits per second", ("en", "gigabits-per-second"): "# gigabits per second",
    ("en", "decibels"): "# decibels",
    ("ko", "concentr-percent"): "# 퍼센트", ("ko", "concentr-permille"): "# 퍼밀",
    ("zh", "concentr-percent"): "百分之#", ("zh", "concentr-permille"): "千分之#",
    ("tr", "speed-kilometer-per-hour"): "saatte # kilometre", ("tr", "speed-meter-per-second"): "saniyede # metre",
}  # fmt: skip
"""Forms for the units whose long form in CLDR is a sign or is not said like that."""
_HASH: Final = "'#'"


def unit_symbols(speller: Speller) -> dict[str, str]:
    """Return the language's symbols of units, and CLDR's names of these."""
    return SYMBOLS | speller.words.unit_symbols


def with_unit(speller: Speller, unit: str, number: str, minus: str = "", words: str | None = None) -> str:
    """Return a number with its unit, in the form that the number asks for; `words` are the number in words already."""
    value = speller.value(number)
    if words is None:
        is_feminine = unit in speller.words.feminine_units
        words = speller.say(number, NUMBERING if value % 1 else FEMININE if is_feminine else MASCULINE)
    value = value if value < 1000 else Decimal(int(value) % 1000 + 1000)
    pattern = _unit_pattern(speller.language, unit, str(value))
    name = pattern.replace("#", f"{minus}{words}", 1)
    return name if speller.words.has_spaces else name.replace(" ", "")


@lru_cache(maxsize=4096)
def _unit_pattern(language: str, unit: str, value: str) -> str:
    """Return CLDR's form for a value as it is written: `1.0` is equal to `1`, and has another form."""
    override = _UNIT_OVERRIDES.get((language, unit))
    pattern = override or format_unit(Decimal(value), unit, "long", _HASH, locale=language)
    return pattern.replace("\u00a0", " ").replace("\u202f", " ")


@lru_cache(maxsize=1024)
def currency_name(language: str, code: str, value: str) -> str:
    """Return CLDR's name of a currency (`US dollars`) behind `value`, for signs without a shorter one in our table."""
    name = get_currency_name(code, Decimal(value), locale=language)
    return name.lower() if language == "pt" else name


def plural_form(speller: Speller, forms: list[str], value: Decimal) -> str:
    """Return the form behind `value`; `forms` stand in CLDR's order, and the last serves for what is missing."""
    categories = {
        1: ("other",),
        2: ("one", "other"),
        3: ("one", "few", "many"),
        4: ("one", "few", "many", "other"),
    }[len(forms)]
    category = _plural_category(speller.language, str(value))
    return forms[categories.index(category)] if category in categories else forms[-1]


@lru_cache(maxsize=4096)
def _plural_category(language: str, value: str) -> str:
    """Return CLDR's name of the plural form that a value asks for as it is written."""
    return _locale(language).plural_form(Decimal(value))


@lru_cache(maxsize=16)
def _locale(language: str) -> Locale:
    return Locale(language)


@lru_cache(maxsize=16)
def months(language: str) -> dict[str, int]:
    """Return names of months, as they are written in dates, and their numbers."""
    try:
        names = _locale(language).months
    except UnknownLocaleError:  # pragma: no cover
        return {}
    found: dict[str, int] = {}
    widths = ("wide", "abbreviated") if language in ("en", "de") else ("wide",)
    for context in ("format", "stand-alone"):
        for width in widths:
            for month, name in names[context][width].items():
                found[name.rstrip(".")] = month
                found[name.rstrip(".").capitalize()] = month
    if language == "en":
        found["Sept"] = 9
    return found


def month_name(language: str, month: int) -> str:
    """Return a month's name as it stands behind a day (in the genitive, if the language has one)."""
    return str(_locale(language).months["format"]["wide"][month])


def alternatives(words: dict[str, str] | dict[str, int] | list[str]) -> str:
    """Return a pattern for any of `words`, the longest first."""
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
