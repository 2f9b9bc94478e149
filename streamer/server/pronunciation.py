"""The operator's list of words as a server has it: read at the start, and again when the operator asks for it.

An utterance that has begun keeps the list that was there.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from streamer.text.lexicon import Lexicon


class Pronunciation:
    """How the operator wants words said, whatever the protocol: the `lexicon` of a file, None without one."""

    def __init__(self, path: Path | None = None) -> None:
        """Raises `ConfigError` as `Lexicon.read` does."""
        self._path = path
        self._phones: Collection[str] | None = None  # the model's, once they are known
        self.lexicon = self._read()

    def check(self, phones: Collection[str]) -> None:
        """Raise `ConfigError` for words in phones that the model lacks, now or when the file is read again."""
        self._phones = phones
        if self.lexicon is not None:
            self.lexicon.check_phones(phones)

    def reload(self) -> None:
        """Read the file again. Raises `ConfigError`, and then the old list stays."""
        self.lexicon = self._read()

    def _read(self) -> Lexicon | None:
        if self._path is None:
            return None
        lexicon = Lexicon.read(self._path)
        if self._phones is not None:
            lexicon.check_phones(self._phones)
        return lexicon
