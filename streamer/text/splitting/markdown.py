"""Reads the Markdown of chats aloud as a person would, while it is being written; stands before `sentences`.

Emphasis is not read, a link is its text, a code block is passed over, and headings, list items and the rows of a
table are sentences of their own. It decides as the text arrives, which no parser of whole documents can.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from streamer.text.clean import tidy
from streamer.text.splitting import markdown_patterns as patterns
from streamer.text.splitting.boundaries import PARAGRAPH_PAUSE_S, SENTENCE_PAUSE_S
from streamer.text.splitting.items import SplitItem, with_pause
from streamer.text.splitting.markup import MarkupSplitter
from streamer.text.splitting.markup_tags import SSML
from streamer.text.splitting.sentences import BITE_CHARS, Sentence, SentenceSplitter
from streamer.text.splitting.written_text import WrittenText

STEP_CHARS: Final = 64
"""How much of a line is read before what it has brought is given out."""


class ChatSplitter:
    """A `SentenceSplitter` for Markdown, whose sentences have no signs in their `spoken_text`.

    A `MarkupSplitter` behind it is given the tags of SSML that do not stand in code. However the text is cut into
    pieces, the sentences are the same.
    """

    def __init__(self, splitter: SentenceSplitter | MarkupSplitter) -> None:
        self._splitter = splitter
        self._has_markup = isinstance(splitter, MarkupSplitter)
        self._source = ""  # not read yet
        self._written = WrittenText()  # read, and not given out yet
        self._spoken: list[str] = []  # not fed to the splitter yet
        self._before = " "  # the last character that was read
        self._is_line_start = True
        self._block_pause_s: float | None = None  # behind this line, if it is a sentence of its own
        self._num_backticks = 0  # those before the code that is being read
        self._fence = ""  # what the code block that is being read began with

    @property
    def pending(self) -> str:
        """The text that was fed and not yet given out."""
        return self._splitter.pending + self._source

    @property
    def num_kept_chars(self) -> int:
        """Characters of the source that are in memory."""
        return len(self._source) + self._written.num_kept_chars

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
        """Give out whole words for a writer who pauses; see `SentenceSplitter.flush_words`."""
        is_open = self._source.startswith(("[", "![", "<", "|", "`"))
        if is_last_whole and not is_open:
            yield from self._read(is_whole=True)
        words = self._splitter.flush_words(is_last_whole=is_last_whole, is_number_whole=is_number_whole)
        yield from self._given(words)

    def end(self) -> Iterator[SplitItem]:
        """Give out everything; no text follows."""
        return self.flush()

    def skip(self, num_chars: int) -> None:
        """Count characters of the source that are not to be spoken; behind a `flush`."""
        self._written.skip(num_chars)

    def _read(self, *, is_whole: bool) -> Iterator[SplitItem]:
        """Speak all that is certain."""
        state: tuple[int, bool] | None = None
        while self._source and state != (self._written.num_read, self._is_line_start):
            state = (self._written.num_read, self._is_line_start)
            if self._fence:
                self._pass_code(is_whole)
            elif self._is_line_start:
                yield from self._begin_line(is_whole)
            else:
                yield from self._read_line(is_whole)

    def _begin_line(self, is_whole: bool) -> Iterator[SplitItem]:
        source = self._source
        if not is_whole and patterns.OPEN_BLOCK.fullmatch(source):
            return
        if fence := patterns.FENCE.match(source):
            yield from self._end_block(PARAGRAPH_PAUSE_S)
            self._fence = fence["fence"]
            self._take(fence.end())
            self._is_line_start = self._before == "\n"
        elif rule := patterns.RULE.match(source):
            yield from self._end_block(PARAGRAPH_PAUSE_S)
            self._take(rule.end())
        elif row := patterns.ROW.match(source):
            yield from self._end_block(SENTENCE_PAUSE_S)
            self._speak_row(row)
            self._take(row.end())
            yield from self._end_block(SENTENCE_PAUSE_S)
        elif quote := patterns.QUOTE.match(source):
            self._take(quote.end())
        else:
            heading, item = patterns.HEADING.match(source), patterns.ITEM.match(source)
            self._is_line_start = False
            self._block_pause_s = PARAGRAPH_PAUSE_S if heading else SENTENCE_PAUSE_S if item else None
            if block := heading or item:
                yield from self._end_block(SENTENCE_PAUSE_S)
                self._open(len(source) - len(source.lstrip()))
                self._take(block.end())
            self._before = " "

    def _read_line(self, is_whole: bool) -> Iterator[SplitItem]:
        """Speak the line up to its end, or up to what may still become a sign; a long one in several steps."""
        source = self._source
        line_end = source.find("\n")
        limit = end = line_end if line_end >= 0 else len(source)
        if line_end < 0 and not is_whole:
            end = _first_open(source)
        end = self._speak_line(0, min(end, STEP_CHARS), limit)
        if end == line_end:
            self._is_line_start, self._num_backticks = True, 0
            if self._block_pause_s is None:
                self._speak("\n", end)
            self._take(end + 1)
            if self._block_pause_s is not None:
                yield from self._end_block(self._block_pause_s)
        else:
            self._take(end)
        yield from self._given(self._feed())

    def _speak_row(self, row: re.Match[str]) -> None:
        """Speak the cells with commas between, unless the row is the rule below a table's head."""
        cells = list(patterns.CELL.finditer(self._source, row.start("cells"), row.end("cells")))
        if all(patterns.RULE_CELL.fullmatch(cell.group()) for cell in cells):
            return
        is_first = True
        for cell in cells:
            if word := cell.group().strip():
                if not is_first:
                    self._speak(", ", cell.start() - 1)
                start = self._source.index(word, cell.start())
                self._speak_line(start, start + len(word), start + len(word))
                self._num_backticks, is_first = 0, False

    def _speak_line(self, position: int, end: int, limit: int) -> int:
        """Speak what begins before `end`, signs up to `limit` included; return the end of it."""
        source = self._source
        while position < end:
            sign = (patterns.BACKTICKS if self._num_backticks else patterns.SIGN).search(
                source, position, limit
            )
            if sign and sign.start() >= end:
                sign = None
            text = source[position : sign.start() if sign else end]
            self._speak(text.translate(patterns.CODE_SIGNS) if self._num_backticks else text, position)
            if sign is None:
                return end
            position = self._end_code(sign) if self._num_backticks else self._speak_sign(sign)
        return position

    def _end_code(self, ticks: re.Match[str]) -> int:
        if len(ticks.group()) == self._num_backticks:
            self._num_backticks = 0
            self._close(ticks.end())
        return ticks.end()

    def _speak_sign(self, sign: re.Match[str]) -> int:
        """Speak what the sign stands for; return the end of the sign."""
        source, (start, end), kind = self._source, sign.span(), sign.lastgroup
        before = source[start - 1] if start else self._before
        if kind == "emphasis":
            after = source[end : end + 1] or " "
            is_word = sign.group()[0] == "_" and before.isalnum() and after.isalnum()
            if is_word or (before.isspace() and after.isspace()):
                self._speak(sign.group(), start)
                return end
        is_pair = kind in ("link", "address")
        if is_pair or kind in ("escaped", "code") or (kind != "note" and before.isspace()):
            self._open(start)
        if kind == "escaped":
            self._speak(source[end - 1], end - 1)
        elif kind == "code":
            self._num_backticks = end - start
        elif kind == "link":
            for position in range(*sign.span("text")):
                if source[position] not in "*`":
                    self._speak(source[position], position)
        elif kind == "address":
            host = sign["host"].removeprefix("www.")
            if not sign.group().startswith("<"):  # a stop behind it ends the sentence, not the address
                end = start + len(sign.group().rstrip(patterns.ADDRESS_ENDS))
            self._speak(host, sign.end("host") - len(host))
        elif kind == "tag" and self._has_markup and _is_markup(sign.group()):
            self._speak(sign.group(), start)
            return end
        elif kind == "tag" and sign.group().lower().startswith(("<br", "<p", "</p", "<li")):
            self._speak(" ", start)
        if is_pair or kind == "note" or (kind in ("emphasis", "tag") and not before.isspace()):
            self._close(end)
        return end

    def _pass_code(self, is_whole: bool) -> None:
        """Leave out a line of a code block, or what there is of it."""
        line_end = self._source.find("\n")
        sign = self._fence[0]
        if self._is_line_start:
            if (
                line_end < 0
                and not is_whole
                and re.fullmatch(rf"{patterns.INDENT}{sign}{{0,99}}[ \t]{{0,99}}", self._source)
            ):
                return
            close = re.compile(rf"{patterns.INDENT}{sign}{{{len(self._fence)},}}[ \t]*(?:\n|\Z)")
            if close.match(self._source):
                self._fence = ""
        self._is_line_start = line_end >= 0
        self._take(line_end + 1 or len(self._source))
        self._written.forget_code()

    def _speak(self, text: str, position: int) -> None:
        """Have `text` spoken, each of its characters for one of the source from `position` on."""
        self._written.speak(len(text), self._written.num_read + position)
        self._spoken.append(text)

    def _open(self, position: int) -> None:
        self._written.open(self._written.num_read + position)

    def _close(self, position: int) -> None:
        self._written.close(self._written.num_read + position)

    def _take(self, num_chars: int) -> None:
        taken, self._source = self._source[:num_chars], self._source[num_chars:]
        self._before = taken[-1:] or self._before
        self._written.read(taken)

    def _feed(self) -> Iterator[SplitItem]:
        spoken, self._spoken = "".join(self._spoken), []
        yield from self._splitter.feed(spoken)

    def _end_block(self, pause_s: float) -> Iterator[SplitItem]:
        """End the sentence here, whatever follows."""
        self._written.end_block()
        items = itertools.chain(self._feed(), self._splitter.flush())
        return self._given(with_pause(items, lambda _: pause_s))

    def _given(self, items: Iterable[SplitItem]) -> Iterator[SplitItem]:
        for item in items:
            if isinstance(item, Sentence):
                written = self._written.take(item)
                yield replace(written, spoken_text=tidy(written.spoken_text))
            else:
                yield item
        if not self._splitter.pending:
            self._written.forget()


def _is_markup(tag: str) -> bool:
    """Whether the next splitter follows this tag. Those of HTML are read here, where they belong to Markdown."""
    return tag.strip("</>").split(maxsplit=1)[0].rstrip("/").lower() in SSML


def _first_open(source: str) -> int:
    """Return where the unfinished part of a line begins: a link, a tag, an address, or a word with its signs."""
    first = max(0, len(source) - patterns.MAX_HELD_CHARS)
    end = max(len(source.rstrip(patterns.WORD_SIGNS)), first)
    if address := patterns.OPEN_ADDRESS.search(source, first):
        end = min(end, address.start())
    for sign in "[<":
        start = source.rfind(sign)
        if start >= 0 and patterns.OPEN_SIGN.fullmatch(source, start):
            end = min(end, start - source[:start].endswith("!"))
    return end
