"""Tokenizers from their files: word pieces as the original's, a lexicon, and clear errors."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import tokenizers
from transformers import BertTokenizer

from streamer.errors import CheckpointError
from streamer.models.config import TokenizerConfig
from streamer.text.tokens.tokenizer import load_tokenizer

SYMBOLS = (" ", ",", ".", "?", "!", "…", "HH", "AH", "L", "OW", "W", "ER", "D", *"abcdefghijklmnopqrstuvwxyz")
LEXICON = "hello\tHH AH L OW\nworld\tW ER L D\nworld\tW D\n"
PIECES = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "He",
    "##llo",
    "Hello",
    "é",
    "##!",
    "!",
    "字",
    "wor",
    "##ld",
]


def test_a_lexicon_is_read_from_its_file(tmp_path: Path) -> None:
    """The first of a word's pronunciations counts."""
    (tmp_path / "lexicon.gz").write_bytes(gzip.compress(LEXICON.encode()))
    tokenizer = load_tokenizer(TokenizerConfig("phonemes", "lexicon.gz", SYMBOLS), tmp_path)
    assert [SYMBOLS[index] for index in tokenizer.encode("world")] == ["W", "ER", "L", "D"]
    assert tokenizer.num_ids == len(SYMBOLS)


def test_word_pieces_are_the_originals(tmp_path: Path) -> None:
    """From vocab.txt and tokenizer.json alike: white space collapsed, no special tokens, cased, accents kept."""
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    original = BertTokenizer(vocab={piece: index for index, piece in enumerate(PIECES)}, do_lower_case=False)
    from_vocabulary = load_tokenizer(TokenizerConfig(file="vocab.txt"), tmp_path)
    backend = original.backend_tokenizer if hasattr(original, "backend_tokenizer") else None
    assert isinstance(backend, tokenizers.Tokenizer)
    backend.save(str(tmp_path / "tokenizer.json"))
    from_json = load_tokenizer(TokenizerConfig(), tmp_path)
    for text in ("Hello!", "  hello \n Hello\tworld ", "é É e", "字字 He", "[laughter] Hello [MASK]", ""):
        expected = original.encode(" ".join(text.split()), add_special_tokens=False)
        assert from_vocabulary.encode(text) == from_json.encode(text) == expected
    assert from_vocabulary.num_ids == from_json.num_ids == len(PIECES)
    assert from_vocabulary.unsupported("Hello привет 😀 Hello") == ("привет", "😀")


def test_lone_surrogates_do_no_harm(tmp_path: Path) -> None:
    """What is not text is passed over; its neighbours stay."""
    (tmp_path / "vocab.txt").write_text("\n".join(PIECES), encoding="utf-8")
    assert load_tokenizer(TokenizerConfig(file="vocab.txt"), tmp_path).encode("\ud800 Hello") == [7]


@pytest.mark.parametrize(
    ("config", "content"),
    [
        (TokenizerConfig("phonemes", "absent.gz", SYMBOLS), b""),
        (TokenizerConfig("phonemes", "file", SYMBOLS), b"plain"),
        (TokenizerConfig("phonemes", "file", SYMBOLS), gzip.compress(b"no tab\n", mtime=0)),
        (TokenizerConfig("phonemes", "file", SYMBOLS), gzip.compress(b"word\tZZ\n", mtime=0)),
        (TokenizerConfig("phonemes", "file", SYMBOLS), gzip.compress(b"word\tW\n", mtime=0)[:-6]),
        (TokenizerConfig("phonemes", "file"), gzip.compress(b"word\tW\n", mtime=0)),
        (TokenizerConfig("wordpiece", "file"), b"{}"),
        (TokenizerConfig("wordpiece", "file.txt"), b"a\nb\n"),
        (TokenizerConfig("other", "file"), b""),
    ],
)
def test_broken_files_are_named(config: TokenizerConfig, content: bytes, tmp_path: Path) -> None:
    """Every way of being missing or broken is a `CheckpointError`."""
    if config.file != "absent.gz":
        (tmp_path / config.file).write_bytes(content)
    with pytest.raises(CheckpointError):
        load_tokenizer(config, tmp_path)
