"""Texts in several languages, as a model of 13 reads them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.errors import InvalidParameterError
from streamer.synthesis import ModelInfo
from streamer.text.reading import TextOptions, create_splitter
from streamer.text.splitting.sentences import Sentence
from tests.text.sentences import LANGUAGES, SENTENCES

BARK = ModelInfo("bark", 24_000, "v", ("v",), LANGUAGES, ("[laughs]",), max_text_tokens=256)
BUILTIN = replace(BARK, languages=("en",), tags=(), normalizes_text=True)


def read(pieces: list[str], info: ModelInfo = BARK, **options) -> list[Sentence]:
    splitter = create_splitter(info, len, TextOptions(**options))
    return [sentence for piece in pieces for sentence in splitter.feed(piece)] + [*splitter.end()]


@settings(max_examples=60, deadline=None)
@given(
    chosen=st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=8),
    normalizes=st.booleans(),
    data=st.data(),
)
def test_pieces_do_not_matter(chosen: list[tuple[str, str]], normalizes: bool, data: st.DataObject) -> None:
    """A mixture of languages gives the same sentences, languages and spoken words however it is cut."""
    text = " ".join(text for _, text in chosen)
    whole = read([text], normalizes=normalizes)
    cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=6).map(sorted))
    pieces = [text[start:end] for start, end in pairwise([0, *cuts, len(text)])]
    assert read(pieces, normalizes=normalizes) == read(list(text), normalizes=normalizes) == whole


def test_a_mixture_is_cut_by_each_sentences_language() -> None:
    """Abbreviations and stops are those of the language that the sentence is in."""
    sentences = [
        ("en", "Dr. Smith came at 5 p.m. to see me."),
        ("de", "Das kostet z.B. 3 Euro am 3. Oktober."),
        ("fr", "M. Dupont arrive avec Mme. Lefèvre à cinq heures."),
        ("ru", "Это т.е. пример для проверки."),
        ("zh", "这是一个非常好的句子。"),
        ("ko", "내일 아침에 아이들과 바다에 갑시다."),
        ("hi", "यह एक बहुत अच्छा वाक्य है।"),
        ("es", "El Sr. López vive en EE.UU. desde 1990."),
    ]
    found = read([" ".join(text for _, text in sentences)])
    assert [(sentence.language, sentence.text) for sentence in found] == sentences


def test_a_language_may_be_named() -> None:
    """Then nothing is looked for, and another model's language is one clear error."""
    assert [sentence.language for sentence in read(["Where is he?"], language="de")] == ["de"]
    with pytest.raises(InvalidParameterError, match="'xx': use one of auto, en, de"):
        read([], language="xx")
    with pytest.raises(InvalidParameterError, match="'html': use one of plain, chat"):
        read([], text_format="html")


def test_words_are_written_out_where_wished() -> None:
    """As the model needs it, or as the client wishes; each sentence in its language, tags kept for Bark."""
    text = "[laughs] It costs $5 today. Das kostet 5 € und ist gut."
    assert [sentence.spoken_text for sentence in read([text])] == [
        "[laughs] It costs $5 today.",
        "Das kostet 5 € und ist gut.",
    ]
    assert [sentence.spoken_text for sentence in read([text], normalizes=True)] == [
        "[laughs] It costs five dollars today.",
        "Das kostet fünf Euro und ist gut.",
    ]
    assert read(["It is 5."], BUILTIN)[0].spoken_text == "It is five."
    assert read(["It is 5."], BUILTIN, normalizes=False)[0].spoken_text == "It is 5."


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.sampled_from("12 .,€$aß的[]!"), max_size=80))
def test_what_is_spoken_fits_the_model(text: str) -> None:
    """The token limit is that of the words that are spoken, which are longer than what is written."""
    sentences = read([text], replace(BARK, max_text_tokens=40), normalizes=True)
    assert all(len(sentence.spoken_text) <= 40 or len(sentence.text) == 1 for sentence in sentences)
    assert "".join("".join(s.text.split()) for s in sentences) == "".join(text.split())


@pytest.mark.parametrize("text_format", ["plain", "chat"])
@pytest.mark.parametrize("normalizes", [False, True])
@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("Part one " + "-" * 40 + " part two.", ["Part one, part two."]),
        ("A title\n" + "-" * 72 + "\nThe text begins.", ["A title", "The text begins."]),
        ("A title\n=====\nThe text begins.", ["A title", "The text begins."]),
        ("We go on " + "=" * 30 + " and on.", ["We go on, and on."]),
        ("It is fine " + "+" * 30 + " so far.", ["It is fine, so far."]),
        ("No" + "!" * 64 + " yes.", ["No! yes."]),
        ("Hello " + "o" * 120 + " there.", ["Hello ooo there."]),
    ],
)
def test_runs_are_shown_as_written_and_spoken_plain(
    text_format: str, normalizes: bool, written: str, said: list[str]
) -> None:
    """In each format, written out or not: positions are those of the text, and the model is given what it can read."""
    sentences = read([written], BUILTIN, text_format=text_format, normalizes=normalizes)
    assert [sentence.spoken_text for sentence in sentences] == said
    assert all(written[s.char_start : s.char_end] == s.text for s in sentences)
    assert sentences == read(list(written), BUILTIN, text_format=text_format, normalizes=normalizes)
