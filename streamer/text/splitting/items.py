"""What splitters give out besides sentences, in its place between them: pauses, and markup that is not followed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from streamer.text.splitting.sentences import Sentence

MAX_PAUSE_S: Final = 10.0
"""The longest pause that one mark asks for, in seconds, as in Amazon Polly."""


@dataclass(frozen=True, slots=True)
class Pause:
    """A silence of `duration_s` seconds that the text asks for, in place of the natural one."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class IgnoredMarkup:
    """Markup that is not followed, or not as it was written; `name` is what it is about. Each is reported once."""

    code: Literal["unknown_markup", "unsupported_markup"]
    name: str
    message: str


SplitItem = Sentence | Pause | IgnoredMarkup


def with_pause(items: Iterable[SplitItem], pause_of: Callable[[Sentence], float]) -> Iterator[SplitItem]:
    """Yield the items, each when the next one is there, with another pause behind the last if that is a sentence.

    A pause of the text's own counts as it is.
    """
    last: SplitItem | None = None
    for item in items:
        if last is not None:
            yield last
        last = item
    if last is not None:
        yield replace(last, pause_s=pause_of(last)) if isinstance(last, Sentence) else last
