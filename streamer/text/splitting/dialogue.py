"""Finds who speaks: `[voice: name]` and labels such as `Alice:` begin a turn. Stands before the other splitters."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from streamer.errors import InvalidParameterError, VoiceNotFoundError
from streamer.text.splitting.items import SplitItem, with_pause
from streamer.text.splitting.markdown import ChatSplitter
from streamer.text.splitting.markup import MarkupSplitter
from streamer.text.splitting.sentences import BITE_CHARS, Sentence, SentenceSplitter

TURN_PAUSE_S: Final = 0.5
"""Silence between two turns, as in Bark's guide to dialogues."""
MAX_SPEAKERS: Final = 32
LABEL: Final = r"[^\s\[\]:：](?:[^\r\n\[\]:：]{0,38}[^\s\[\]:：])?"
"""A label stands on one line, has no colons and brackets, and has at most 40 characters."""
MAX_NAME_CHARS: Final = 128
CONTEXT_CHARS: Final = 64
"""How far back the splitter looks to see whether a label begins a line or follows a sentence."""

_BLANK: Final = " \t\u00a0\u3000"
_DIRECTIVE: Final = rf"\[ ?(?i:voice) ?: {{0,4}}(?P<name>[^\s\[\]][^\[\]\r\n]{{0,{MAX_NAME_CHARS - 1}}})\]"
_OPEN_DIRECTIVE: Final = re.compile(
    rf"\[ ?(?:v(?:o(?:i(?:c(?:e ?(?:: {{0,4}}[^\[\]\r\n]{{0,{MAX_NAME_CHARS}}})?)?)?)?)?)?", re.IGNORECASE
)
_SENTENCE_END: Final = re.compile(r"(?:[.?!…♪][\"'”’»)*]{0,4}|\])\Z")


@dataclass(frozen=True, slots=True)
class UnknownVoice:
    """A `[voice: name]` that names no voice. Each name is reported once, and the voice before continues."""

    name: str


TurnItem = SplitItem | UnknownVoice
"""What `DialogueSplitter` gives out."""


class DialogueSplitter:
    """A splitter whose sentences have a voice if the text says who speaks.

    `[voice: name]` anywhere, and `Label:` for the labels of `speakers` at the beginning of a turn or a line, or (in
    capitals only) behind a sentence or a tag, end a turn and are not spoken. However the text is cut into pieces,
    the sentences are the same.
    """

    def __init__(
        self,
        splitter: SentenceSplitter | MarkupSplitter | ChatSplitter,
        voices: Collection[str],
        speakers: Mapping[str, str],
    ) -> None:
        self._splitter = splitter
        self._voices = voices
        self._speakers = speakers
        self._voice: str | None = None
        self._behind = ""  # the end of what the splitter has of this turn
        self._ahead = ""  # what it does not have: perhaps the beginning of a directive
        self._unknown: set[str] = set()
        labels = sorted(speakers, key=len, reverse=True)
        choices = [_DIRECTIVE]
        if labels:
            choices.append(rf"(?P<label>{'|'.join(map(re.escape, labels))})[ \u00a0]?[:：]")
        self._turn = re.compile("|".join(choices))
        self._open_label = re.compile(rf"(?:{'|'.join(map(_beginning_of, labels))})\Z") if labels else None

    @property
    def pending(self) -> str:
        """The text that was fed and not yet given out."""
        return self._splitter.pending + self._ahead

    def feed(self, text: str) -> Iterator[TurnItem]:
        """Append a piece; yields the items that are now certain."""
        for start in range(0, len(text), BITE_CHARS):
            self._ahead += text[start : start + BITE_CHARS]
            yield from self._take(is_whole=False)

    def flush(self) -> Iterator[TurnItem]:
        """Give out everything, mid-sentence too. More text may follow."""
        yield from self._take(is_whole=True)
        yield from self._spoken(self._splitter.flush())

    def flush_words(
        self, *, is_last_whole: bool = False, is_number_whole: bool = False
    ) -> Iterator[TurnItem]:
        """Give out whole words for a writer who pauses; see `SentenceSplitter.flush_words`."""
        if is_last_whole and not self._ahead.startswith("["):
            yield from self._take(is_whole=True)
        words = self._splitter.flush_words(is_last_whole=is_last_whole, is_number_whole=is_number_whole)
        yield from self._spoken(words)

    def end(self) -> Iterator[TurnItem]:
        """Give out everything; no text follows."""
        return self.flush()

    def _take(self, *, is_whole: bool) -> Iterator[TurnItem]:
        """Hand the splitter all text in which no turn may begin any more, turn by turn."""
        while True:
            text, start = self._behind + self._ahead, len(self._behind)
            end = len(text) if is_whole else self._first_open(text, start)
            turn = self._next_turn(text, start, end)
            if turn is not None:
                end = turn.start()
            self._behind, self._ahead = text[:end][-CONTEXT_CHARS:], text[end:]
            yield from self._spoken(self._splitter.feed(text[start:end]))
            if turn is None:
                return
            self._behind, self._ahead = "", text[turn.end() :]
            yield from self._begin_turn(turn)

    def _begin_turn(self, turn: re.Match[str]) -> Iterator[TurnItem]:
        yield from self._spoken(with_pause(self._splitter.flush(), lambda _: TURN_PAUSE_S))
        self._splitter.skip(len(turn.group()))
        found = turn.groupdict()
        label = found.get("label")
        name = self._speakers[label] if label else found["name"].rstrip()
        if name in self._voices:
            self._voice = name
        elif name not in self._unknown and len(self._unknown) < MAX_SPEAKERS:
            self._unknown.add(name)
            yield UnknownVoice(name)

    def _spoken(self, items: Iterable[SplitItem]) -> Iterator[SplitItem]:
        """The items, sentences with the voice of this turn."""
        for item in items:
            yield replace(item, voice=self._voice) if isinstance(item, Sentence) else item

    def _next_turn(self, text: str, start: int, end: int) -> re.Match[str] | None:
        """What begins the next turn, if it begins before `end`."""
        for match in self._turn.finditer(text, start):
            if match.start() >= end:
                return None
            label = match.groupdict().get("label")
            if label is None or _may_begin_turn(text, match.start(), is_capital=label.isupper()):
                return match
        return None

    def _first_open(self, text: str, start: int) -> int:
        """Return the begin of what may be an incomplete directive or label, or the end of the text."""
        bracket = text.rfind("[", start)
        is_open = bracket >= 0 and _OPEN_DIRECTIVE.fullmatch(text, bracket)
        position = bracket if is_open else len(text)
        if self._open_label is None:
            return position
        label = self._open_label.search(text, max(start, len(text) - CONTEXT_CHARS))
        while label is not None:
            if _may_begin_turn(text, label.start(), is_capital=True):
                return min(position, label.start())
            label = self._open_label.search(text, label.start() + 1)
        return position


def check_speakers(speakers: Mapping[str, str], voices: Collection[str]) -> None:
    """Raise `InvalidParameterError` for too many labels or one that is none, `VoiceNotFoundError` for a voice."""
    if len(speakers) > MAX_SPEAKERS:
        raise InvalidParameterError(
            f"{len(speakers)} speakers: at most {MAX_SPEAKERS} have a voice", param="speakers"
        )
    for label, voice in speakers.items():
        if not re.fullmatch(LABEL, label):
            raise InvalidParameterError(
                f"{label[:64]!r} is no label: 1 to 40 characters on one line, without colons and brackets",
                param="speakers",
            )
        if voice not in voices:
            raise VoiceNotFoundError(
                f"no voice is named {voice[:64]!r}, which {label!r} was to have", param="speakers"
            )


def _may_begin_turn(text: str, start: int, *, is_capital: bool) -> bool:
    """Whether a label may stand at `start`: a turn or a line begins there, or it is `MAN:` behind a sentence."""
    before = text[max(0, start - CONTEXT_CHARS) : start]
    line = before.rstrip(_BLANK)
    if not line:
        return start < CONTEXT_CHARS
    if line[-1] in "\n\r\u2028\u2029":
        return True
    return is_capital and line != before and _SENTENCE_END.search(line) is not None


def _beginning_of(label: str) -> str:
    """A pattern for every beginning of `label`, up to the space that its colon may have before it."""
    pattern = "[ \u00a0]?"
    for character in reversed(label[1:]):
        pattern = f"(?:{re.escape(character)}{pattern})?"
    return re.escape(label[0]) + pattern
