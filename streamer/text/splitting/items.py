"""What splitters give out besides sentences, in its place between them: pauses, and markup that is not followed."""

from __future__ import annotations

from collections.abc import Sequence
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


def with_pause(items: Sequence[SplitItem], pause_s: float) -> list[SplitItem]:
    """Return the items with `pause_s` behind the last one, if that is a sentence: a pause of the text's own counts."""
    if items and isinstance(last := items[-1], Sentence):
        return [*items[:-1], replace(last, pause_s=pause_s)]
    return list(items)
