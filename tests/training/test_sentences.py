"""The texts are those of an assistant, the same every time, and never those of the evaluation."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from training.phrases import CLAUSES, PHRASES, SENTENCES
from training.replies import CARRIERS, SHORT, TEMPLATES, plural, reply
from training.sentences import (
    EVALUATION,
    EVALUATION_REPLIES,
    MAX_WORDS,
    Line,
    letters,
    lines,
    wordnet_definitions,
    wordnet_sentences,
)

HELD_OUT = "The soft cushion broke the man's fall"


@pytest.fixture(scope="module")
def wordnet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a small dictionary in WordNet's own format."""
    folder = tmp_path_factory.mktemp("wordnet")
    colours = [
        f"{first}{second}"
        for first in ("red", "blue", "sand", "moss")
        for second in "abcdefghijklmnopqrstuvwxyz"
    ]
    rows = [
        f"{n:08d} 03 n 01 {word} 0 000 | a stone (or shell) as {word} as any that is found by the sea; "
        f'"the {word} was left on the warm sand again"; "{HELD_OUT}"'
        for n, word in enumerate(colours)
    ]
    verbs = [
        f'{n:08d} 29 v 01 {word}_up 0 000 | make something {word} again; "they {word}ed it with care"'
        for n, word in enumerate(colours)
    ]
    for part, lines_ in {"noun": rows * 1, "verb": verbs, "adj": [], "adv": []}.items():
        (folder / f"data.{part}").write_text("".join(f"{line}\n" for line in lines_))
        (folder / f"index.{part}").write_text("".join(f"{word} n 1\n" for word in colours if part == "noun"))
    return folder


@pytest.fixture(scope="module")
def texts(wordnet: Path) -> list[Line]:
    return lines(wordnet, 400)


def test_half_of_the_sentences_are_longer_than_twelve_words(texts: list[Line]) -> None:
    """The lengths range from one word to an assistant's longest sentences."""
    lengths = [len(line.text.split()) for line in texts]
    share = sum(length > 12 for length in lengths) / len(lengths)
    assert 0.4 < share < 0.65
    assert min(lengths) <= 2
    assert 30 < max(lengths) <= MAX_WORDS


def test_the_texts_follow_from_the_seed(wordnet: Path, texts: list[Line]) -> None:
    """The same seed gives the same texts, so that a stopped run can continue; another seed gives others."""
    assert lines(wordnet, 100) == texts[:100]
    assert lines(wordnet, 100, seed=3) != texts[:100]


def test_no_text_is_one_that_the_voice_is_judged_by(texts: list[Line]) -> None:
    """No such text occurs, even if WordNet has it."""
    judged_by = [*EVALUATION.read_text().splitlines(), *EVALUATION_REPLIES.read_text().splitlines()]
    assert f"{HELD_OUT}." in judged_by
    assert not {letters(text) for text in judged_by} & {letters(line.text) for line in texts}


def test_the_texts_are_words_and_marks_alone(texts: list[Line]) -> None:
    """Numbers, prices and times are in words, and every line begins like a sentence."""
    for line in texts:
        assert not set(line.text) - set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ' ,.?!;:-"), line
        assert line.text[0].isupper(), line


def test_sentences_of_a_paragraph_follow_each_other(texts: list[Line]) -> None:
    """Some paragraphs have several sentences."""
    numbers = [line.paragraph for line in texts]
    assert numbers == sorted(numbers)
    assert max(map(numbers.count, numbers)) >= 3


def test_long_sentences_come_but_once(texts: list[Line]) -> None:
    """No long sentence repeats, because it would teach nothing new."""
    long = [letters(line.text) for line in texts if len(line.text.split()) > 3]
    assert len(long) == len(set(long))


@pytest.mark.parametrize("template", [*SENTENCES, *CLAUSES, *TEMPLATES, *SHORT, *CARRIERS])
def test_every_gap_can_be_filled(template: str) -> None:
    """No brace is left in the spoken text."""
    for seed in range(3):
        text = reply(random.Random(seed), template, ["pebble"])
        assert text and not {"{", "}"} & set(text)


@pytest.mark.parametrize("name", PHRASES)
def test_every_phrase_can_be_said(name: str) -> None:
    """The gaps of a phrase are filled too."""
    for phrase in PHRASES[name]:
        assert "{" not in reply(random.Random(0), phrase)


@pytest.mark.parametrize(
    ("written", "made"),
    [
        ("a apple", "an apple"),
        ("A old hat", "An old hat"),
        ("a useful thing", "a useful thing"),
        ("a university", "a university"),
        ("a European", "a European"),
        ("a one-way street", "a one-way street"),
        ("a umbrella", "an umbrella"),
        ("was a onion", "was an onion"),
        ("a empty box", "an empty box"),
    ],
)
def test_the_article_goes_by_the_sound(written: str, made: str) -> None:
    """`an` comes before a vowel that is heard."""
    assert reply(random.Random(0), written) == made


@pytest.mark.parametrize(
    ("noun", "nouns"),
    [
        ("pharmacy", "pharmacies"),
        ("church", "churches"),
        ("key", "keys"),
        ("lake", "lakes"),
        ("bus", "buses"),
        ("dish", "dishes"),
        ("box", "boxes"),
    ],
)
def test_a_plural_is_spelled_as_it_is_said(noun: str, nouns: str) -> None:
    """A plural has its regular spelling, so that the lexicon has it."""
    assert plural(noun) == nouns


def test_wordnets_files_are_read(wordnet: Path) -> None:
    """Examples begin with a capital and end with a mark; definitions have no remarks in brackets."""
    assert "The redb was left on the warm sand again." in wordnet_sentences(wordnet)
    found = wordnet_definitions(wordnet)
    assert ("noun", "reda", "a stone as reda as any that is found by the sea") in found
    assert all(part == "noun" for part, _, _ in found)  # the verbs' definitions are too short


def test_the_evaluation_replies_are_an_assistants() -> None:
    """There are sixty replies of 15 to 45 words, all different."""
    replies = EVALUATION_REPLIES.read_text().splitlines()
    assert len(replies) == len(set(replies)) == 60
    assert all(15 <= len(text.split()) <= 45 for text in replies)
    assert all(text[-1] in ".?!" and text.isascii() for text in replies)
