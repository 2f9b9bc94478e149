"""Parts the sentences of a text that comes in messages, one in each and without a space between them."""

from __future__ import annotations

import re
from typing import Final

from streamer.text.splitting.signs import CLOSERS, NARROW_STOPS

_OPENERS: Final = "“„«‹‘\"'¿¡([{*_~`"
_MAX_END_CHARS: Final = 64
"""How much of a message's end is looked at."""
_END: Final = re.compile(
    rf"(?P<word>[^\s{NARROW_STOPS}])(?P<stops>[{NARROW_STOPS}]+)[{re.escape(CLOSERS)}]*\Z"
)
_INITIAL: Final = re.compile(r"(?:\W|\A)[^\W\d]\.\Z")
_NEXT_INITIAL: Final = re.compile(r"[^\W\d](?:\.|\Z)")


def parted(before: str, text: str) -> str:
    """Return `text` with a space in front of it if the message `before` ended a sentence.

    `Hello there.` and `How are you?` become two sentences. A message may also end anywhere, as those do that bring a
    language model's tokens: `5.` and `5 dollars`, `Node` and `.js`, `example.` and `com`, `U.` and `S.` stay together.
    A small letter begins a sentence behind a message of several words, and behind a single one unless that may be the
    beginning of an address.
    """
    end = _END.search(before[-_MAX_END_CHARS:])
    first = text.lstrip(_OPENERS)[:1]
    if end is None or not first.isalnum():
        return text
    is_full_stop = set(end["stops"]) == {"."}
    is_number = is_full_stop and end["word"].isdigit() and first.isdigit()
    is_name = _INITIAL.search(before[-_MAX_END_CHARS:]) and _NEXT_INITIAL.match(text)
    is_address = first.islower() and set(end["stops"]) <= set(".?") and len(before.split()) == 1
    return text if is_number or is_name or is_address else " " + text
