"""Turns a sentence into a model's text tokens: Bark's word pieces, or phones from a lexicon.

The `TokenizerConfig` of a model names one of the two; `load_tokenizer` reads it from the model's directory.
"""

from __future__ import annotations

import gzip
import io
import re
import unicodedata
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import tokenizers
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from streamer.errors import CheckpointError
from streamer.models.config import ModelConfig, TokenizerConfig
from streamer.text.phones import ANCHOR, ANNOTATED, JOINT, without_phones
from streamer.text.tokens.derived_words import derived

UNKNOWN: Final = "[UNK]"
SPECIAL_TOKENS: Final = ("[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]")
BROKEN_CHARACTER: Final = "\N{REPLACEMENT CHARACTER}"
MAX_REMEMBERED_WORDS: Final = 4096
"""How many words' phones are remembered: a text is counted again and again while it is cut into sentences."""
MAX_LEXICON_BYTES: Final = 256 << 20
"""The longest lexicon that is unpacked, in bytes."""
_LONE_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_WORD_OR_CHARACTER: Final = re.compile(rf"{ANNOTATED.pattern.replace('(', '(?:')}|[a-z']+|.", re.DOTALL)
_UP_TO_LAST_LETTER: Final = re.compile(r".*[^\W\d_]", re.DOTALL)
_STOPS: Final = re.compile(r"[.?!]+")
_LETTER_RUN: Final = re.compile(r"(.)\1{2,}")
_ASCII_FOR: Final = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "–": "-", "—": "-"})


class Tokenizer(Protocol):
    """Text to the ids that a semantic model was trained on."""

    @property
    def num_ids(self) -> int:
        """An upper bound: all ids are below it."""
        ...

    @property
    def phones(self) -> tuple[str, ...]:
        """The phones in which a word of the text may be given, as `text/phones` says; none if it has to be spelled."""
        ...

    def encode(self, text: str) -> list[int]:
        """The text's ids, without any offset the model adds."""
        ...

    def unsupported(self, text: str) -> tuple[str, ...]:
        """The words and characters of the text that these ids cannot express, each once, in order."""
        ...


@dataclass(frozen=True, slots=True)
class TokenizerFile:
    """A tokenizer as a model directory keeps it: what the model's config says of it, and the bytes of its file."""

    config: TokenizerConfig
    data: bytes

    @classmethod
    def read(cls, config: TokenizerConfig, directory: Path) -> TokenizerFile:
        """Read the tokenizer of the model in `directory`. Raises `CheckpointError` if it is missing."""
        path = directory / config.file
        try:
            return cls(config, path.read_bytes())
        except OSError as error:
            message = f"{path} is missing or unreadable, the model's tokenizer: {error.strerror}"
            raise CheckpointError(message) from error

    def load(self, source: str) -> Tokenizer:
        """Return the tokenizer. Raises `CheckpointError`, which names `source`, if the file is broken."""
        if self.config.kind == "phonemes":
            if not self.config.symbols:
                raise CheckpointError("a tokenizer of kind 'phonemes' needs `symbols` in config.json")
            return PhonemeTokenizer(self.config.symbols, _parse_lexicon(self.data, source))
        if self.config.kind == "wordpiece":
            is_list = Path(self.config.file).suffix == ".txt"
            parse = _parse_vocabulary if is_list else _parse_word_pieces
            return WordPieceTokenizer(parse(self.data, source))
        raise CheckpointError(f"unknown kind of tokenizer {self.config.kind!r}: use wordpiece or phonemes")


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


class WordPieceTokenizer:
    """BERT's word pieces as Bark uses them: white space collapsed, cased, accents kept, no special tokens."""

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer

    @property
    def num_ids(self) -> int:
        return max(self._tokenizer.get_vocab().values(), default=-1) + 1

    phones: tuple[str, ...] = ()

    def encode(self, text: str) -> list[int]:
        return list(self._encoding(without_phones(text)).ids)

    def unsupported(self, text: str) -> tuple[str, ...]:
        text = " ".join(text.split())
        encoding = self._encoding(text)
        pairs = zip(encoding.tokens, encoding.offsets, strict=True)
        return tuple(dict.fromkeys(text[start:end] for token, (start, end) in pairs if token == UNKNOWN))

    def _encoding(self, text: str) -> tokenizers.Encoding:
        text = _LONE_SURROGATE.sub(BROKEN_CHARACTER, " ".join(text.split()))
        return self._tokenizer.encode(text, add_special_tokens=False)


def load_tokenizer(config: TokenizerConfig, directory: Path) -> Tokenizer:
    """Return the tokenizer of the model in `directory`. Raises `CheckpointError` if it is missing or broken."""
    return TokenizerFile.read(config, directory).load(str(directory / config.file))


def load_model_tokenizer(config: ModelConfig, directory: Path) -> Tokenizer:
    """As `load_tokenizer`; raises `CheckpointError`, too, for one of another model, whose ids this one cannot take."""
    tokenizer = load_tokenizer(config.tokenizer, directory)
    num_ids = config.semantic.transformer.input_vocab_size - config.semantic.text_offset
    if tokenizer.num_ids > num_ids:
        raise CheckpointError(
            f"{directory / config.tokenizer.file}: has {tokenizer.num_ids} ids, but the model takes {num_ids}"
        )
    return tokenizer


def read_lexicon(path: Path) -> dict[str, str]:
    """Word to phones of a gzipped file of lines `word TAB PH1 PH2 ...`; a word's first line counts."""
    return _parse_lexicon(path.read_bytes(), str(path))


def _parse_lexicon(data: bytes, source: str) -> dict[str, str]:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            unpacked = file.read(MAX_LEXICON_BYTES + 1)
        if len(unpacked) > MAX_LEXICON_BYTES:
            raise ValueError(f"it has more than {MAX_LEXICON_BYTES} bytes")
        # Reversed, because the last of equal keys wins.
        lines = reversed(unpacked.decode("utf-8").splitlines())
        return dict(line.split("\t", 1) for line in lines if line)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        message = f"{source} is no gzipped lexicon of `word TAB phones` lines: {error}"
        raise CheckpointError(message) from error


def _parse_word_pieces(data: bytes, source: str) -> tokenizers.Tokenizer:
    try:
        tokenizer = tokenizers.Tokenizer.from_buffer(data)
    except Exception as error:  # the library raises bare `Exception`s
        raise CheckpointError(f"{source} is no tokenizer JSON: {error}") from error
    if not isinstance(tokenizer.model, WordPiece):
        raise CheckpointError(f"{source} is no word-piece vocabulary, but {type(tokenizer.model).__name__}")
    return tokenizer


def _parse_vocabulary(data: bytes, source: str) -> tokenizers.Tokenizer:
    try:
        pieces = data.decode("utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{source} is no word-piece vocabulary: {error}") from error
    vocabulary = {piece.rstrip("\r"): index for index, piece in enumerate(pieces)}
    if UNKNOWN not in vocabulary:
        raise CheckpointError(f"{source} is no word-piece vocabulary: it lacks {UNKNOWN}")
    tokenizer = tokenizers.Tokenizer(WordPiece(vocabulary, unk_token=UNKNOWN, max_input_chars_per_word=100))
    tokenizer.normalizer = BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=False
    )
    tokenizer.pre_tokenizer = BertPreTokenizer()
    # Written out in a text they are still one token each, as in the original.
    tokenizer.add_special_tokens([token for token in SPECIAL_TOKENS if token in vocabulary])
    return tokenizer


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
