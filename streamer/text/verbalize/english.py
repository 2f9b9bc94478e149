"""What only English has among dates and measures; kinds of `numbers`.

Months before days, decades, eras; feet and inches, units before a noun, powers of ten.
"""

from __future__ import annotations

import re
from typing import Final

from streamer.text.verbalize.dates import DateReader
from streamer.text.verbalize.kinds import LETTER, MINUS, Kind
from streamer.text.verbalize.spelling import ENGLISH_ORDINAL, Speller
from streamer.text.verbalize.units import alternatives, month_name, months, unit_symbols, with_unit

_MONTH: Final = rf"(?P<name>{alternatives(months('en'))})\b\.?"
_DAY: Final = "(?:0?[1-9]|[12][0-9]|3[01])(?:st|nd|rd|th)?"
_DAYS: Final = rf"(?P<day>{_DAY})(?: ?[-–] ?(?P<last>{_DAY}))?"
_YEAR: Final = r"(?:,? (?P<year>[12][0-9]{3})(?![\w-]|[.,]?[0-9]))?"
_YEAR_OR_PART: Final = _YEAR.replace(",? ", "(?:,? |-)", 1)
_BEFORE_DECADE: Final = "|".join(
    rf"(?<=\b{word}[ -])" for word in "the The mid late early his her their my your our its".split()
)
_BEFORE_DAY: Final = "|".join(
    rf"(?<=\b{word} )" for word in "on On by By until Until since Since due".split()
)
_WITH_INCHES: Final = "screen|monitor|display|TV|tv|television|laptop|pipe|disk|disc|vinyl|wheel|x|by"
_BEFORE_INCHES: Final = r"(?:(?<=\b[Aa] )|(?<=\b[Aa]n )|(?<=\b(?:[Mm]y|by) )|(?<=[0-9][\"”] [x×] ))"
_IN_K: Final = "video|TV|television|display|screen|monitor|resolution|camera|movie|UHD|run|race"


def english_date_kinds(speller: Speller) -> list[Kind]:
    """Return the kinds of dates with a month's name, of month and day behind a preposition, of decades and eras."""
    reader, dates = EnglishDateReader(speller), DateReader(speller)
    return [
        Kind(rf"{LETTER}\b{_MONTH}(?: |(?<=\.)){_DAYS}(?![\w:]|[.,:]?[0-9]){_YEAR}", reader.month_first),
        Kind(
            rf"\b(?P<the>[Tt]he )?(?<![.,:/$€£])(?<![0-9]-){_DAYS}[ -](?:of )?{_MONTH}(?!\w){_YEAR_OR_PART}",
            reader.day_first,
        ),
        Kind(rf"{LETTER}\b{_MONTH},? (?P<year>[12][0-9]{{3}})(?!\w|[.,:]?[0-9])", reader.month_and_year),
        Kind(
            rf"(?:{_BEFORE_DAY})(?!9/11)(?P<month>0?[1-9]|1[0-2])/(?P<day>0?[1-9]|[12][0-9]|3[01])"
            r"(?![\w/]|[.,][0-9]| of\b)",
            lambda match: dates.words(match, int(match["day"]), int(match["month"]), None),
            behind="/",
        ),
        Kind(
            r"(?<![\w.,])'?(?P<year>[12][0-9]{2}0)'?s\b"
            rf"|(?:'|(?<![\w.,])(?:{_BEFORE_DECADE}))(?P<short>[2-9]0)'?s\b",
            reader.decade,
        ),
        Kind(
            r"(?<![\w.,])(?P<era1>AD|A\.D\.|CE) ?(?P<year1>[0-9]{1,4})\b(?!,[0-9])"
            r"|(?<![\w.,-])(?P<year>[0-9]{1,4}) ?(?P<era>BCE|BC|AD|CE|B\.C\.E\.|B\.C\.|A\.D\.|C\.E\.)(?!\w)",
            reader.era,
        ),
    ]


def english_measure_kinds(speller: Speller) -> list[Kind]:
    """Return the kinds of feet and inches, angles, units before a noun, powers of ten, `4K` and `10x`."""
    reader = EnglishMeasureReader(speller)
    return [
        Kind(
            r"(?P<feet>[0-9]{1,2})['′’] ?(?P<inches>[0-9]{1,2}(?:\.[0-9])?)(?:[\"″”]|'')"
            r"|(?<![\w.])(?P<feet2>[3-8])['′’](?P<inches2>1[01]|[0-9])(?![\w'])"
            r"|(?<![\w.])(?P<feet3>[0-9]{1,2}) ?ft\.? (?P<inches3>[0-9]{1,2}) ?in\b",
            reader.feet_and_inches,
            behind="'′’ f",
        ),
        Kind(
            r"(?<![\w.])(?P<degrees>[0-9]{1,3})° ?(?P<minutes>[0-9]{1,2})['′]"
            r"(?: ?(?P<seconds>[0-9]{1,2}(?:\.[0-9]{1,4})?)[\"″])?",
            reader.angle,
            behind="°",
        ),
        Kind(
            r"(?<![\w.])(?P<feet>[0-9]{1,4})′",
            lambda match: with_unit(speller, "length-foot", match["feet"]),
            behind="′",
        ),
        Kind(
            rf"(?<![\w.])(?P<number>[0-9]{{1,4}}(?:\.[0-9]+)?)(?:″|[\"”](?=(?: ?[x×] ?[0-9]| (?:{_WITH_INCHES})s?\b)))"
            rf"|{_BEFORE_INCHES}(?P<sized>[0-9]{{1,4}}(?:\.[0-9]+)?)[\"”](?= [a-z])",
            lambda match: f"{speller.say(match['number'] or match['sized'])} inch",
            behind='.″"”',
        ),
        Kind(
            rf"(?=[0-9.,]{{1,20}}-[^0-9])(?<![\w.,])(?P<number>{speller.number})-(?P<unit>{alternatives(unit_symbols(speller))})(?![\w^/-])",
            reader.before_noun,
            behind="-.,",
        ),
        Kind(
            rf"(?=[-−–]?[0-9.,]{{1,20}}[eE]){MINUS}(?P<number>{speller.number})[eE](?P<sign>[+−-])?(?P<power>[0-9]{{1,3}})(?![\w.])",
            reader.scientific,
            behind="eE.,",
        ),
        Kind(
            rf"(?<![\w.,])(?P<number>[1-9])[Kk](?= (?:{_IN_K})s?\b)"
            r"|(?<![\w.,$€£])(?P<bare>[48])K(?=[,;:.!?)@]|\Z)",
            lambda match: f"{speller.cardinal(int(match['number'] or match['bare']))} k",
            behind="Kk",
        ),
        Kind(r"(?<![\w.,])401\(?k\)?(?!\w)", lambda _: "four oh one k", behind="(k"),
        Kind(
            rf"(?=[0-9.,]{{1,20}}[x×X])(?<![\w.])(?P<number>{speller.number})[x×X](?![\w.])(?! ?[0-9])",
            lambda match: f"{speller.say(match['number'])} times",
            behind="x×X.,",
        ),
    ]


class EnglishDateReader:
    """An `EnglishDateReader` says dates as English has them besides those in digits."""

    def __init__(self, speller: Speller) -> None:
        self._speller = speller

    def month_first(self, match: re.Match[str]) -> str:
        """Say `Dec. 25, 2024` and `May 3-5`."""
        return self._with_year(match, f"{_month(match)} {self._days(match)}", ", ")

    def day_first(self, match: re.Match[str]) -> str:
        """Say `24th of May` and `25 December 2024`; the day stays before the month."""
        before = match.string[max(0, match.start() - 8) : match.start()].lower()
        has_article = match["the"] or re.search(r"\b(?:an?|this|that|every|each|the) $", before)
        article = match["the"] or ("" if has_article else "the ")
        return self._with_year(match, f"{article}{self._days(match)} of {_month(match)}", ", ")

    def month_and_year(self, match: re.Match[str]) -> str:
        """Say `May 2024`."""
        return self._with_year(match, _month(match), " ")

    def decade(self, match: re.Match[str]) -> str:
        """Say `1990s` and `the 90s`."""
        words = (
            self._speller.year(match["year"])
            if match["year"]
            else self._speller.cardinal(int(match["short"]))
        )
        return words[:-1] + "ies" if words.endswith("y") else words + "s"

    def era(self, match: re.Match[str]) -> str:
        """Say `44 BC` and `AD 79`."""
        year, era = match["year"] or match["year1"], (match["era"] or match["era1"]).replace(".", "")
        words = self._speller.year(year) if len(year) == 4 else self._speller.whole(year)
        letters = " ".join("ay" if letter == "A" else letter.lower() for letter in era)
        is_end = match.end() == len(match.string) and match.group().endswith(".")
        return (f"{letters} {words}" if match["era1"] else f"{words} {letters}") + "." * is_end

    def _days(self, match: re.Match[str]) -> str:
        days = (match["day"], match["last"])
        return " to ".join(
            self._speller.ordinal(int(re.sub(r"\D", "", day)), ENGLISH_ORDINAL) for day in days if day
        )

    def _with_year(self, match: re.Match[str], words: str, joint: str) -> str:
        return f"{words}{joint}{self._speller.year(match['year'])}" if match["year"] else words


class EnglishMeasureReader:
    """An `EnglishMeasureReader` says measures as English has them besides numbers with units."""

    def __init__(self, speller: Speller) -> None:
        self._speller = speller

    def feet_and_inches(self, match: re.Match[str]) -> str:
        """Say `5'11"` and `6 ft 2 in`."""
        feet = match["feet"] or match["feet2"] or match["feet3"]
        inches = match["inches"] or match["inches2"] or match["inches3"]
        return f"{self._speller.cardinal(int(feet))} foot {self._speller.say(inches)}"

    def angle(self, match: re.Match[str]) -> str:
        """Say `40°26′`."""
        fields = {"angle-degree": "degrees", "duration-minute": "minutes", "duration-second": "seconds"}
        return " ".join(
            with_unit(self._speller, unit, match[name]) for unit, name in fields.items() if match[name]
        )

    def before_noun(self, match: re.Match[str]) -> str:
        """Say `a 5-km run`; the unit stays in the singular."""
        unit = unit_symbols(self._speller)[match["unit"]]
        return with_unit(self._speller, unit, "1", words=self._speller.say(match["number"]))

    def scientific(self, match: re.Match[str]) -> str:
        """Say `3.2e8`: times ten to the power of eight."""
        minus = self._speller.minus if match["minus"] else ""
        sign = self._speller.minus if match["sign"] in ("-", "−") else ""
        power = self._speller.cardinal(int(match["power"]))
        return f"{minus}{self._speller.say(match['number'])} times ten to the power of {sign}{power}"


def _month(match: re.Match[str]) -> str:
    return month_name("en", months("en")[match["name"]])
