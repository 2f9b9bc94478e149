"""The operator's list of words and how they are said: `written = spoken`, one a line; `reading` follows it.

A line is `nginx = engine x`, or `gif = /JH IH1 F/` for a model with phones; `#` begins a comment line. What is written
in lower case stands for every case, what has a capital for itself alone. Words are whole: `US` is not a part of `USB`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Final

from streamer.errors import ConfigError
from streamer.text.clean import sanitize
from streamer.text.phones import ANNOTATED, annotated, read_phones
from streamer.text.scripts import SYLLABIC, script_of

MAX_ENTRIES: Final = 10_000
MAX_WRITTEN_CHARS: Final = 64
MAX_SPOKEN_CHARS: Final = 200
MAX_FILE_BYTES: Final = 4_194_304
MAX_PROBLEMS: Final = 50
"""The most mistakes that are told at once."""
_BEGINS: Final = r"(?<!\w)(?<!\w['’])"
_ENDS: Final = r"(?!\w|['’](?!s\b)\w)"
"""A word may have `'s` behind it; `can` is not a part of `can't`."""


@dataclass(frozen=True, slots=True)
class Entry:
    """How one word, or several in a row, are said. `line` is where the file says so, 0 without a file."""

    written: str
    spoken: str
    line: int = 0

    @property
    def phones(self) -> str | None:
        """What stands between the slashes; None if it is said in words."""
        is_phones = len(self.spoken) > 2 and self.spoken[0] == "/" and self.spoken[-1] == "/"
        return self.spoken[1:-1].strip() if is_phones else None

    @property
    def key(self) -> str:
        """What entries must not share: capitals count in those that have one."""
        return self.written if self.is_exact else self.written.casefold()

    @property
    def is_exact(self) -> bool:
        return self.written != self.written.lower()


class Lexicon:
    """Replaces words by how they are said. It is immutable, and serves every utterance."""

    def __init__(
        self,
        entries: Mapping[str, str] | Collection[Entry],
        source: str = "the lexicon",
        problems: Sequence[str] = (),
    ) -> None:
        """`source` is what errors call it; `problems` are known already.

        Raises `ConfigError` with a line for each entry that is wrong.
        """
        if isinstance(entries, Mapping):
            entries = [Entry(_tidied(written), _tidied(spoken)) for written, spoken in entries.items()]
        self._source = source
        self._entries: dict[str, Entry] = {}
        problems = [*problems]
        for entry in entries:
            if (problem := self._problem(entry)) is not None:
                problems.append(self._told(entry, problem))
            elif len(self._entries) < MAX_ENTRIES:
                self._entries[entry.key] = entry
            else:
                problems.append(self._told(entry, f"more than {MAX_ENTRIES} words"))
                break
        _refuse(problems)
        self._pattern = _pattern_of(self._entries.values()) if self._entries else None

    @classmethod
    def read(cls, path: Path) -> Lexicon:
        """Read a file in UTF-8. Raises `ConfigError` with a line for each line that is wrong."""
        try:
            data = path.read_bytes()
            if len(data) > MAX_FILE_BYTES:
                raise ConfigError(f"lexicon {path}: more than {MAX_FILE_BYTES} bytes", param="lexicon")
            lines = data.decode("utf-8-sig").splitlines()
        except OSError as error:
            raise ConfigError(f"lexicon {path}: {error.strerror}", param="lexicon") from None
        except UnicodeDecodeError as error:
            line = data[: error.start].count(b"\n") + 1
            raise ConfigError(f"lexicon {path}, line {line}: not UTF-8", param="lexicon") from None
        problems: list[str] = []
        return cls([*_entries(lines, path, problems)], f"lexicon {path}", problems)

    def __len__(self) -> int:
        return len(self._entries)

    def check_phones(self, known: Collection[str]) -> None:
        """Raise `ConfigError` for the entries in phones that are not among `known`, a model's own."""
        problem = "are none of this model's phones" if known else "are phones, and this model has none"
        _refuse(
            [
                self._told(entry, f"{entry.spoken} {problem}")
                for entry in self._entries.values()
                if entry.phones is not None and read_phones(entry.phones, known) is None
            ]
        )

    def write(self, text: str, phones: Collection[str]) -> str:
        """Return `text` with its words as they are said; `phones` are the model's."""
        if self._pattern is None:
            return text
        pieces, end = [], 0
        for known in ANNOTATED.finditer(text):  # its phones are known already
            pieces += [self._write(text[end : known.start()], phones), known.group()]
            end = known.end()
        return "".join([*pieces, self._write(text[end:], phones)])

    def _write(self, text: str, phones: Collection[str]) -> str:
        assert self._pattern is not None
        return self._pattern.sub(lambda match: self._spoken(match.group(), phones), text)

    def _spoken(self, written: str, phones: Collection[str]) -> str:
        words = " ".join(written.split())
        entry = self._entries.get(words) or self._entries.get(words.casefold())
        if entry is None:  # the pattern knows other cases than `casefold`: ſ and s
            return written
        if entry.phones is None:
            return entry.spoken
        found = read_phones(entry.phones, phones)
        return written if found is None else annotated(written, found)

    def _problem(self, entry: Entry) -> str | None:
        if not 0 < len(entry.written) <= MAX_WRITTEN_CHARS:
            return f"the written word has 1 to {MAX_WRITTEN_CHARS} characters"
        if not 0 < len(entry.spoken) <= MAX_SPOKEN_CHARS:
            return f"{entry.written!r}: the spoken words have 1 to {MAX_SPOKEN_CHARS} characters"
        if not any(map(str.isalnum, entry.spoken)):
            return f"{entry.written!r}: {entry.spoken!r} has nothing to say"
        if (other := self._entries.get(entry.key)) is not None:
            where = f" in line {other.line}" if other.line else ""
            return f"{entry.written!r} stands already{where}"
        return None

    def _told(self, entry: Entry, problem: str) -> str:
        return f"{self._source}, line {entry.line}: {problem}" if entry.line else f"{self._source}: {problem}"


def _refuse(problems: Sequence[str]) -> None:
    """Raise `ConfigError` with these problems, if there are any."""
    if problems:
        more = [f"{len(problems) - MAX_PROBLEMS} more mistakes"] if len(problems) > MAX_PROBLEMS else []
        raise ConfigError("\n".join([*problems[:MAX_PROBLEMS], *more]), param="lexicon")


def _entries(lines: list[str], path: Path, problems: list[str]) -> Iterator[Entry]:
    """Yield the entries of a file's lines; what is wrong with others is added to the problems."""
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        written, equals, spoken = line.partition("=")
        if equals:
            yield Entry(_tidied(written), _tidied(spoken), number)
        else:
            problems.append(f"lexicon {path}, line {number}: {line.strip()[:64]!r} is not `written = spoken`")


def _tidied(text: str) -> str:
    return " ".join(sanitize(text).split())


def _pattern_of(entries: Collection[Entry]) -> re.Pattern[str]:
    """Return a pattern for every written word, the longer ones first; their first letters are looked at first."""

    def first(entry: Entry) -> str:
        return entry.written[0].lower()

    branches = []
    for letter, group in groupby(sorted(entries, key=first), key=first):
        words = sorted(group, key=lambda entry: -len(entry.written))
        choices = "|".join(f"(?{'-i' if word.is_exact else 'i'}:{_whole(word.written)})" for word in words)
        branches.append(f"(?=(?i:{re.escape(letter)}))(?:{choices})")
    return re.compile("|".join(branches))


def _whole(written: str) -> str:
    """Return a pattern for `written` as a whole word, with any white space in it; signs of syllables stand anywhere."""
    words = r"\s+".join(map(re.escape, written.split()))
    begins = _BEGINS if _is_bordered(written[0]) else ""
    return f"{begins}{words}{_ENDS if _is_bordered(written[-1]) else ''}"


def _is_bordered(character: str) -> bool:
    """Whether white space or signs stand around words that begin or end with this character."""
    return script_of(character) not in SYLLABIC and unicodedata.category(character)[0] != "S"
