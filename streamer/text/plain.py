"""Makes a clean text plain for any model, before it is written out or cut into tokens; `reading` applies it.

Runs of signs make a model invent speech or swallow words: a rule of dashes becomes a pause, `!!!!` becomes `!`. What
a client is shown stays as it was written.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from streamer.text.tags import NOTES

MAX_LETTERS_IN_A_ROW: Final = 3
MAX_WORD_LETTERS: Final = 100
"""Longer words are unknown to a tokenizer of word pieces, and take the word before with them."""
PAUSE: Final = ", "

_STOPS: Final = ".?!…‥‽⁇⁈⁉‼。！？｡؟۔।॥"
_MARKS: Final = "?!‽⁇⁈⁉‼！？؟"
_PAUSES: Final = _STOPS + ",;:،؛、，；：—–-"
_CLOSERS: Final = "\"'”’»)"
_FRAME: Final = "\\u2500-\\u259f"
"""Signs that boxes and bars are drawn with."""
_MARK_RUN: Final = re.compile(rf"[{_MARKS}](?:[ \t]{{0,3}}[{_MARKS}]){{2,}}")
_DOT_RUN: Final = re.compile(r"\.(?:[ \t]{0,3}\.){2,}")
_STOP_RUN: Final = re.compile(r"([…‥。｡۔।॥])(?:[ \t]{0,3}\1){2,}")
_SIGN: Final = rf"(?:(?![{_STOPS}{NOTES}])[^\w\s\[\]]|_)"
_SAME_SIGNS: Final = rf"(?P<sign>{_SIGN})(?:(?P=sign)|[ \t]{{1,3}}(?P=sign)(?![\d.$€£])){{2,}}"
_TWO_SIGNS: Final = (
    rf"(?P<one>{_SIGN})[ \t]?(?P<other>{_SIGN})(?:[ \t]?(?P=one)[ \t]?(?P=other)){{2,}}(?:[ \t]?(?P=one))?"
)
"""Two signs by turns, three times or more: `=-=-=-`."""
_RULE: Final = re.compile(
    rf"[ \t]*+(?P<rule>(?:[ \t]*(?:[|:+<>]{{0,3}}(?:{_SAME_SIGNS}|{_TWO_SIGNS})[|:+<>]{{0,3}}|[{_FRAME}]+"
    r"|(?<!\S)\|(?!\S)|(?<!\S)==(?=[ \t]*$)|^==(?!\S)))+)[ \t]*",
    re.MULTILINE,
)
"""The same sign three times or more, with what a table or an arrow adds to it; lone pipes, and the signs around
`== a title ==`."""
_SIGNS_IN_A_ROW: Final = re.compile(r"[^\w\s][ \t]{0,3}[^\w\s]")
_RULE_SIGN: Final = re.compile(rf"[_|{_FRAME}]")
"""Without any of these two, which most texts lack, a text has no run of marks and no rule."""
_PAUSE_RUN: Final = re.compile(r"\s*+,(?:\s*+,)*+")
_LETTER_RUN: Final = re.compile(rf"([^\W\d_])\1{{{MAX_LETTERS_IN_A_ROW},}}")
_LONG_WORD: Final = re.compile(rf"([^\W_]{{{MAX_WORD_LETTERS}}})(?=[^\W_])")


def plain(text: str) -> str:
    """The text in composed form, with pauses for rules, and runs of stops and letters shortened."""
    if not text.isascii():
        composed = unicodedata.normalize("NFC", text)
        text = "".join(character for character in composed if unicodedata.category(character) != "Cn")
    if _SIGNS_IN_A_ROW.search(text) or _RULE_SIGN.search(text):
        text = _without_runs(text)
    text = _LETTER_RUN.sub(lambda run: run[1] * MAX_LETTERS_IN_A_ROW, text)
    if len(text) > MAX_WORD_LETTERS:
        text = _LONG_WORD.sub(r"\1 ", text)
    return text.strip()


def _without_runs(text: str) -> str:
    """The text with one mark for several, and a pause or a space for a rule."""
    text = _MARK_RUN.sub(lambda run: "".join(dict.fromkeys("".join(run.group().split()))), text)
    text = _STOP_RUN.sub(r"\1", _DOT_RUN.sub("...", text))
    text, num_rules = _RULE.subn(_pause, text)
    return _PAUSE_RUN.sub(",", text).strip(", \t\r\n") if num_rules else text


def _pause(rule: re.Match[str]) -> str:
    """Return a comma if words are on both sides of the rule, and no other sign of a pause; else a space."""
    signs, text = rule["rule"], rule.string
    if any(unicodedata.category(sign)[0] == "M" for sign in signs):
        return rule.group()  # marks of letters are no signs
    before, after = text[: rule.start()], text[rule.end() :]
    if signs[0] in "*_~`":  # emphasis, if it touches a word on one side alone
        is_behind_word = before[-1:].isalnum() and text[rule.start("rule") - 1].isalnum()
        is_before_word = after[:1].isalnum() and text[rule.end("rule")].isalnum()
        if is_behind_word != is_before_word:
            return rule.group().replace(signs, "")
    if signs[0] == "%" and before[-1:].isdigit():
        return "% " if after[:1].isalnum() else "%"
    before, after = before.rstrip().rstrip(_CLOSERS), after.lstrip()
    has_pause = not before or not after or before[-1] in _PAUSES or after[0] in _PAUSES
    return " " if has_pause else PAUSE
