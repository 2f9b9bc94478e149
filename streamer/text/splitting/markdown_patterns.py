"""What Markdown looks like: the patterns that `chat` looks for, each of bounded length."""

from __future__ import annotations

import re
from typing import Final

MAX_HELD_CHARS: Final = 1000
"""The longest word, address, row or link that is waited for."""
INDENT: Final = r"[ \t]{0,16}"
FENCE: Final = re.compile(
    rf"{INDENT}(?P<fence>`{{3,32}}(?=[^`\n]{{0,200}}(?:\n|\Z))|~{{3,32}})[^\n]{{0,200}}\n?"
)
RULE: Final = re.compile(
    rf"{INDENT}(?P<sign>[-*_=])(?=[^\n]{{0,{MAX_HELD_CHARS}}}(?:\n|\Z))(?:[ \t]*(?P=sign)){{2,}}[ \t]*(?:\n|\Z)"
)
ROW: Final = re.compile(rf"{INDENT}\|(?P<cells>[^\n]{{0,{MAX_HELD_CHARS}}})(?:\n|\Z)")
CELL: Final = re.compile(r"(?:[^|\\]|\\.?)+")
RULE_CELL: Final = re.compile(r"\s*:?-+:?\s*")
QUOTE: Final = re.compile(rf"{INDENT}>[ \t]?")
HEADING: Final = re.compile(rf"{INDENT}#{{1,6}}[ \t]{{1,200}}")
ITEM: Final = re.compile(
    rf"{INDENT}(?:[-*+•–][ \t]{{1,200}}(?:\[[ xX]\][ \t]{{1,200}})?|(?=\d{{1,3}}[.)][ \t]))"
)
OPEN_BLOCK: Final = re.compile(
    rf"{INDENT}(?:`{{3,32}}[^`\n]{{0,200}}|~{{3,32}}[^\n]{{0,200}}|`{{1,2}}|~{{1,2}}"
    rf"|[-*_=][-*_= \t]{{0,{MAX_HELD_CHARS}}}"
    rf"|\|[^\n]{{0,{MAX_HELD_CHARS}}}|#{{1,6}}[ \t]{{0,200}}"
    rf"|[-*+•–][ \t]{{1,200}}(?:\[(?:[ xX](?:\][ \t]{{0,200}})?)?)?|[+•–>]|\d{{1,3}}[.)]?)?"
)
"""What is at the beginning of a line and may still become one of these."""
SIGN: Final = re.compile(
    r"(?P<escaped>\\[!-/:-@\[-`{-~])|(?P<code>`{1,32})|(?P<emphasis>\*{1,32}|_{1,32}|~~)"
    r"|(?P<link>!?\[(?P<text>[^\[\]\n]{0,300})\]\([^()\[\s]{0,600}(?:[ \t]+[\"'][^\"'\n]{0,80}[\"'])?\))"
    r"|(?P<note>\[\^?\d{1,3}\])|<?(?P<address>https?://(?P<host>[^\s<>\"/:?#]{1,250})[^\s<>\"]{0,600})>?"
    r"|(?P<tag></?[A-Za-z][^<>\n]{0,200}>)"
)
BACKTICKS: Final = re.compile(r"`{1,32}")
OPEN_SIGN: Final = re.compile(r"\[[^\[\]\n]{0,300}(?:\](?:\([^()\[\n]{0,690})?)?|</?[A-Za-z][^<>\n]{0,200}")
"""A link or a tag that is not complete."""
OPEN_ADDRESS: Final = re.compile(rf"https?://[^\s<>\"]{{0,{MAX_HELD_CHARS}}}\Z")
"""An address that may not be complete, whatever letters it is written in."""
WORD_SIGNS: Final = "".join(map(chr, range(0x21, 0x7F)))
ADDRESS_ENDS: Final = ".,;:!?)]'*_"
CODE_SIGNS: Final = str.maketrans(dict.fromkeys('_(){}[]<>|=;/\\$#&^"', " "))
