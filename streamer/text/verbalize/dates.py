"""Reads dates and times of day; kinds of `numbers`."""

from __future__ import annotations

import re
from typing import Final

from streamer.text.verbalize.kinds import Kind
from streamer.text.verbalize.languages import NATIVE_KOREAN
from streamer.text.verbalize.spelling import Speller
from streamer.text.verbalize.units import alternatives, month_name, months, plural_form, with_unit

_YEAR: Final = "(?P<year>[12][0-9]{3})"
_DAY: Final = "(?P<day{0}>0?[1-9]|[12][0-9]|3[01])"
_MONTH: Final = "(?P<month{0}>0?[1-9]|1[0-2])"
_CLOCK: Final = (
    r"(?P<hour>[01]?[0-9]|2[0-4]):(?P<minute>[0-5][0-9])"
    r"(?::(?P<second>[0-5][0-9])(?:[.,](?P<part>[0-9]{1,9}))?)?"
)
_ZONE: Final = r"(?P<zone> ?(?:Z\b|UTC\b|GMT\b)|[+−-](?:0[0-9]|1[0-4])(?::?[0-5][0-9])?(?![0-9:]))?"
_NAMED_ZONE: Final = r"(?P<zone> ?(?:Z\b|UTC\b|GMT\b)|\+(?:0[0-9]|1[0-4]):?[0-5][0-9](?![0-9:]))?"
_HALF: Final = r"(?: ?(?P<half>[AaPp])(?:\.[Mm]\b\.?|[Mm]\b))"
_BEHIND: Final = 12
"""The number of characters before a number that are searched for the word that decides its reading."""
_KOREAN_MONTHS: Final = {6: "유", 10: "시"}


def date_kinds(speller: Speller) -> list[Kind]:
    """Return the kinds of dates in digits, and of those with a month's name behind the day."""
    reader = DateReader(speller)
    half = f"{_HALF}?" if speller.language == "en" else ""
    kinds = [
        Kind(
            rf"(?<![\w.,-]){_YEAR}{mark}{_MONTH.format('')}{mark}{_DAY.format('')}"
            rf"(?:[T ]{_CLOCK}{half}{_ZONE})?(?![0-9]|{mark}[0-9])",
            reader.date,
            behind=mark[-1],
        )
        for mark in ("-", "/", r"\.")
    ]
    kinds += [Kind(_numeric_date(speller, mark), reader.date, behind=mark[-1]) for mark in ("/", r"\.", "-")]
    if speller.words.has_spaces and speller.language not in ("en", "ko"):
        kinds.append(_written_date(speller, reader))
    return kinds


def time_kinds(speller: Speller) -> list[Kind]:
    """Return the kinds of times of day and durations in digits."""
    reader = TimeReader(speller)
    words = speller.words
    half = rf"{_HALF}?" if speller.language == "en" else f"(?:{words.after_time})?"
    kinds = [
        Kind(rf"(?<![\w:.,]){_CLOCK}{half}{_NAMED_ZONE}(?![0-9:]|[.,][0-9])", reader.time, behind=":"),
        Kind(
            r"(?<![\w:.,])(?P<hour>[0-9]{1,4}):(?P<minute>[0-5][0-9]):(?P<second>[0-5][0-9])(?![0-9:])",
            reader.duration,
            behind=":",
        ),
        Kind(
            rf"(?<![\w:.,])(?P<minute>[0-9]{{1,3}}):(?P<second>[0-5][0-9]){re.escape(speller.point)}(?P<part>[0-9]{{1,3}})"
            r"(?![0-9:]|[.,][0-9])",
            reader.duration,
            behind=":",
        ),
    ]
    if words.time_marks != ":":
        kinds.append(
            Kind(
                rf"(?<![\w:.,])(?P<hour>[01]?[0-9]|2[0-4])(?:{words.time_marks})(?P<minute>[0-5][0-9])(?![0-9:])",
                reader.time,
            )
        )
    if speller.language == "en":
        kinds.append(Kind(rf"(?<![\w:.,])(?P<hour>1[0-2]|[1-9]){_HALF}", reader.time, behind=" AaPp"))
        kinds.insert(
            0,
            Kind(
                r"(?<![\w:.,])(?P<hour>[0-9]{1,3}):(?P<minute>[0-5][0-9])[ -](?:hours?|hrs?)\b"
                r"|(?<![\w:.,])(?P<minute2>[0-9]{1,3}):(?P<second>[0-5][0-9])[ -](?:minutes?|mins?)\b",
                reader.duration,
                behind=":",
            ),
        )
    return kinds


def _numeric_date(speller: Speller, mark: str) -> str:
    orders = [
        _DAY.format("") + mark + _MONTH.format(""),
        _MONTH.format("2") + mark + _DAY.format("2"),
    ]
    # Dots are never American.
    if speller.words.date_order == "mdy" and mark != r"\.":
        orders.reverse()
    # A short year needs two digits everywhere, or it is a version, a score, a row of numbers.
    short = "(?P<short>[0-9]{2})" if mark == "/" else r"(?<=[0-9]{2}.[0-9]{2}.)(?P<short>[0-9]{2})"
    return rf"(?<![\w.,/-])(?:{'|'.join(orders)}){mark}(?:{_YEAR}|{short})(?![0-9]|{mark}[0-9])"


def _written_date(speller: Speller, reader: DateReader) -> Kind:
    """Return the kind of `25. Dezember 2024`, `25 de diciembre de 2024` and `1er janvier`."""
    of = "(?:de |d')?" if " de " in speller.words.date else ""
    mark = r"\." if speller.language == "de" else "(?:er|º|°)?"
    name = rf"(?P<name>{alternatives(months(speller.language))})\b"
    year = rf"(?:\.?,? {of}{_YEAR}(?![0-9.,]*[0-9])(?P<era> года| г\.| roku| r\.)?)?"
    return Kind(rf"(?<![\w.,:/-]){_DAY.format('')}{mark} {of}{name}{year}", reader.written_date)


class DateReader:
    """A `DateReader` says dates in one language."""

    def __init__(self, speller: Speller) -> None:
        self._speller = speller
        self._times = TimeReader(speller)

    def date(self, match: re.Match[str]) -> str:
        """Say a date in digits, with the time behind it if there is one."""
        found = match.groupdict()
        day = found["day"] or found["day2"]
        month = found["month"] or found["month2"]
        words = self.words(match, int(day), int(month), found["year"] or found["short"])
        if not found.get("hour"):
            return words
        return f"{words}{', ' if self._speller.words.has_spaces else ''}{self._times.clock(match)}"

    def written_date(self, match: re.Match[str]) -> str:
        """Say a date with the name of its month."""
        month = months(self._speller.language)[match["name"]]
        words = self.words(match, int(match["day"]), month, match["year"])
        # Only Polish and Russian count a year as the so-manieth, with a word for it.
        return words if match["era"] is None or self._speller.words.after_year else words + match["era"]

    def words(self, match: re.Match[str], day: int, month: int, year: str | None) -> str:
        """Return the date in words, as the text before `match` asks for."""
        template = self._speller.words.date
        if year is None:
            before, _, after = template.partition("{month}")
            template = before + "{month}" + (" {day}" if "{day}" in after else "")
        return template.format(
            day=self.day(match, day),
            month=self._month(month),
            year=self._year(year) if year else "",
        )

    def day(self, match: re.Match[str], day: int) -> str:
        """Return the day, counted as the text before `match` asks for."""
        words = self._speller.words
        if day == 1 and words.first_day:
            return words.first_day
        before = match.string[max(0, match.start() - _BEHIND) : match.start()]
        rules = next(rules for pattern, rules in words.day_rules if re.search(pattern, before))
        return self._speller.ordinal(day, rules)

    def _year(self, year: str) -> str:
        if len(year) == 2 and self._speller.words.after_year:
            return self._speller.whole(year)
        return self._speller.year(year) + self._speller.words.after_year

    def _month(self, month: int) -> str:
        speller = self._speller
        if speller.language == "ko":
            return _KOREAN_MONTHS.get(month) or speller.cardinal(month)
        return month_name(speller.language, month) if speller.words.has_spaces else speller.cardinal(month)


class TimeReader:
    """A `TimeReader` says times of day and durations in one language."""

    def __init__(self, speller: Speller) -> None:
        self._speller = speller

    def time(self, match: re.Match[str]) -> str:
        """Say a time of day; h:mm:ss is a duration unless something shows that it is none."""
        found = match.groupdict()
        if found.get("second") and not found.get("half") and not found.get("zone"):
            before = match.string[max(0, match.start() - _BEHIND) : match.start()]
            is_long = len(found["hour"]) == 2 and found["hour"] != "00"
            if not is_long and not re.search(f"(?:{self._speller.words.at})$", before):
                return self.duration(match)
        return self.clock(match)

    def clock(self, match: re.Match[str]) -> str:
        """Say a time of day with its seconds and its zone."""
        found = match.groupdict()
        hour, minute, second = int(found["hour"]), found.get("minute"), found.get("second")
        words = self._hour_and_minute(hour, minute, found.get("half"))
        if second and (second != "00" or found["part"]):
            number = str(int(second)) + (f"{self._speller.point}{found['part']}" if found["part"] else "")
            seconds = with_unit(self._speller, "duration-second", number)
            words = self._speller.words.seconds.format(words, seconds)
        return words + self._zone(found.get("zone")) + self._stop(match)

    def duration(self, match: re.Match[str]) -> str:
        """Say hours, minutes and seconds by their names."""
        found = match.groupdict()
        fields = {
            "duration-hour": found.get("hour"),
            "duration-minute": found.get("minute") or found.get("minute2"),
            "duration-second": found.get("second"),
        }
        values = {unit: str(int(digits)) for unit, digits in fields.items() if digits is not None}
        present = {unit: digits for unit, digits in values.items() if digits != "0"} or values
        if found.get("part"):
            present["duration-second"] = f"{values['duration-second']}{self._speller.point}{found['part']}"
        gap = " " if self._speller.words.has_spaces else ""
        return gap.join(with_unit(self._speller, unit, digits) for unit, digits in present.items())

    def _hour_and_minute(self, hour: int, minute: str | None, half: str | None) -> str:
        if self._speller.language == "en":
            return self._in_english(hour, minute, half)
        speller, words = self._speller, self._speller.words
        rules = NATIVE_KOREAN if speller.language == "ko" and 1 <= hour <= 12 else words.hour_rules
        hours = plural_form(speller, words.hours.split("|"), speller.value(str(hour))) if words.hours else ""
        template = words.time if minute and int(minute) else words.hour
        return template.format(
            h=speller.cardinal(hour, rules), m=speller.cardinal(int(minute or 0)), hours=hours
        )

    def _in_english(self, hour: int, minute: str | None, half: str | None) -> str:
        words = self._speller.cardinal(hour)
        if minute and minute != "00":
            words += f" {'oh ' if minute[0] == '0' else ''}{self._speller.cardinal(int(minute))}"
        elif not half:
            words += " o'clock" if 1 <= hour <= 12 else " hundred"
        return f"{words} {'ay' if half in 'aA' else 'p'} m" if half else words

    @staticmethod
    def _stop(match: re.Match[str]) -> str:
        """Return the stop of `p.m.` if it also ends the sentence."""
        return "." if match.end() == len(match.string) and match.group().endswith(".") else ""

    def _zone(self, zone: str | None) -> str:
        if not zone:
            return ""
        speller = self._speller
        names = {"Z": "UTC", "UTC": "UTC", "GMT": "GMT"}
        name = names.get(zone.strip(), "UTC")
        if speller.language == "en":
            name = " ".join(name.lower())
        if zone.strip() in names:
            return f" {name}"
        hours, minutes = zone[1:3], zone[3:].lstrip(":")
        words = speller.cardinal(int(hours))
        if minutes.strip("0"):
            words += f" {speller.cardinal(int(minutes))}"
        sign = "plus" if zone[0] == "+" else speller.minus.strip()
        return f" {name} {sign} {words}" if (hours + minutes).strip("0") else f" {name}"
