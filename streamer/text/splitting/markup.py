"""Follows what writers say of how their text is to be spoken: pauses, rates, and words that are said in another way.

It stands directly before `sentences`; `markup_tags` says what is markup. No mistake of the writer's ends anything: what
cannot be followed is left out, or spoken as if it were not there, and reported.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, Literal

from streamer.text.splitting.boundaries import (
    CLAUSE_PAUSE_S,
    COMMA_PAUSE_S,
    PARAGRAPH_PAUSE_S,
    SENTENCE_PAUSE_S,
)
from streamer.text.splitting.items import MAX_PAUSE_S, IgnoredMarkup, Pause, SplitItem, with_pause
from streamer.text.splitting.markup_tags import (
    BLOCKS,
    COMMENT,
    ENTITY,
    FOLLOWED,
    OPEN_ENTITY,
    Tag,
    find_tag,
    read_rate,
    read_time_s,
    unescaped,
)
from streamer.text.splitting.sentences import BITE_CHARS, Sentence, SentenceSplitter
from streamer.text.splitting.signs import CLOSERS, STOPS
from streamer.text.splitting.written_text import WrittenText

MIN_RATE, MAX_RATE = 0.5, 2.0
"""How slow and how fast one `prosody` makes its text."""
MAX_DEPTH: Final = 16
"""How many `prosody` elements may stand in each other."""
MAX_REPORTS: Final = 32
"""How many different mistakes of one utterance are reported."""
STRENGTHS: Final = {
    "none": 0.0, "x-weak": 0.1, "weak": 0.25, "medium": 0.5, "strong": 1.0, "x-strong": 1.5,
}  # fmt: skip
"""The pauses of a `break` with a strength, in seconds."""
_SIGNS, _SSML_SIGNS = re.compile(r"[<\[]"), re.compile(r"[<\[&]")
_PAUSES_BEHIND: Final = {
    **dict.fromkeys(STOPS, SENTENCE_PAUSE_S),
    **dict.fromkeys(";:；：؛", CLAUSE_PAUSE_S),
    **dict.fromkeys(",、，،", COMMA_PAUSE_S),
}

SayAs = Callable[[str, Mapping[str, str], str], str | None]
"""Writes out a text by the attributes of its `say-as`, given the text before; None if it cannot."""
Pronounce = Callable[[str, str], str | None]
"""Gives a text the pronunciation of its `phoneme`; None if the model has no such phones."""


class MarkupSplitter:
    """A `SentenceSplitter` for text with markup, whose sentences are spoken as the markup says.

    However the text is cut into pieces, the items are the same.
    """

    def __init__(self, splitter: SentenceSplitter, say_as: SayAs, pronounce: Pronounce) -> None:
        self._splitter = splitter
        self._say_as = say_as
        self._pronounce = pronounce
        self._source = ""  # not read yet: at most what may become a tag
        self._written = WrittenText()
        self._spoken: list[str] = []  # not fed to the splitter yet
        self._is_ssml = False  # within `<speak>`
        self._rates: list[float] = []  # of the `prosody` elements that are open
        self._reported: set[tuple[str, str]] = set()

    @property
    def pending(self) -> str:
        """The text that was fed and not yet given out."""
        return self._splitter.pending + self._source

    def feed(self, text: str) -> Iterator[SplitItem]:
        """Append a piece; yields the items that are now certain."""
        for start in range(0, len(text), BITE_CHARS):
            self._source += text[start : start + BITE_CHARS]
            yield from self._read(is_whole=False)

    def flush(self) -> Iterator[SplitItem]:
        """Give out everything, mid-sentence too. More text may follow."""
        yield from self._read(is_whole=True)
        yield from self._given(self._splitter.flush())

    def flush_words(
        self, *, is_last_whole: bool = False, is_number_whole: bool = False
    ) -> Iterator[SplitItem]:
        """Give out whole words for a writer who pauses, never a part of a tag; see `SentenceSplitter.flush_words`."""
        is_last_whole = is_last_whole and not self._source
        sentences = self._splitter.flush_words(is_last_whole=is_last_whole, is_number_whole=is_number_whole)
        return self._given(sentences)

    def end(self) -> Iterator[SplitItem]:
        """Give out everything; no text follows."""
        return self.flush()

    def skip(self, num_chars: int) -> None:
        """Count characters of the source that are not to be spoken; behind a `flush`."""
        self._written.skip(num_chars)

    def _read(self, *, is_whole: bool) -> Iterator[SplitItem]:
        """Speak and follow all that is certain."""
        while self._source:
            sign = (_SSML_SIGNS if self._is_ssml else _SIGNS).search(self._source)
            self._speak(sign.start() if sign else len(self._source))
            if sign is None:
                break
            if sign.group() == "&":
                if not self._speak_entity(is_whole):
                    break
                continue
            found = find_tag(self._source, 0, is_ssml=self._is_ssml, is_whole=is_whole)
            if found == "open":
                break
            if found == "text":
                self._speak(1)
            else:
                yield from self._fed()
                yield from self._follow(found)
        yield from self._fed()

    def _speak_entity(self, is_whole: bool) -> bool:
        """Speak what an entity stands for, or its sign; False if more text may make it one."""
        if entity := ENTITY.match(self._source):
            self._speak_as(unescaped(entity.group()), 0, entity.end())
            self._take(entity.end())
        elif OPEN_ENTITY.fullmatch(self._source) and not is_whole:
            return False
        else:
            self._speak(1)
        return True

    def _follow(self, tag: Tag) -> Iterator[SplitItem]:
        if tag.content is not None:
            yield from self._follow_element(tag, tag.content)
        elif tag.name == "break":
            yield from () if tag.is_closing else self._pause(tag)
        elif tag.name == "prosody":
            yield from self._end_rate() if tag.is_closing else self._begin_rate(tag)
        elif tag.name in BLOCKS:
            yield from self._cut(PARAGRAPH_PAUSE_S if tag.name == "p" else SENTENCE_PAUSE_S)
        elif tag.name == "speak":
            self._is_ssml = not tag.is_closing
            yield from self._cut(SENTENCE_PAUSE_S) if tag.is_closing else ()
        elif tag.name in FOLLOWED:
            if not tag.is_closing:
                yield from self._report(
                    tag.name, f"<{tag.name}> is not closed behind its text, or holds other tags"
                )
        elif tag.name != COMMENT:
            yield from self._report(
                tag.name, f"<{tag.name}> is not followed here and was left out", "unknown_markup"
            )
        self._take(tag.end)

    def _follow_element(self, tag: Tag, content: str) -> Iterator[SplitItem]:
        """Speak the content of an element as its tag says or, if that cannot be done, as it is."""
        attributes = tag.attributes
        text = unescaped(content) if self._is_ssml else content
        match tag.name:
            case "sub":
                spoken = attributes.get("alias", "").strip() or None
                problem = "<sub> has no alias"
            case "say-as":
                kind = attributes.get("interpret-as", "")
                spoken = self._say_as(text, attributes, self._splitter.pending)
                problem = f"{text[:64]!r} cannot be said as {kind[:64]!r}"
            case _:
                phones = attributes.get("ph", "")
                spoken = self._pronounce(text, phones)
                problem = (
                    f"{phones[:64]!r} are not phones of this model: {text[:64]!r} is read as it is written"
                )
        if spoken is None:
            yield from self._report(tag.name, problem)
            spoken = text
        start, end = (tag.content_start, tag.content_start + len(content)) if content else (0, tag.end)
        if spoken == content:
            self._written.speak(len(content), self._written.num_read + tag.content_start)
            self._spoken.append(content)
        else:
            self._speak_as(spoken, start, end)

    def _pause(self, tag: Tag) -> Iterator[SplitItem]:
        time, strength = tag.attributes.get("time"), tag.attributes.get("strength", "medium").strip().lower()
        duration_s = STRENGTHS.get(strength) if time is None else read_time_s(time)
        if duration_s is None:
            wrong = (strength if time is None else time)[:64]
            yield from self._report(
                "break", f"{wrong!r} is no length of a pause: it lasts {STRENGTHS['medium']} s"
            )
            duration_s = STRENGTHS["medium"]
        elif duration_s > MAX_PAUSE_S:
            yield from self._report("break", f"a pause lasts at most {MAX_PAUSE_S:g} s, not {time}")
            duration_s = MAX_PAUSE_S
        yield from self._cut(0.0)
        yield Pause(duration_s)

    def _begin_rate(self, tag: Tag) -> Iterator[SplitItem]:
        before = self._rate
        rate = 1.0
        for name, value in tag.attributes.items():
            asked = read_rate(value) if name == "rate" else None
            if asked is None:
                yield from self._report(
                    "prosody", f"prosody {name}={value[:64]!r} is not followed", about=name
                )
            elif not MIN_RATE <= asked <= MAX_RATE:
                rate = min(max(asked, MIN_RATE), MAX_RATE)
                yield from self._report(
                    "prosody", f"a rate is {MIN_RATE:g} to {MAX_RATE:g}, not {value[:64]}"
                )
            else:
                rate = asked
        if len(self._rates) < MAX_DEPTH:
            yield from self._set_rates([*self._rates, rate], before)
        else:
            yield from self._report("prosody", f"<prosody> stands {MAX_DEPTH} deep in itself")

    def _end_rate(self) -> Iterator[SplitItem]:
        yield from self._set_rates(self._rates[:-1], self._rate)

    def _set_rates(self, rates: list[float], before: float) -> Iterator[SplitItem]:
        if math.prod(rates) != before:
            yield from self._cut(None)
        self._rates = rates

    @property
    def _rate(self) -> float:
        return math.prod(self._rates)

    def _cut(self, pause_s: float | None) -> Iterator[SplitItem]:
        """End the sentence here, whatever follows; None: with the pause that its last sign asks for."""
        items = itertools.chain(self._fed(), self._given(self._splitter.flush()))
        return with_pause(items, _pause_behind_sign if pause_s is None else lambda _: pause_s)

    def _report(
        self,
        name: str,
        message: str,
        code: Literal["unknown_markup", "unsupported_markup"] = "unsupported_markup",
        about: str = "",
    ) -> Iterator[SplitItem]:
        """Report a mistake, unless one of its kind was reported already."""
        if (name, about or message) not in self._reported and len(self._reported) < MAX_REPORTS:
            self._reported.add((name, about or message))
            yield IgnoredMarkup(code, name, message)

    def _speak(self, num_chars: int) -> None:
        """Go past characters that are spoken as they are written."""
        if num_chars:
            self._written.speak(num_chars, self._written.num_read)
            self._spoken.append(self._source[:num_chars])
            self._take(num_chars)

    def _speak_as(self, spoken: str, start: int, end: int) -> None:
        """Have `spoken` said for the characters of the source from `start` to `end`."""
        first = self._written.num_read
        self._written.speak_for(len(spoken), first + start, first + end)
        self._spoken.append(spoken)

    def _take(self, num_chars: int) -> None:
        taken, self._source = self._source[:num_chars], self._source[num_chars:]
        self._written.read(taken)

    def _fed(self) -> Iterator[SplitItem]:
        spoken, self._spoken = "".join(self._spoken), []
        return self._given(self._splitter.feed(spoken))

    def _given(self, sentences: Iterable[Sentence]) -> Iterator[SplitItem]:
        for sentence in sentences:
            yield replace(self._written.take(sentence), rate=self._rate)
        if not self._splitter.pending:
            self._written.forget()


def _pause_behind_sign(sentence: Sentence) -> float:
    return _PAUSES_BEHIND.get(sentence.text.rstrip(CLOSERS)[-1:], 0.0)
