"""A `Kind` is a row of the table in `numbers`: how a number is written, and what reads it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

MINUS: Final = r"(?P<minus>(?<![\w.)\]%°'’\-–−])[-−–])?"
"""A pattern for a minus sign that nothing before it makes a hyphen or a dash."""

LETTER: Final = "(?=[A-Za-z])"
"""A lookahead that opens a pattern which begins with a word, so that it fails at once elsewhere."""


@dataclass(frozen=True)
class Kind:
    """A row of the table: `read` says what `pattern` finds.

    All groups of `pattern` have names. `is_amount`: a dash, a slash or an operator behind it may belong to it.
    `needs_amount`: it counts only directly behind an amount. `behind`: the characters that may stand behind the digits
    it begins with, empty if it begins with a sign; None if it may begin with a letter, or if they are not listed.
    `is_bare`: it needs no more than digits.
    """

    pattern: str
    read: Callable[[re.Match[str]], str]
    is_amount: bool = True
    needs_amount: bool = False
    behind: str | None = None
    is_bare: bool = False

    @cached_property
    def regex(self) -> re.Pattern[str]:
        """The compiled pattern."""
        return re.compile(self.pattern)
