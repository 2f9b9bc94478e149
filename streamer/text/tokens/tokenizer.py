"""Turns a sentence into a model's text tokens: Bark's word pieces, or phones from a lexicon.

The `TokenizerConfig` of a model names one of the two; `load_tokenizer` reads it from the model's directory.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import tokenizers
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from streamer.errors import CheckpointError
from streamer.models.config import ModelConfig, TokenizerConfig
from streamer.text.phones import without_phones
from streamer.text.tokens.phonemes import PhonemeTokenizer

UNKNOWN: Final = "[UNK]"
SPECIAL_TOKENS: Final = ("[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]")
BROKEN_CHARACTER: Final = "\N{REPLACEMENT CHARACTER}"
MAX_LEXICON_BYTES: Final = 256 << 20
"""The longest lexicon that is unpacked, in bytes."""
_LONE_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


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
