"""Turns a sentence into phones from a lexicon: one of the two kinds of text tokens; `tokenizer` reads its file."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Final

from streamer.errors import CheckpointError
from streamer.text.phones import ANCHOR, ANNOTATED, JOINT, without_phones
from streamer.text.tokens.derived_words import derived

MAX_REMEMBERED_WORDS: Final = 4096
"""How many words' phones are remembered: a text is counted again and again while it is cut into sentences."""
_WORD_OR_CHARACTER: Final = re.compile(rf"{ANNOTATED.pattern.replace('(', '(?:')}|[a-z']+|.", re.DOTALL)
_UP_TO_LAST_LETTER: Final = re.compile(r".*[^\W\d_]", re.DOTALL)
_STOPS: Final = re.compile(r"[.?!]+")
_LETTER_RUN: Final = re.compile(r"(.)\1{2,}")
_ASCII_FOR: Final = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "–": "-", "—": "-"})


class PhonemeTokenizer:
    """Words by a lexicon's phones, or their parts' phones, or letters; ids are places in `symbols`.

    Text is lower-cased and loses its accents. A word is a run of letters and apostrophes. Words are parted
    by `" "`, or by the punctuation between them if that is among the symbols; all else is skipped.
    A stop, question or exclamation mark with more behind it is read as a comma: a model that was taught one
    sentence at a time stops speaking there, and several short ones may come as one text.
    """

    def __init__(self, symbols: Sequence[str], lexicon: Mapping[str, str]) -> None:
        """`lexicon`: word to its phones with spaces between. Raises `CheckpointError` on unknown phones."""
        self._id_of = {symbol: index for index, symbol in enumerate(symbols)}
        self._id_of_signs = {
            symbol: index
            for symbol, index in self._id_of.items()
            if not (symbol.isspace() or symbol.isalnum() or symbol == "'")
        }
        self._lexicon = lexicon
        self._ids_of_words: dict[str, list[int]] = {}
        phones = set(" ".join(lexicon.values()).split())
        self.phones = tuple(symbol for symbol in symbols if symbol in phones)
        if unknown := phones - self._id_of.keys():
            raise CheckpointError(f"the lexicon has phones that are not symbols: {sorted(unknown)[:5]}")

    @property
    def num_ids(self) -> int:
        return max(self._id_of.values(), default=-1) + 1

    def encode(self, text: str) -> list[int]:
        """The text's ids; none for a text without a word, because a model babbles on stops and commas alone."""
        ids, has_word = self._encode(text)
        return ids if has_word else []

    def encode_part(self, text: str) -> list[int]:
        """The ids of a part of a text, which may be a comma alone."""
        return self._encode(text)[0]

    def unsupported(self, text: str) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for word in without_phones(text).split():
            if any(c.isalnum() and not ("a" <= c <= "z") and c not in self._id_of for c in _folded(word)):
                found[word] = None
        return tuple(found)

    def _encode(self, text: str) -> tuple[list[int], bool]:
        """The ids, and whether any of them is a word's."""
        ids: list[int] = []
        after_word = False  # the last id belongs to a word
        is_parted = False  # something stood after it
        has_word = False
        space = self._id_of.get(" ")
        for piece in _WORD_OR_CHARACTER.findall(inner_stops_as_commas(_folded(text))):
            if piece == " ":
                is_parted = True
            elif _is_word(piece) and (word_ids := self._word(piece)):
                if after_word and is_parted and space is not None:
                    ids.append(space)
                ids += word_ids
                after_word, is_parted, has_word = True, False, True
            elif (sign_id := self._id_of_signs.get(piece)) is not None:
                ids.append(sign_id)
                after_word = False
            else:
                is_parted = True
        return ids, has_word

    def _word(self, word: str) -> list[int]:
        ids = self._ids_of_words.get(word)
        if ids is None:
            if len(self._ids_of_words) >= MAX_REMEMBERED_WORDS:
                self._ids_of_words.clear()
            ids = self._ids_of_words[word] = self._ids(word)
        return ids

    def _ids(self, word: str) -> list[int]:
        if word[0] == ANCHOR:
            given = ANNOTATED.sub(r"\2", word).split(JOINT)
            return [self._id_of[phone] for phone in given if phone in self._id_of]
        # 'tis and dogs' are words of their own, 'well' is one in quotes.
        phones = (word_phones(word, self._lexicon) or "").split()
        # What a derived word's ending adds may be unknown to a model with other phones.
        symbols = phones if phones and self._id_of.keys() >= set(phones) else word
        return [self._id_of[symbol] for symbol in symbols if symbol in self._id_of]


def word_phones(word: str, lexicon: Mapping[str, str]) -> str | None:
    """A lower-case word's phones with spaces between, if the lexicon has it or the words that it is made of.

    A drawn-out word ("nooo", "goood") is read as the word it stands for.
    """
    bare = word.strip("'")
    phones = lexicon.get(word) or lexicon.get(bare) or derived(bare, lexicon)
    if phones or not _LETTER_RUN.search(bare):
        return phones
    twice, once = _LETTER_RUN.sub(r"\1\1", bare), _LETTER_RUN.sub(r"\1", bare)
    return lexicon.get(twice) or lexicon.get(once) or derived(twice, lexicon) or derived(once, lexicon)


def inner_stops_as_commas(text: str) -> str:
    """`text` with a comma for every stop, question or exclamation mark that has letters behind it."""
    words = _UP_TO_LAST_LETTER.match(text)
    return text if words is None else _STOPS.sub(",", words.group()) + text[words.end() :]


def _is_word(piece: str) -> bool:
    if len(piece) > 1 and piece[0] == ANCHOR:
        return True
    return "a" <= piece[0] <= "z" or (piece[0] == "'" and piece.strip("'") != "")


def _folded(text: str) -> str:
    """Lower case without accents, with plain apostrophes and dashes; `…` and phones stay."""
    if ANCHOR not in text:
        return _folded_words(text)
    pieces, end = [], 0
    for word in ANNOTATED.finditer(text):
        pieces += [_folded_words(text[end : word.start()]), word.group()]
        end = word.end()
    return "".join([*pieces, _folded_words(text[end:])])


def _folded_words(text: str) -> str:
    text = text.lower()
    if text.isascii():
        return text
    text = text.translate(_ASCII_FOR)
    parts = (c if c == "…" else unicodedata.normalize("NFKD", c) for c in unicodedata.normalize("NFC", text))
    return "".join(c for part in parts for c in part if not unicodedata.combining(c))
