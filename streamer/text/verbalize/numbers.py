"""Writes numbers out in words, in thirteen languages; part of `normalize`.

One table of kinds, in order: what is written like this is read by that. One pass over the text: at each place the
first kind that fits is read, and nothing is read twice. English and the other languages share the kinds and differ by
data (`languages`); what only English has is in `english`. What is said is the usual form of a number, not the one that
the sentence's grammar asks for.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from functools import lru_cache, partial
from typing import Final

from streamer.text.verbalize.codes import code_kinds, english_code_kinds
from streamer.text.verbalize.dates import date_kinds, time_kinds
from streamer.text.verbalize.english import english_date_kinds, english_measure_kinds
from streamer.text.verbalize.fractions import fraction_kind
from streamer.text.verbalize.kinds import LETTER, MINUS, Kind
from streamer.text.verbalize.languages import MASCULINE, NATIVE_KOREAN
from streamer.text.verbalize.quantities import quantity_kinds
from streamer.text.verbalize.roman import TITLES, roman_kinds
from streamer.text.verbalize.signs import sign_kinds
from streamer.text.verbalize.spelling import NARROW_SPACES, Speller, speller

_SIGNS: Final = rf"[-−–—./+÷*×xX⁄^:,; %‰'’(${NARROW_SPACES}€£¥￥₹₩₽₺₴₪₫₱฿₦]"
_START: Final = re.compile(
    rf"[0-9]|{_SIGNS}(?=[A-Z]{{0,2}}{_SIGNS}{{0,3}}[0-9])|/(?=\w)|\^(?=[a-z({{])"
    r"|(?<![^\W_])[^\W\d_]++[$.]?[ -]?(?=[0-9]|[IVXLCDM]++(?![^\W_]))"
    rf"|(?<![^\W_])(?:A\.(?=D)|(?:{TITLES}) (?=[A-Z])|M[CDILMVX]{{3}}|[IVX]++(?:st|nd|rd|th)?(?=[ -](?:cent|Olym)))"
)
"""A pattern for where a number can begin: a digit, or a sign or a word before one or before a Roman numeral."""
_SHOWN: Final = re.compile(r"[0-9/^IVXLCDM](?:(?<=[0-9/^])|(?![^\W_])|(?<=[IVX])(?:st|nd|rd|th))")
"""What every number has: a digit, a sign, or the end of a Roman numeral."""
_DIGITS: Final = re.compile("[0-9]+")
_MINUSES: Final = "-−–"
_SIGNS_OF_NUMBERS: Final = "+(.'"
"""What else may stand before the first digits of a kind that begins with digits."""
_NOT_ASCII: Final = re.compile(r"[^\x00-\x7f]")
_SUPERSCRIPTS: Final = re.compile("[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]+")
_POWER_BASE: Final = re.compile(r"(?:[0-9)]|(?<![^\W\d_])(?:[^\W\d_]|[b-df-hj-np-tv-z]{2}|[ксдм]м|in|mi))\Z")
_GERMAN_NOUN: Final = re.compile(" [A-ZÄÖÜ]")
_KOREAN_COUNTERS: Final = "시간|시|살|명|개|마리|권|병|잔|장|사람"
_YEARS_BY_WORD: Final = {
    "pl": (("(?<=[Ww] )", "roku", "locative"), ("", "roku", "genitive"), ("", "rok", "nominative")),
    "ru": (
        ("", "году", "spellout-ordinal-masculine-locative"), ("", "года", "spellout-ordinal-masculine-genitive"),
        ("", "год", "spellout-ordinal-masculine"),
    ),
}  # fmt: skip
"""Patterns of what stands before and behind a year, and the rules that count it then."""


def write_numbers(text: str, language: str) -> str:
    """Return the text with its numbers in words of `language`, a key of `WORDS`; all else is left as it is."""
    return _writer(language).write(plain_digits(text))


def plain_digits(text: str) -> str:
    """Return the text with ASCII digits instead of other ones, `1/2` for ½, `^2` for ², and letters for Roman signs."""
    if text.isascii():
        return text
    return _NOT_ASCII.sub(_plain_character, _SUPERSCRIPTS.sub(_power, text))


def _power(match: re.Match[str]) -> str:
    """Return `^2` behind a number, a variable or a unit; elsewhere (in a footnote's mark) it stands alone."""
    digits = unicodedata.normalize("NFKC", match.group()).replace("−", "-")
    is_power = _POWER_BASE.search(match.string[max(0, match.start() - 4) : match.start()])
    return f"^{digits}" if is_power else f" {digits} "


def _plain_character(match: re.Match[str]) -> str:
    plain = _plain_digit(match.group())
    is_behind_word = match.start() > 0 and match.string[match.start() - 1].isalnum()
    return f" {plain}" if "/" in plain and is_behind_word else plain


@lru_cache(maxsize=4096)
def _plain_digit(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if character in "℃℉":
        return unicodedata.normalize("NFKC", character)
    plain = unicodedata.normalize("NFKC", character)
    if category == "No" and "\u2044" in plain:
        return plain.replace("\u2044", "/")
    return plain if category in ("No", "Nl") and plain.isascii() and plain.isalnum() else character


class _Writer:
    """A `_Writer` finds and reads the numbers of one language."""

    def __init__(self, language: str) -> None:
        self._speller = speller(language)
        kinds = _kinds(self._speller)
        self._at_words = [kind for kind in kinds if kind.behind is None]
        unworded = [kind for kind in kinds if LETTER not in kind.pattern]
        self._at_signs = [kind for kind in unworded if not kind.behind]
        self._at_minuses = [kind for kind in unworded if not kind.behind or MINUS in kind.pattern]
        self._at_signs_of_numbers = unworded
        self._at_spaces = [kind for kind in kinds if kind.needs_amount]
        self._bare = [kind for kind in kinds if kind.is_bare]
        characters = set("".join(kind.behind or "" for kind in kinds))
        self._at_digits_before = {
            character: [kind for kind in unworded if kind.behind is None or character in kind.behind]
            for character in characters
        }
        self._at_digits = [kind for kind in unworded if kind.behind is None]
        for kind in kinds:
            kind.regex.match("")  # it is compiled now, and not in the middle of a text

    def write(self, text: str) -> str:
        """Return the text with its numbers in words."""
        if not _SHOWN.search(text):
            return text
        written: list[str] = []
        end = position = 0
        amount_end = -1
        while start := _START.search(text, position):
            position = start.start() + 1
            found = self._find(text, start.start(), is_behind_amount=start.start() == amount_end)
            if found is None:
                continue
            match, kind = found
            words = self._parted(text, match.start(), match.end(), kind.read(match))
            if match.start() == end and written and written[-1][-1:].isalnum() and words[:1].isalnum():
                words = self._speller.gap + words
            written += (text[end : match.start()], words)
            position = end = match.end()
            amount_end = end if kind.is_amount else -1
        return "".join((*written, text[end:]))

    def _find(self, text: str, start: int, *, is_behind_amount: bool) -> tuple[re.Match[str], Kind] | None:
        """Return the first kind that fits at `start`, and what it finds there; None if none does."""
        for kind in self._kinds_at(text, start):
            if kind.needs_amount and not is_behind_amount:
                continue
            if match := kind.regex.match(text, start):
                return match, kind
        return None

    def _kinds_at(self, text: str, start: int) -> list[Kind]:
        """Return the kinds that may begin at `start`, by the character there or, at digits, the one behind them."""
        if digits := _DIGITS.match(text, start):
            behind = text[digits.end() : digits.end() + 1]
            return self._at_digits_before.get(behind, self._at_digits) if behind else self._bare
        if text[start].isspace():
            return self._at_spaces
        if text[start].isalpha():
            return self._at_words
        if text[start] in _MINUSES:
            return self._at_minuses
        return self._at_signs_of_numbers if text[start] in _SIGNS_OF_NUMBERS else self._at_signs

    def _parted(self, text: str, start: int, end: int, words: str) -> str:
        """Separate the words from letters and digits that touched the number, if the language separates words."""
        before = " " if start and (text[start - 1].isalnum()) and words[:1].isalnum() else ""
        after = " " if text[end : end + 1].isalnum() and words[-1:].isalnum() else ""
        return before + words + after if self._speller.gap else words


@lru_cache(maxsize=16)
def _writer(language: str) -> _Writer:
    return _Writer(language)


def _kinds(speller: Speller) -> list[Kind]:
    """Return the table; the first kind that fits is taken."""
    is_english = speller.language == "en"
    kinds = [
        *sign_kinds(speller),
        *date_kinds(speller),
        *(
            english_date_kinds(speller) + roman_kinds(speller) + english_measure_kinds(speller)
            if is_english
            else []
        ),
        *time_kinds(speller),
        *code_kinds(speller),
        *(english_code_kinds(speller) if is_english else []),
        fraction_kind(speller),
        *quantity_kinds(speller),
        *plain_kinds(speller),
    ]
    if speller.gap:
        return kinds
    # Where no spaces part words, a number may touch them: only ASCII letters make it a name.
    return [replace(kind, pattern=f"(?a:{kind.pattern})") for kind in kinds]


def plain_kinds(speller: Speller) -> list[Kind]:
    """Return the kinds of ratios, ordinals and years, and of numbers that are nothing else."""
    number = speller.number

    def ratio(match: re.Match[str]) -> str:
        # Two digits behind the colon are said side by side, as in fifty fifty or Psalm 90:12.
        is_pair = speller.language == "en" and len(match["below"]) == 2
        joint = "" if is_pair else speller.words.ratio
        return speller.gap.join(
            filter(None, (speller.whole(match["above"]), joint, speller.say(match["below"])))
        )

    def ratios(match: re.Match[str]) -> str:
        joint = f"{speller.gap}{speller.words.ratio}{speller.gap if speller.words.ratio else ''}"
        return joint.join(map(speller.whole, match.group().split(":")))

    def ordinal(match: re.Match[str], rules: str) -> str:
        return match.groupdict().get("before", "") + speller.ordinal(int(match["n"].replace(",", "")), rules)

    def plain(match: re.Match[str]) -> str:
        minus = speller.minus if match["minus"] else ""
        if speller.language == "de":
            if re.fullmatch("1[1-9][0-9]{2}", match["number"]):
                return minus + speller.year(match["number"])
            if _GERMAN_NOUN.match(match.string, match.end()):  # ein Tag, not eins Tag
                return minus + speller.say(match["number"], MASCULINE)
        return minus + speller.say(match["number"])

    years = [
        Kind(
            r"(?<![0-9,.])(?:1[1-9]|20)[0-9]{2}(?![0-9]|[.,][0-9])",
            lambda match: speller.year(match.group()),
            is_bare=True,
        )
    ]
    return [
        Kind(r"(?<![\w:.,])[0-9]{1,3}(?::[0-9]{1,3}){2,4}(?![\w:])", ratios, behind=":"),
        Kind(rf"(?<![\w:.,])(?P<above>[0-9]{{1,3}}):(?P<below>{number})(?![\w:])", ratio, behind=":"),
        *(Kind(pattern, partial(ordinal, rules=rules)) for pattern, rules in speller.words.ordinals),
        *(years if speller.language == "en" else _language_kinds(speller)),
        Kind(rf"{MINUS}(?P<number>{number})", plain, is_bare=True),
        Kind(r"(?<=[0-9])[,;](?=[0-9])", lambda match: match.group() + " ", behind=""),
        Kind(r"(?<=[^\W\d_])-(?=[0-9])", lambda _: speller.gap, behind=""),
    ]


def _language_kinds(speller: Speller) -> list[Kind]:
    """Return the kinds of numbers whose form depends on the next word, for the languages whose forms we know."""
    match speller.language:
        case "zh":  # a year is read by its digits
            return [Kind("(?<![0-9])[0-9]{4}(?=年)", lambda match: speller.digits(match.group()))]
        case "ko":
            return [
                Kind("(?<![0-9])(?:6|10)(?=월)", lambda match: {"6": "유", "10": "시"}[match.group()]),
                Kind(
                    rf"(?<![0-9.,:제])[1-9][0-9]?(?= ?(?:{_KOREAN_COUNTERS}))",
                    lambda match: speller.cardinal(int(match.group()), NATIVE_KOREAN),
                ),
            ]
        case "pl" | "ru":
            return [
                Kind(
                    rf"{before}(?<![0-9.,])[12][0-9]{{3}}(?= {after}\b)",
                    partial(lambda match, rules: speller.ordinal(int(match.group()), rules), rules=rules),
                )
                for before, after, rules in _YEARS_BY_WORD[speller.language]
            ]
    return []
