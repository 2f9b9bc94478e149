"""Word pieces of 13 languages, as the original's slow tokenizer and the `tokenizers` library make them."""

from __future__ import annotations

from pathlib import Path

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertTokenizer

from streamer.models.config import TokenizerConfig
from streamer.synthesis import ModelInfo
from streamer.text.reading import AS_IT_IS, create_splitter
from streamer.text.tokens.tokenizer import SPECIAL_TOKENS, Tokenizer, load_tokenizer
from tests.text.sentences import LANGUAGES, SENTENCES

try:  # if transformers' tokenizer wraps `tokenizers`, its older one in Python is kept beside it
    from transformers.models.bert.tokenization_bert_legacy import BertTokenizerLegacy as SlowBertTokenizer
except ImportError:
    SlowBertTokenizer = BertTokenizer

MAX_TOKENS = 40


def vocabulary() -> list[str]:
    """Pieces made for the tests: most characters, alone and inside words, and beginnings and ends of words."""
    words = sorted({word for _, text in SENTENCES for word in text.split()})
    characters = sorted({character for word in words for character in word})
    known = [character for index, character in enumerate(characters) if index % 17]
    pieces = dict.fromkeys(SPECIAL_TOKENS)
    pieces |= dict.fromkeys(known) | dict.fromkeys(f"##{character}" for character in known)
    for word in words[::2]:
        pieces |= dict.fromkeys([word, word[:3], f"##{word[-2:]}"])
    return list(pieces)


@pytest.fixture(scope="module")
def vocabulary_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bert") / "vocab.txt"
    path.write_text("\n".join(vocabulary()) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def ours(vocabulary_file: Path) -> Tokenizer:
    return load_tokenizer(TokenizerConfig(file=vocabulary_file.name), vocabulary_file.parent)


def test_there_are_200_sentences_in_13_languages() -> None:
    """Numbers, accents, tags, songs, emoji and mixed scripts among them."""
    assert len(SENTENCES) >= 200
    assert all(sum(known == language for known, _ in SENTENCES) >= 15 for language in LANGUAGES)


def test_tokens_are_those_of_the_originals_tokenizer(vocabulary_file: Path, ours: Tokenizer) -> None:
    """Equal on every sentence, as Bark calls it: white space collapsed, no special tokens."""
    original = SlowBertTokenizer(str(vocabulary_file), do_lower_case=False)
    for _, text in SENTENCES:
        for written in (text, f"  {text}\n\t{text} ", text.upper()):
            expected = original.encode(" ".join(written.split()), add_special_tokens=False)
            assert ours.encode(written) == expected, written
            assert len(expected) > 3


def test_tokens_are_those_of_the_library(vocabulary_file: Path, ours: Tokenizer) -> None:
    """Equal to `BertWordPieceTokenizer` with the settings of bert-base-multilingual-cased, and to the file it saves."""
    library = tokenizers.BertWordPieceTokenizer(
        str(vocabulary_file), lowercase=False, strip_accents=False, handle_chinese_chars=True
    )
    library.save(str(vocabulary_file.with_name("tokenizer.json")))
    saved = load_tokenizer(TokenizerConfig(), vocabulary_file.parent)
    for _, text in SENTENCES:
        assert ours.encode(text) == library.encode(text, add_special_tokens=False).ids == saved.encode(text)


@settings(max_examples=60, deadline=None)
@given(
    chosen=st.lists(st.sampled_from([text for _, text in SENTENCES]), max_size=12),
    glue=st.sampled_from([" ", "", "\n", "\n\n"]),
)
def test_a_text_is_cut_to_the_limit_and_never_dropped(ours: Tokenizer, chosen: list[str], glue: str) -> None:
    """No sentence has more tokens than the model takes, and together they are the whole text but for white space."""
    text = glue.join(chosen)
    info = ModelInfo("bark", 24_000, "v", ("v",), LANGUAGES, ("[laughs]",), MAX_TOKENS)
    splitter = create_splitter(info, lambda piece: len(ours.encode(piece)), AS_IT_IS)
    sentences = [*splitter.feed(text), *splitter.end()]
    assert "".join("".join(sentence.text.split()) for sentence in sentences) == "".join(text.split())
    assert all(len(ours.encode(sentence.text)) <= MAX_TOKENS for sentence in sentences)
