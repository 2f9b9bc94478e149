"""Writes amounts, times and numbers out in twelve languages; part of `normalize` (English has `numbers`).

Counting is Unicode's (CLDR's spell-out rules, by `unicode_rbnf`); what stands around a number is in the short
tables here. Genders and cases are those that usually fit, not those that the sentence asks for.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from unicode_rbnf import FormatPurpose, RbnfEngine

MAX_COUNTED_DIGITS: Final = 15
"""Longer numbers are read digit by digit."""
_NO_SPACES: Final = ("ja", "ko", "zh")
_COMMA_GROUPS: Final = ("hi", "ja", "ko", "zh")
"""Who writes 1,250.5 as in English; the others write 1.250,5."""
_SPACE_GROUPS: Final = ("fr", "pl", "ru")
"""Who writes 1 250,5 with a plain space too."""
_DIGIT: Final = re.compile(r"\d")
_DATE: Final = re.compile(r"(?<!\d)(\d{1,2}|\d{4})([./-])(\d{1,2})\2(\d{4}|\d{1,2})(?!\d)")
_NUMBERING: Final = "spellout-numbering"
_MASCULINE: Final = "spellout-cardinal-masculine"
_FEMININE: Final = "spellout-cardinal-feminine"
_KOREAN: Final = "spellout-cardinal-native-attributive"
_ROMANCE_ORDINALS: Final = (
    (r"(?P<n>\d{1,3})\.?º", "spellout-ordinal-masculine"),
    (r"(?P<n>\d{1,3})\.?ª", "spellout-ordinal-feminine"),
)


@dataclass(frozen=True, slots=True)
class NumberWords:
    """What a language puts around its numbers. Forms of a name: `one|many`, or `one|few|many`.

    `time`, `hour`: how 7:45 and 7:00 are said. `currencies`: sign to forms, `*` where they are feminine.
    `small`: between an amount and its hundredths; None where these are read as decimals.
    """

    point: str
    time: str
    hour: str
    percent: str
    degrees: str
    currencies: str
    small: str | None = " "
    hours: str = ""
    hour_rules: str = _NUMBERING
    time_marks: str = ":"
    after_time: str = ""
    ordinals: tuple[tuple[str, str], ...] = ()
    """Patterns with the number `n`, and the name of the rules that say it."""


WORDS: Final = {
    "de": NumberWords(
        "Komma", "{h} Uhr {m}", "{h} Uhr", "{} Prozent", "{} Grad",
        "€ Euro|Euro $ Dollar|Dollar £ Pfund|Pfund ¥ Yen|Yen", after_time=" ?Uhr", hour_rules=_MASCULINE,
        ordinals=(
            (r"\b(?P<before>(?:[Aa]m|[Vv]om|[Zz]um|[Ii]m|[Bb]is|[Aa]b|de[mns]|\w{2,}e[mnrs]) )"
             r"(?P<n>\d{1,3})\.(?= \w)", "spellout-ordinal-n"),
            (r"\b(?P<before>(?:[Dd]er|[Dd]ie|[Dd]as) )(?P<n>\d{1,3})\.(?= \w)", "spellout-ordinal"),
            (r"\b(?P<n>\d{1,2})\.(?= (?:Jan|Feb|März|Apr|Mai|Jun|Jul|Aug|Sep|Okt|Nov|Dez))", "spellout-ordinal-n"),
        ),
    ),
    "es": NumberWords(
        "coma", "{h} {m}", "{h} {hours}", "{} por ciento", "{} grados",
        "€ euro|euros $ dólar|dólares £ *libra|libras ¥ yen|yenes",
        small=" con ", hours="hora|horas", hour_rules=_FEMININE,
        ordinals=_ROMANCE_ORDINALS,
    ),
    "fr": NumberWords(
        "virgule", "{h} {hours} {m}", "{h} {hours}", "{} pour cent", "{} degrés",
        "€ euro|euros $ dollar|dollars £ *livre|livres ¥ yen|yens",
        hours="heure|heures", hour_rules=_FEMININE, time_marks="[:h]|[ \u00a0\u202f]h[ \u00a0\u202f]",
        ordinals=((r"(?P<n>\d{1,3})(?:er|e|ème)\b", "spellout-ordinal-masculine"),
                  (r"(?P<n>\d{1,3})re\b", "spellout-ordinal-feminine")),
    ),
    "hi": NumberWords(
        "दशमलव", "{h} {m}", "{h}", "{} प्रतिशत", "{} डिग्री",
        "€ यूरो|यूरो $ डॉलर|डॉलर £ पाउंड|पाउंड ¥ येन|येन ₹ रुपया|रुपये",
    ),
    "it": NumberWords(
        "virgola", "{h} e {m}", "{h}", "{} per cento", "{} gradi",
        "€ euro|euro $ dollaro|dollari £ *sterlina|sterline ¥ yen|yen",
        small=" e ",
        ordinals=_ROMANCE_ORDINALS,
    ),
    "ja": NumberWords(
        "点", "{h}時{m}分", "{h}時", "{}パーセント", "{}度",
        "€ ユーロ|ユーロ $ ドル|ドル £ ポンド|ポンド ¥ 円|円", small=None,
    ),
    "ko": NumberWords(
        "점", "{h} 시 {m} 분", "{h} 시", "{} 퍼센트", "{} 도",
        "€ 유로|유로 $ 달러|달러 £ 파운드|파운드 ¥ 엔|엔 ₩ 원|원", small=None,
    ),
    "pl": NumberWords(
        "przecinek", "{h} {m}", "{h}", "{} procent", "{} stopni",
        "€ euro|euro $ dolar|dolary|dolarów £ funt|funty|funtów ¥ jen|jeny|jenów zł złoty|złote|złotych",
    ),
    "pt": NumberWords(
        "vírgula", "{h} e {m}", "{h} {hours}", "{} por cento", "{} graus",
        "R$ real|reais € euro|euros $ dólar|dólares £ *libra|libras ¥ iene|ienes",
        small=" e ", hours="hora|horas", hour_rules=_FEMININE,
        ordinals=_ROMANCE_ORDINALS,
    ),
    "ru": NumberWords(
        "запятая", "{h} {m}", "{h} {hours}", "{} процентов", "{} градусов",
        "€ евро|евро $ доллар|доллара|долларов £ фунт|фунта|фунтов ¥ *иена|иены|иен ₽ рубль|рубля|рублей",
        hours="час|часа|часов",
    ),
    "tr": NumberWords(
        "virgül", "{h} {m}", "{h}", "yüzde {}", "{} derece",
        "€ euro|euro $ dolar|dolar £ sterlin|sterlin ¥ yen|yen ₺ lira|lira",
        ordinals=((r"\b(?P<n>\d{1,3})\.(?= [a-zçğıöşü])", "spellout-ordinal"),),
    ),
    "zh": NumberWords(
        "点", "{h}点{m}分", "{h}点", "百分之{}", "{}度",
        "€ 欧元|欧元 $ 美元|美元 £ 英镑|英镑 ¥ 元|元", small=None,
    ),
}  # fmt: skip


def write_numbers_in(text: str, language: str) -> str:
    """The text with its numbers in words of `language`, a key of `WORDS`; all else is left as it is."""
    text = _DIGIT.sub(lambda match: str(unicodedata.decimal(match.group())), text)
    text = _DATE.sub(r"\1 \3 \4", text)
    for pattern, in_words in _rules(language):
        text = pattern.sub(in_words, text)
    return text


class _Writer:
    """Says the numbers of one language."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._words = WORDS[language]
        self._engine = RbnfEngine.for_language(language)
        self._gap = "" if language in _NO_SPACES else " "
        self._minus = self._engine.format_number(-1).text.removesuffix(self._count(1))
        self._currencies: dict[str, tuple[bool, list[str]]] = {}
        for sign, forms in re.findall(r"(\S+) (\S+)", self._words.currencies):
            self._currencies[sign] = (forms.startswith("*"), forms.lstrip("*").split("|"))
        space = " " if language in _SPACE_GROUPS else ""
        group = "," if language in _COMMA_GROUPS else rf"[.{space}\u00a0\u202f]"
        grouped = rf"\d{{1,3}}(?:{group}\d{{{2 if language == 'hi' else 3},3}})+(?!\d)"
        self._parts = re.compile(rf"({grouped}|\d+)(?:[.,](\d+))?")

    def rules(self) -> list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]]:
        """What to look for, in order, and how it is said."""
        words = self._words
        number = rf"(?P<number>(?<!\d){self._parts.pattern})"
        space = "[ \u00a0\u202f]?"
        sign = f"(?P<sign>{'|'.join(map(re.escape, self._currencies))})"
        minus = r"(?P<minus>(?<![\w.)])[-−])?"
        rules: list[tuple[str, Callable[[re.Match[str]], str]]] = [
            (
                rf"(?<![\d:.,])(?P<hour>[01]?\d|2[0-4])(?:{words.time_marks})(?P<minute>[0-5]\d)"
                rf"(?::[0-5]\d)?(?![\d:])(?:{words.after_time})?",
                self._time,
            ),
            (rf"{number}{space}{sign}(?!\w)", self._amount),
            (rf"{sign}{space}{number}", self._amount),
            (rf"{minus}{number}{space}(?P<unit>%|℃|°C?)", self._measure),
            *((pattern, self._ordinal(name)) for pattern, name in words.ordinals),
        ]
        if self._language == "zh":  # a year is read by its digits
            rules.append((r"(?<!\d)\d{4}(?=年)", lambda match: self._digits(match.group())))
        if self._language == "ko":
            rules.append(
                (r"(?<!\d)(?:1[0-2]|[1-9])(?= ?시)", lambda match: self._count(int(match.group()), _KOREAN))
            )
        if self._language == "tr":
            rules.append((rf"%{number}", lambda match: words.percent.format(self._number(match["number"]))))
        rules.append((rf"{minus}{number}", self._plain))
        return [(re.compile(pattern), in_words) for pattern, in_words in rules]

    def _time(self, match: re.Match[str]) -> str:
        hour, minute = int(match["hour"]), int(match["minute"])
        rules = _KOREAN if self._language == "ko" and hour <= 12 else self._words.hour_rules
        template = self._words.time if minute else self._words.hour
        hours = self._name(self._words.hours.split("|"), hour)
        words = template.format(h=self._count(hour, rules), m=self._count(minute), hours=hours)
        return self._spaced(match, words)

    def _amount(self, match: re.Match[str]) -> str:
        is_feminine, forms = self._currencies[match["sign"]]
        whole, decimals = self._split(match["number"])
        if len(decimals) > 2 or (decimals and self._words.small is None):
            return self._spaced(match, f"{self._number(match['number'])}{self._gap}{forms[-1]}")
        words = self._count_digits(whole, _FEMININE if is_feminine else _MASCULINE)
        words += self._gap + self._name(forms, int(whole[-MAX_COUNTED_DIGITS:]))
        if decimals.strip("0"):
            words += f"{self._words.small}{self._count(int(decimals.ljust(2, '0')))}"
        return self._spaced(match, words)

    def _measure(self, match: re.Match[str]) -> str:
        template = self._words.percent if match["unit"] == "%" else self._words.degrees
        return self._spaced(match, template.format(self._number(match["number"], match["minus"])))

    def _plain(self, match: re.Match[str]) -> str:
        return self._spaced(match, self._number(match["number"], match["minus"]))

    def _ordinal(self, rules: str) -> Callable[[re.Match[str]], str]:
        def say(match: re.Match[str]) -> str:
            said = self._engine.format_number(int(match["n"]), FormatPurpose.ORDINAL).text_by_ruleset
            return match.groupdict().get("before", "") + said[rules]

        return say

    def _number(self, number: str, minus: str | None = None) -> str:
        whole, decimals = self._split(number)
        words = self._count_digits(whole)
        if self._language == "de" and re.fullmatch(r"1[1-9]\d\d", number):
            words = self._engine.format_number(int(whole), FormatPurpose.YEAR).text
        if decimals:
            words += f"{self._gap}{self._words.point}{self._gap}{self._digits(decimals)}"
        return self._minus + words if minus else words

    def _split(self, number: str) -> tuple[str, str]:
        """Digits before the decimal point and behind it."""
        parts = self._parts.fullmatch(number)
        return (re.sub(r"\D", "", parts[1]), parts[2] or "") if parts else (number, "")

    def _name(self, forms: list[str], number: int) -> str:
        return _form(forms, number, is_again_one=self._language == "ru")

    def _count_digits(self, digits: str, rules: str = _NUMBERING) -> str:
        if len(digits) > MAX_COUNTED_DIGITS or (len(digits) > 1 and digits[0] == "0"):
            return self._digits(digits)
        return self._count(int(digits), rules)

    def _digits(self, digits: str) -> str:
        return self._gap.join(self._count(int(digit)) for digit in digits)

    def _count(self, number: int, rules: str = _NUMBERING) -> str:
        result = self._engine.format_number(number)
        return result.text_by_ruleset.get(rules, result.text)

    def _spaced(self, match: re.Match[str], words: str) -> str:
        """Words parted from letters that touched the number, where the language parts words."""
        text, start, end = match.string, match.start(), match.end()
        before = self._gap if text[max(0, start - 1) : start].isalpha() else ""
        return before + words + (self._gap if text[end : end + 1].isalpha() else "")


@lru_cache(maxsize=16)
def _rules(language: str) -> list[tuple[re.Pattern[str], Callable[[re.Match[str]], str]]]:
    return _Writer(language).rules()


def _form(forms: list[str], number: int, *, is_again_one: bool = False) -> str:
    """The form of a name behind `number`; three forms are Slavic. `is_again_one`: 21 takes the form of 1."""
    if number == 1 or (is_again_one and number % 10 == 1 and number % 100 != 11):
        return forms[0]
    if len(forms) == 3 and number % 10 in (2, 3, 4) and number % 100 not in (12, 13, 14):
        return forms[1]
    return forms[-1]
