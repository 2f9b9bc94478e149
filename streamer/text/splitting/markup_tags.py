"""Finds markup in a text that is still being written: tags of SSML, `[pause:1.5]`, comments; `markup` follows it.

This is no parser of XML: there are no entities of a document's own, nothing is looked up, and every stretch is bounded.
What only looks like markup is text: `a < b`, `<3`, `[note]`, `List<String>`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from streamer.text.clean import sanitize

MAX_TAG_CHARS: Final = 600
"""The length of a tag beyond which no further attribute of it is read."""
MAX_CONTENT_CHARS: Final = 300
"""The longest text between the tags of `ELEMENTS`."""
COMMENT: Final = "!--"
"""The name of a tag that says nothing: a comment, or what stands before a document."""
ELEMENTS: Final = frozenset(["sub", "say-as", "phoneme"])
"""Elements whose text is spoken in another way, so that it has to be known whole; it holds no tags."""
BLOCKS: Final = frozenset("p s br hr div li ul ol table tr td th pre blockquote h1 h2 h3 h4 h5 h6".split())
"""Tags of SSML and HTML at which a sentence ends."""
FOLLOWED: Final = ELEMENTS | BLOCKS | {"speak", "break", "prosody"}
SSML: Final = ELEMENTS | frozenset(
    "speak break prosody audio desc emphasis lang lexicon lookup mark meta metadata token voice w".split()
)
"""Names of SSML alone, which HTML does not have."""
_HTML: Final = frozenset(
    "a abbr b big center cite code del em font i img ins kbd q small span strike strong sup u".split()
)
_NAMES: Final = FOLLOWED | SSML | _HTML
"""The names that make a tag outside of `<speak>`; within it every name does."""

_START: Final = re.compile(r"<(?P<slash>/?)(?P<name>[A-Za-z][\w:.-]{0,40})?")
_SPACE: Final = re.compile(r"\s{0,32}")
_ATTRIBUTE: Final = re.compile(
    r"(?P<name>[A-Za-z_][\w:.-]{0,40})\s{0,16}=\s{0,16}"
    r"(?:\"(?P<double>[^\"<>]{0,200})\"|'(?P<single>[^'<>]{0,200})'|(?P<bare>[^\s\"'<>=/]{1,64}))"
)
_OPEN_ATTRIBUTE: Final = re.compile(
    r"[A-Za-z_][\w:.-]{0,40}\s{0,16}(?:=\s{0,16}(?:\"[^\"<>]{0,200}|'[^'<>]{0,200}|[^\s\"'<>=/]{0,64})?)?"
)
_SKIPPED: Final = (("<!--", "-->", 1000), ("<?xml", "?>", 300), ("<!DOCTYPE", ">", 300))
"""What is left out: how it begins and ends, and its greatest length."""
RATES: Final = {
    "x-slow": 0.5, "slow": 0.75, "medium": 1.0, "default": 1.0, "fast": 1.25, "x-fast": 1.75,
}  # fmt: skip
_PERCENT: Final = re.compile(r"([+-]?)([0-9]{1,4}(?:\.[0-9]{1,4})?)\s?%")
_NUMBER: Final = re.compile(r"[0-9]{1,4}(?:\.[0-9]{1,4})?|\.[0-9]{1,4}")
_UNIT: Final = r"(?:ms|msecs?|milliseconds?|s|secs?|seconds?)"
_PAUSE: Final = re.compile(
    rf"\[ ?pause(?:(?: ?: ?| )(?P<time>(?:[0-9]{{1,6}}(?:[.,][0-9]{{1,6}})?|\.[0-9]{{1,6}}) ?{_UNIT}?))? ?\]",
    re.IGNORECASE,
)
_OPEN_PAUSE: Final = re.compile(r"\[ ?(?:p(?:a(?:u(?:s(?:e[ :0-9.,a-z]{0,32})?)?)?)?)?", re.IGNORECASE)
_TIME: Final = re.compile(
    rf"\+?(?P<number>[0-9]{{1,6}}(?:[.,][0-9]{{1,6}})?|[.,][0-9]{{1,6}})\s?(?P<unit>{_UNIT})?", re.IGNORECASE
)
ENTITY: Final = re.compile(r"&(?:amp|lt|gt|quot|apos|nbsp|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});")
OPEN_ENTITY: Final = re.compile(r"&#?\w{0,8}")


@dataclass(frozen=True, slots=True)
class Tag:
    """A piece of markup; `end` is the place behind it in the text.

    `content`, the text up to the closing tag, belongs to the tags of `ELEMENTS` alone; its place is from
    `content_start` on. It is None for a tag that is not closed in time.
    """

    name: str
    end: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    is_closing: bool = False
    content: str | None = None
    content_start: int = 0


Found = Tag | Literal["open", "text"]
"""A tag, what may become one when more is written, or text."""


def find_tag(text: str, start: int, *, is_ssml: bool, is_whole: bool) -> Found:
    """Return what stands at `start`, where there is a `<` or a `[`.

    `is_ssml`: whether it is within `<speak>`; `is_whole`: whether nothing will follow. However much of the text is
    there, what was decided stays so.
    """
    found = _find_pause(text, start) if text[start] == "[" else _find_tag(text, start, is_ssml)
    if isinstance(found, Tag) and found.name in ELEMENTS and not found.is_closing:
        return _with_content(text, found, is_whole)
    return "text" if found == "open" and is_whole else found


def read_time_s(text: str) -> float | None:
    """Read `1.5s`, `500 ms` or `2`, which is in seconds; None for what is no time."""
    match = _TIME.fullmatch(text.strip())
    if match is None:
        return None
    number = float(match["number"].replace(",", "."))
    return number / 1000 if (match["unit"] or "s").lower().startswith("m") else number


def read_rate(text: str) -> float | None:
    """Read a rate of SSML, such as `slow`, `80%`, `+20%` or `1.2`; None for what is none."""
    text = text.strip().lower()
    if text in RATES:
        return RATES[text]
    if match := _PERCENT.fullmatch(text):
        share = float(match[2]) / 100
        return {"+": 1 + share, "-": 1 - share, "": share}[match[1]]
    return float(text) if _NUMBER.fullmatch(text) else None


def unescaped(text: str) -> str:
    """Return the text with the characters that XML's own five entities and numbers stand for."""
    return ENTITY.sub(lambda match: sanitize(html.unescape(match.group())), text)


def _find_pause(text: str, start: int) -> Found:
    if match := _PAUSE.match(text, start):
        return Tag("break", match.end(), {"time": match["time"]} if match["time"] else {})
    return "open" if _OPEN_PAUSE.fullmatch(text, start) else "text"


def _find_tag(text: str, start: int, is_ssml: bool) -> Found:
    if text.startswith(("<!", "<?"), start) or start + 1 == len(text):
        return _find_skipped(text, start)
    begun = _START.match(text, start)
    assert begun is not None
    name, position = (begun["name"] or "").lower(), begun.end()
    if position == len(text):
        return "open" if is_ssml or any(known.startswith(name) for known in _NAMES) else "text"
    if not name or (not is_ssml and name not in _NAMES):
        return "text"
    attributes: dict[str, str] = {}
    while position - start <= MAX_TAG_CHARS:
        space = _SPACE.match(text, position)
        position = space.end() if space else position
        rest = text[position : position + 2]
        if rest in ("", "/"):
            return "open"
        if rest[0] == ">" or rest == "/>":
            return Tag(name, position + len(rest.partition(">")[0]) + 1, attributes, begun["slash"] == "/")
        match = _ATTRIBUTE.match(text, position)
        if match is None or (match["bare"] and match.end() == len(text)):
            return "open" if _OPEN_ATTRIBUTE.fullmatch(text, position) else "text"
        value = match["double"] or match["single"] or match["bare"] or ""
        attributes.setdefault(match["name"].lower(), unescaped(value))
        position = match.end()
    return "text"


def _find_skipped(text: str, start: int) -> Found:
    for opening, closing, length in _SKIPPED:
        if text.startswith(opening, start):
            end = text.find(closing, start + len(opening), start + length)
            if end >= 0:
                return Tag(COMMENT, end + len(closing))
            return "open" if len(text) < start + length else "text"
    rest = text[start:]
    return "open" if any(opening.startswith(rest) for opening, _, _ in _SKIPPED) else "text"


def _with_content(text: str, tag: Tag, is_whole: bool) -> Found:
    """Return the tag with its content, once that is known to be closed or not."""
    if text[tag.end - 2] == "/":
        return Tag(tag.name, tag.end, tag.attributes, content="", content_start=tag.end)
    unclosed = Tag(tag.name, tag.end, tag.attributes)
    next_tag = text.find("<", tag.end, tag.end + MAX_CONTENT_CHARS + 1)
    if next_tag < 0:
        return unclosed if is_whole or len(text) > tag.end + MAX_CONTENT_CHARS else "open"
    closing = f"</{tag.name}"
    close = re.compile(rf"{re.escape(closing)}\s{{0,8}}>", re.IGNORECASE).match(text, next_tag)
    if close is None:
        rest = text[next_tag : next_tag + len(closing) + 9].lower().rstrip()
        is_open = closing.startswith(rest) and len(text) <= next_tag + len(closing) + 8
        return "open" if is_open and not is_whole else unclosed
    return Tag(tag.name, close.end(), tag.attributes, content=text[tag.end : next_tag], content_start=tag.end)
