"""Reads the Markdown of chats as a person would, while it is being written; stands before `sentences`.

Emphasis is not read, a link is its text, a code block is passed over, and headings, list items and the rows of a
table are sentences of their own. No parser of whole documents would do: this one decides as the text arrives.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from streamer.text.clean import tidy
from streamer.text.splitting.boundaries import PARAGRAPH_PAUSE_S, SENTENCE_PAUSE_S
from streamer.text.splitting.markdown_patterns import (
    ADDRESS_ENDS,
    BACKTICKS,
    CELL,
    CODE_SIGNS,
    FENCE,
    HEADING,
    INDENT,
    ITEM,
    MAX_HELD_CHARS,
    OPEN_BLOCK,
    OPEN_SIGN,
    QUOTE,
    ROW,
    RULE,
    RULE_CELL,
    SIGN,
    WORD_SIGNS,
)
from streamer.text.splitting.sentences import BITE_CHARS, Sentence, SentenceSplitter


class ChatSplitter:
    """A `SentenceSplitter` for Markdown: `text` of its sentences is what was written, `spoken` what is said.

    However the text is cut into pieces, the sentences are the same.
    """

    def __init__(self, splitter: SentenceSplitter) -> None:
        self._splitter = splitter
        self._source = ""  # not read yet
        self._num_read = 0  # characters of the source before that
        self._kept = ""  # what was read and not given out
        self._said: list[str] = []  # not fed to the splitter yet
        self._spans: list[tuple[int, int]] = []  # in the source, of what was said and not given out
        self._num_given = 0  # characters said before those
        self._opening: int | None = None  # where signs begin that belong to the next character
        self._before = " "
        self._is_line_start = True
        self._block_pause_s: float | None = None  # behind this line, where it is a sentence of its own
        self._code = 0  # length of the backticks before it
        self._fence = ""

    @property
    def pending(self) -> str:
        """The text that was fed and not yet given out."""
        return self._splitter.pending + self._source

    def feed(self, text: str) -> list[Sentence]:
        """Append a piece; returns the sentences that are now certain."""
        sentences: list[Sentence] = []
        for start in range(0, len(text), BITE_CHARS):
            self._source += text[start : start + BITE_CHARS]
            sentences += self._read(is_whole=False)
        return sentences

    def flush(self) -> list[Sentence]:
        """Give out everything, mid-sentence too. The utterance may go on."""
        return [*self._read(is_whole=True), *self._given(self._splitter.flush())]

    def flush_words(self, *, is_last_whole: bool = False, is_number_whole: bool = False) -> list[Sentence]:
        """Give out whole words for a writer who pauses; see `SentenceSplitter.flush_words`."""
        is_open = self._source.startswith(("[", "![", "<", "|", "`"))
        sentences = list(self._read(is_whole=True)) if is_last_whole and not is_open else []
        return [
            *sentences,
            *self._given(
                self._splitter.flush_words(is_last_whole=is_last_whole, is_number_whole=is_number_whole)
            ),
        ]

    def end(self) -> list[Sentence]:
        """Give out everything; no text follows."""
        return self.flush()

    def skip(self, num_chars: int) -> None:
        """Count characters of the source that are not to be spoken; behind a `flush`."""
        self._num_read += num_chars

    def _read(self, *, is_whole: bool) -> Iterator[Sentence]:
        """Have all that is certain said."""
        state: tuple[int, bool] | None = None
        while self._source and state != (self._num_read, self._is_line_start):
            state = (self._num_read, self._is_line_start)
            if self._fence:
                self._pass_code(is_whole)
            elif self._is_line_start:
                yield from self._begin_line(is_whole)
            else:
                yield from self._read_line(is_whole)

    def _begin_line(self, is_whole: bool) -> Iterator[Sentence]:
        source = self._source
        if not is_whole and OPEN_BLOCK.fullmatch(source):
            return
        if fence := FENCE.match(source):
            yield from self._end_block(PARAGRAPH_PAUSE_S)
            self._fence = fence["fence"]
            self._take(fence.end())
            self._is_line_start = self._before == "\n"
        elif rule := RULE.match(source):
            yield from self._end_block(PARAGRAPH_PAUSE_S)
            self._take(rule.end())
        elif row := ROW.match(source):
            yield from self._end_block(SENTENCE_PAUSE_S)
            self._say_row(row)
            self._take(row.end())
            yield from self._end_block(SENTENCE_PAUSE_S)
        elif quote := QUOTE.match(source):
            self._take(quote.end())
        else:
            heading, item = HEADING.match(source), ITEM.match(source)
            self._is_line_start = False
            self._block_pause_s = PARAGRAPH_PAUSE_S if heading else SENTENCE_PAUSE_S if item else None
            if block := heading or item:
                yield from self._end_block(SENTENCE_PAUSE_S)
                self._opening = self._num_read + len(source) - len(source.lstrip())
                self._take(block.end())
            self._before = " "

    def _read_line(self, is_whole: bool) -> Iterator[Sentence]:
        """Say the line up to its end, or up to what may still become a sign."""
        source = self._source
        line_end = source.find("\n")
        limit = end = line_end if line_end >= 0 else len(source)
        if line_end < 0 and not is_whole:
            end = _first_open(source)
        end = self._say_line(0, end, limit)
        if end == line_end:
            self._is_line_start, self._code = True, 0
            if self._block_pause_s is None:
                self._say("\n", end)
            self._take(end + 1)
            if self._block_pause_s is not None:
                yield from self._end_block(self._block_pause_s)
        else:
            self._take(end)
        yield from self._given(self._feed())

    def _say_row(self, row: re.Match[str]) -> None:
        """The cells with commas between, unless the row is the rule below a table's head."""
        cells = list(CELL.finditer(self._source, row.start("cells"), row.end("cells")))
        if all(RULE_CELL.fullmatch(cell.group()) for cell in cells):
            return
        is_first = True
        for cell in cells:
            if word := cell.group().strip():
                if not is_first:
                    self._say(", ", cell.start() - 1)
                start = self._source.index(word, cell.start())
                self._say_line(start, start + len(word), start + len(word))
                self._code, is_first = 0, False

    def _say_line(self, position: int, end: int, limit: int) -> int:
        """Say what begins before `end`, signs up to `limit` included; returns up to where that was."""
        source = self._source
        while position < end:
            sign = (BACKTICKS if self._code else SIGN).search(source, position, limit)
            if sign and sign.start() >= end:
                sign = None
            text = source[position : sign.start() if sign else end]
            self._say(text.translate(CODE_SIGNS) if self._code else text, position)
            if sign is None:
                return end
            position = self._end_code(sign) if self._code else self._say_sign(sign)
        return position

    def _end_code(self, ticks: re.Match[str]) -> int:
        if len(ticks.group()) == self._code:
            self._code = 0
            self._close(ticks.end())
        return ticks.end()

    def _say_sign(self, sign: re.Match[str]) -> int:
        """Say what the sign stands for; returns where it ends."""
        source, (start, end), kind = self._source, sign.span(), sign.lastgroup
        before = source[start - 1] if start else self._before
        if kind == "emphasis":
            after = source[end : end + 1] or " "
            is_word = sign.group()[0] == "_" and before.isalnum() and after.isalnum()
            if is_word or (before.isspace() and after.isspace()):
                self._say(sign.group(), start)
                return end
        is_pair = kind in ("link", "address")
        if is_pair or kind in ("escaped", "code") or (kind != "note" and before.isspace()):
            self._open(start)
        if kind == "escaped":
            self._say(source[end - 1], end - 1)
        elif kind == "code":
            self._code = end - start
        elif kind == "link":
            for position in range(*sign.span("text")):
                if source[position] not in "*`":
                    self._say(source[position], position)
        elif kind == "address":
            host = sign["host"].removeprefix("www.")
            if not sign.group().startswith("<"):  # a stop behind it ends the sentence, not the address
                end = start + len(sign.group().rstrip(ADDRESS_ENDS))
            self._say(host, sign.end("host") - len(host))
        elif kind == "tag" and sign.group().lower().startswith(("<br", "<p", "</p", "<li")):
            self._say(" ", start)
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
                and re.fullmatch(rf"{INDENT}{sign}{{0,99}}[ \t]{{0,99}}", self._source)
            ):
                return
            close = re.compile(rf"{INDENT}{sign}{{{len(self._fence)},}}[ \t]*(?:\n|\Z)")
            if close.match(self._source):
                self._fence = ""
        self._is_line_start = line_end >= 0
        self._take(line_end + 1 or len(self._source))
        self._kept = ""

    def _say(self, text: str, position: int) -> None:
        """Have `text` spoken, each of its characters for one of the source from `position` on."""
        for start in range(self._num_read + position, self._num_read + position + len(text)):
            self._spans.append((start if self._opening is None else self._opening, start + 1))
            self._opening = None
        self._said.append(text)

    def _open(self, position: int) -> None:
        if self._opening is None:
            self._opening = self._num_read + position

    def _close(self, position: int) -> None:
        """Let the signs before `position` belong to the character that was said last."""
        if self._spans and self._opening is None:
            self._spans[-1] = (self._spans[-1][0], self._num_read + position)
        self._opening = None  # there was nothing between the signs

    def _take(self, num_chars: int) -> None:
        taken, self._source = self._source[:num_chars], self._source[num_chars:]
        self._kept = self._kept + taken if self._spans or self._opening is not None else ""
        self._before = taken[-1:] or self._before
        self._num_read += num_chars

    def _feed(self) -> list[Sentence]:
        said, self._said = "".join(self._said), []
        return self._splitter.feed(said)

    def _end_block(self, pause_s: float) -> list[Sentence]:
        """What was said until here is a sentence or several, whatever follows."""
        sentences = [*self._feed(), *self._splitter.flush()]
        self._opening = None
        if sentences:
            sentences[-1] = replace(sentences[-1], pause_s=pause_s)
        return self._given(sentences)

    def _given(self, sentences: list[Sentence]) -> list[Sentence]:
        """The splitter's sentences with what was written for them."""
        found: list[Sentence] = []
        for sentence in sentences:
            first, last = sentence.char_start - self._num_given, sentence.char_end - self._num_given
            start, end = self._spans[first][0], self._spans[last - 1][1]
            kept_start = self._num_read - len(self._kept)
            text = self._kept[start - kept_start : end - kept_start]
            spoken_text = tidy(sentence.spoken_text)
            found.append(
                replace(sentence, text=text, char_start=start, char_end=end, spoken_text=spoken_text)
            )
            del self._spans[:last]
            self._num_given += last
            self._kept = self._kept[end - kept_start :]
        if not self._splitter.pending:
            self._num_given += len(self._spans)
            self._spans.clear()
            self._kept = self._kept[-(self._num_read - self._opening) :] if self._opening is not None else ""
        return found


def _first_open(source: str) -> int:
    """Where that begins at the end of an unfinished line which may go on: a link, a tag, or a word with its signs."""
    end = max(len(source.rstrip(WORD_SIGNS)), len(source) - MAX_HELD_CHARS)
    for sign in "[<":
        start = source.rfind(sign)
        if start >= 0 and OPEN_SIGN.fullmatch(source, start):
            end = min(end, start - source[:start].endswith("!"))
    return end
