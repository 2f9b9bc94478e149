"""Tells whether a single line end ends a sentence, as behind a list's item, or is where a line was wrapped."""

from __future__ import annotations

import re
from typing import Final

from streamer.text.tags import SPEAKER

LABEL: Final = re.compile(r"[^\W\d_a-z]{2,20}:")
"""A word in capitals with a colon, which may name a speaker."""
_MARKER: Final = re.compile(rf"(?:[-*+•–—‣◦]|\(?\d{{1,3}}[.)]|#{{1,6}}|{SPEAKER})(?=\s)")
_MARKER_BEGUN: Final = re.compile(rf"[-*+•–—‣◦]|\(?\d{{0,3}}[.)]?|#{{1,6}}|{SPEAKER}?")
MIN_RULE_SIGNS, MAX_RULE_SIGNS = 3, 20
_RULE_SIGN: Final = "-=_*~#+·•.–—\u2500-\u259f"
_RULE: Final = re.compile(
    rf"[ \t]{{0,16}}([{_RULE_SIGN}])(?:[ \t]{{0,4}}\1){{{MIN_RULE_SIGNS - 1},{MAX_RULE_SIGNS}}}+"
    r"[ \t]{0,16}+(?=[\r\n]|\Z|\1)"
)
"""A line of one sign repeated, or a longer one's beginning."""
_RULE_BEGUN: Final = re.compile(
    rf"[ \t]{{0,16}}(?:([{_RULE_SIGN}])(?:[ \t]{{0,4}}\1){{0,{MAX_RULE_SIGNS}}}[ \t]{{0,16}})?"
)
_LABEL_ALONE: Final = re.compile(rf"\s*{SPEAKER}\s*")


def ends_sentence(text: str, start: int, end: int, is_whole: bool) -> bool | None:
    """Return whether the line end in `text[start:end]` ends a sentence; None until more text is there."""
    line = text[max(text.rfind("\n", 0, start), text.rfind("\r", 0, start)) + 1 : start]
    if _LABEL_ALONE.fullmatch(line):
        return False
    is_item = _MARKER.match(line) is not None and not LABEL.match(line)
    if line.rstrip().endswith(":") or (is_item and text[end - 1] in "\n\r"):
        return True
    if _MARKER.match(text, end):
        return True
    if not is_whole and (_MARKER_BEGUN.fullmatch(text, end) or _RULE_BEGUN.fullmatch(text, end)):
        return None
    return _RULE.match(text, end) is not None
