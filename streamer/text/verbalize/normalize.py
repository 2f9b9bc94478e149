"""Makes text speakable for models that need it, and for clients that wish it.

Bark reads numbers and signs itself; the built-in model knows words only, so the sentences for it pass through
`normalize` on their way to the synthesizer, and so do those for other models if a client asks for it. What listeners
are shown stays as it was written.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import partial
from typing import Final

from streamer.text.clean import sanitize, tidy
from streamer.text.tags import BARK_DIRECTION, DIRECTION
from streamer.text.verbalize.languages import WORDS
from streamer.text.verbalize.numbers import write_numbers
from streamer.text.verbalize.spelling import speller

_ABBREVIATIONS: Final = {
    "dr": "doctor", "mr": "mister", "mrs": "missus", "ms": "miz", "prof": "professor", "st": "saint",
    "jr": "junior", "sr": "senior", "gen": "general", "capt": "captain", "sgt": "sergeant", "lt": "lieutenant",
    "col": "colonel", "rev": "reverend", "gov": "governor", "sen": "senator", "rep": "representative",
    "e.g": "for example", "i.e": "that is", "etc": "et cetera", "vs": "versus", "approx": "approximately",
    "dept": "department", "inc": "incorporated", "ltd": "limited", "corp": "corporation", "ave": "avenue",
    "blvd": "boulevard", "rd": "road", "mt": "mount", "ft": "fort", "fig": "figure", "vol": "volume",
    "jan": "January", "feb": "February", "apr": "April", "aug": "August", "sept": "September",
    "sep": "September", "oct": "October", "nov": "November", "dec": "December",
}  # fmt: skip
_SYMBOLS: Final = {
    "&": "and", "@": "at", "+": "plus", "=": "equals", "%": "percent", "€": "euros", "£": "pounds",
    "$": "dollars", "×": "times", "÷": "divided by", "°": "degrees", "<": "less than", ">": "greater than",
    "→": "to", "->": "to", "<=": "less than or equal to", "≤": "less than or equal to",
    ">=": "greater than or equal to", "≥": "greater than or equal to", "≠": "is not equal to",
    "!=": "is not equal to", "==": "equals", "√": "square root of",
    "∞": "infinity", "π": "pi", "§": "section", "−": "minus", "‰": "per mille",
    "¢": "cents", "¥": "yen", "₹": "rupees",
    "≈": "about", "±": "plus or minus", "©": "copyright", "™": "", "®": "",
}  # fmt: skip
_SYMBOL: Final = re.compile("|".join(map(re.escape, sorted(_SYMBOLS, key=len, reverse=True))))
_ACRONYMS: Final = frozenset(
    [
        "AI", "API", "ATM", "CEO", "CFO", "CIA", "CPU", "CTO", "DIY", "DNA", "EU", "FAQ", "FBI", "GPU", "HIV",
        "HQ", "IBM", "ID", "IO", "IP", "IQ", "IRS", "ISP", "LA", "LLM", "MIT", "MRI", "NBA", "NFL", "NYC",
        "OS", "RNA", "ROI", "SUV", "UAE", "UFO", "UI", "UK", "UN", "UPS", "URI", "URL", "US", "USA", "USB",
        "UX", "VIP", "VPN", "EV", "AC", "DC", "HR", "AM", "PM", "EST", "EDT", "CET", "UTC", "USD",
    ]
)  # fmt: skip
_LINK: Final = re.compile(r"!?\[([^\[\]\n]{1,200})\]\([^()\s]{1,400}\)")
_MARKUP: Final = re.compile(
    r"```\w*|^[ \t]*(?:#{1,6}|[-*+•]|>)[ \t]+|[*_]{1,3}(?=\S)|(?<=\S)[*_]{1,3}|[`|~]", re.MULTILINE
)
_ADDRESS: Final = re.compile(
    r"(?:https?://|www\.)[^\s<>\"]{1,400}[\w/]|[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64})+"
    r"|\b[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}"
    r"\.(?:com|org|net|io|dev|ai|edu|gov|co\.uk|de|fr)\b(?:/[\w/.-]{0,200}\w)?"
)
_INNER_STOP: Final = re.compile(r"\.\S")
_ADDRESS_SIGNS: Final = {".": "dot", "/": "slash", "@": "at", "-": "dash", "_": "underscore", ":": "colon"}
_INNER_LETTER: Final = re.compile(r"\.[A-Za-z]\.")
_DOTTED: Final = re.compile(r"\b(?:[A-Za-z]\.){2,}(?:[A-Za-z]\b)?")
_ABBREVIATION: Final = re.compile(
    rf"\b({'|'.join(sorted(map(re.escape, _ABBREVIATIONS), key=len, reverse=True))})\.(?=[\s,;:)]|$)(?=(\s+[A-Z])?)",
    re.IGNORECASE,
)
_ABBREVIATION_STOP: Final = re.compile(
    r"\.(?:" + "|".join(rf"(?<=\b{re.escape(word)}\.)" for word in _ABBREVIATIONS) + r")(?=[\s,;:)]|$)",
    re.IGNORECASE,
)
"""The stop of an abbreviation: stops are rarer than the words that `_ABBREVIATION` would look at."""
_STREET: Final = re.compile(r"(?<=[a-z] )(St|Dr)\.(?=\s*(?:$|[,.;a-z]))")
_NUMERO: Final = re.compile(r"\b[Nn]o(s?)\. ?(?=[0-9])|(?<![^\W_])# ?(?=[0-9])|№ ?")
_PAGES: Final = re.compile(r"\b(pp?|[Cc]h)\. ?(?=[0-9])")
_NUMERO_SIGN: Final = re.compile("[.#] ?[0-9]|№")
_PAGE_WORDS: Final = {"p": "page ", "pp": "pages ", "ch": "chapter ", "Ch": "Chapter "}
_BEFORE_FEET: Final = re.compile(r"(?:[0-9]|\b(?:sq|cu)\.?) ?\Z")
_WITH: Final = re.compile(r"\b[Ww]/(o\b)? ?(?=\w)")
_SLASH: Final = re.compile(r"(?<=[^\W\d_])/(?=[^\W\d_])")
_MARKUP_SIGN: Final = re.compile(r"[`#*+•>_|~\[-]")
"""A sign that any markup has; it is looked for first, because most texts have none."""
_BLANKS: Final = re.compile(r"[\t\r\n][ \t\r\n]*| [ \t\r\n]+")
"""White space that is not one space."""
_UNSPOKEN: Final = re.compile(r"[\[\]{}()^\\\"]|[^\x00-\x7f]")
_BETWEEN_NUMBERS: Final = re.compile(r"(?<=[0-9)])(\*{1,2})(?=[0-9(.])|~(?=[$€£]?\.?[0-9])")
"""These signs stand before and between numbers; elsewhere they are Markdown."""
_PLAIN_SIGNS: Final = {"*": "×", "**": "^"}
_TWO_CAPITALS: Final = re.compile("[A-Z]{2}")
_CAPITALS: Final = re.compile(r"\b([A-Z]{2,5})(s?)\b")


def normalize(text: str, language: str = "en", *, keeps_directions: bool = False) -> str:
    """Return the text as it is said, in words and plain punctuation.

    English is written out in full; in the other languages of `WORDS` only numbers are; all others keep theirs.
    `keeps_directions` keeps tags, notes and speakers' labels for a model that knows them; otherwise they are
    left out, because a model that needs everything in words cannot laugh or sing.
    """
    text = sanitize(text)
    if not keeps_directions:
        has_directions = "[" in text or ":" in text or not text.isascii()
        return _in_words(BARK_DIRECTION.sub(" ", text) if has_directions else text, language)
    pieces: list[str] = []
    end = 0
    for match in DIRECTION.finditer(text):
        pieces += [_in_words(text[end : match.start()], language), match.group().strip()]
        end = match.end()
    pieces.append(_in_words(text[end:], language))
    return tidy(" ".join(filter(None, pieces)))


def _in_words(text: str, language: str) -> str:
    language = language.lower().partition("-")[0]
    if _MARKUP_SIGN.search(text):
        text = _BETWEEN_NUMBERS.sub(lambda match: _PLAIN_SIGNS.get(match[1], "≈"), text)
        text = _MARKUP.sub(" ", _LINK.sub(r"\1", text))
    text = _BLANKS.sub(" ", text)
    if language == "en":
        for rewrite in _REWRITES:
            text = rewrite(text)
    elif language in WORDS:
        text = write_numbers(text, language)
    if _UNSPOKEN.search(text):
        text = text.translate(_SPOKEN)
    return tidy(text)


def _write_addresses(text: str) -> str:
    if "://" not in text and not _INNER_STOP.search(text):
        return text
    return _ADDRESS.sub(lambda match: _address(match.group()), text)


def _address(address: str) -> str:
    address = re.sub(r"^https?://|^www\.|(?<=//)www\.", "", address).removeprefix("www.").rstrip("/")
    parts = re.findall(r"[^\W\d_]+|\d+|.", address)
    words = (
        speller("en").digits(part) if part.isdecimal() else _ADDRESS_SIGNS.get(part, part) for part in parts
    )
    return " ".join(words)


def _write_abbreviations(text: str) -> str:
    streets = {"St": "street", "Dr": "drive"}
    if "St." in text or "Dr." in text:
        text = _STREET.sub(lambda match: streets[match[1]], text)
    if _NUMERO_SIGN.search(text):
        text = _NUMERO.sub(lambda match: "numbers " if match[1] else "number ", text)
        text = _PAGES.sub(lambda match: _PAGE_WORDS[match[1]], text)
    if "/" in text:
        text = _WITH.sub(lambda match: "without " if match[1] else "with ", text)
    return _ABBREVIATION.sub(_abbreviation, text) if _ABBREVIATION_STOP.search(text) else text


def _abbreviation(match: re.Match[str]) -> str:
    if match[1] == "ft" and _BEFORE_FEET.search(match.string[max(0, match.start() - 8) : match.start()]):
        return match[1]  # feet, not a fort
    word = _ABBREVIATIONS[match[1].lower()]
    if match[1][0].isupper():
        word = word[0].upper() + word[1:]
    # "etc. Then": the stop ended a sentence too.
    is_end = match.end() == len(match.string) or (
        match[2] and match[1].lower() in ("etc", "inc", "ltd", "corp")
    )
    return word + ("." if is_end else "")


def _write_letters(text: str) -> str:
    """Spell acronyms: dotted ones, known ones, and those without a vowel."""
    if _INNER_LETTER.search(text):
        text = _DOTTED.sub(lambda match: spell(match.group().replace(".", "")) + _behind(match), text)
    if not _TWO_CAPITALS.search(text):
        return text
    is_shouted = text.isupper() and " " in text.strip()

    def capitals(match: re.Match[str]) -> str:
        word = match[1]
        is_spelled = not re.search("[AEIOUY]", word) or (word in _ACRONYMS and not is_shouted)
        return spell(word) + ("'s" if match[2] else "") if is_spelled else match.group()

    return _CAPITALS.sub(capitals, text)


def _behind(match: re.Match[str]) -> str:
    """Return a stop where the abbreviation's last one ends the text too, and a space where a word touches it."""
    if match.end() == len(match.string):
        return "." if match.group().endswith(".") else ""
    return " " if match.string[match.end()].isalnum() else ""


def spell(letters: str) -> str:
    """Return the letters' names; `a` becomes `ay`, because alone it is an article."""
    return " ".join("ay" if letter in "aA" else letter.lower() for letter in letters)


def _write_symbols(text: str) -> str:
    if "/" in text:
        text = _SLASH.sub(" ", text)
    return _SYMBOL.sub(lambda match: f" {_SYMBOLS[match.group()]} ", text)


class _Spoken(dict[int, str]):
    """A table for `str.translate` that puts a space for emoji, parts of these, and other signs without a sound."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        is_unspoken = character in '[]{}()^\\"“”«»\ufe0f' or (
            character > "\x7f" and unicodedata.category(character) in ("So", "Sk", "Cf", "Cn", "Co", "Me")
        )
        self[code] = " " if is_unspoken else character
        return self[code]


_SPOKEN: Final = _Spoken()


_REWRITES: Final[tuple[Callable[[str], str], ...]] = (
    _write_addresses,
    _write_abbreviations,
    partial(write_numbers, language="en"),
    _write_letters,
    _write_symbols,
)
