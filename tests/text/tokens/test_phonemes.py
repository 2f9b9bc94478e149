"""Words to phones: by the lexicon, by their parts, or letter by letter."""

from __future__ import annotations

import pytest

from streamer.text.phones import annotated
from streamer.text.tokens.phonemes import PhonemeTokenizer, inner_stops_as_commas

SYMBOLS = (" ", ",", ".", "?", "!", "…", "HH", "AH", "L", "OW", "W", "ER", "D", *"abcdefghijklmnopqrstuvwxyz")


def phonemes(text: str) -> list[str]:
    tokenizer = PhonemeTokenizer(SYMBOLS, {"hello": "HH AH L OW", "world": "W ER L D"})
    return [SYMBOLS[index] for index in tokenizer.encode(text)]


def test_words_become_their_phones() -> None:
    """A space parts words, punctuation replaces it, other characters are skipped."""
    hello, world = ["HH", "AH", "L", "OW"], ["W", "ER", "L", "D"]
    assert phonemes("Hello   WORLD") == [*hello, " ", *world]
    assert phonemes("hello, world! 7") == [*hello, ",", *world, "!"]
    assert phonemes("'hello' (world)…") == [*hello, " ", *world, "…"]


def test_a_word_may_be_given_in_phones() -> None:
    """Its phones count whatever the lexicon says of it; a model of word pieces reads the word."""
    given = annotated("hello", ("W", "ER", "D"))
    assert phonemes(f"{given} world") == ["W", "ER", "D", " ", "W", "ER", "L", "D"]
    assert phonemes(f"world, {given}!") == ["W", "ER", "L", "D", ",", "W", "ER", "D", "!"]
    assert phonemes(annotated("字", ("OW",))) == ["OW"]
    assert phonemes(f"{given}. Hello.") == ["W", "ER", "D", ",", "HH", "AH", "L", "OW", "."]
    tokenizer = PhonemeTokenizer(SYMBOLS, {"hello": "HH AH L OW"})
    assert tokenizer.phones == ("HH", "AH", "L", "OW")
    assert tokenizer.unsupported(f"{given} 7") == ("7",)


def test_only_the_last_stop_ends_the_speech() -> None:
    """Several short sentences in one text are spoken to their end; what comes behind the stop may be no word."""
    assert phonemes("Hello! World.") == phonemes("Hello, world.")
    assert phonemes("Hello?! World?!") == phonemes("Hello, world?!")
    assert phonemes("Hello!” ") == phonemes("Hello!")


def test_a_word_of_known_parts_becomes_their_phones() -> None:
    """The lexicon need not hold every word that is made of its words."""
    assert phonemes("helloworld") == [*phonemes("hello"), *phonemes("world")]
    assert phonemes("worlds") == list("worlds")  # this model has no Z


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("Hellooo", "hello"),
        ("helllo", "hello"),
        ("hhhello", "hello"),
        ("worldddd", "world"),
        ("'wooorld'", "world"),
    ],
)
def test_a_drawn_out_word_is_read_as_the_word(written: str, read: str) -> None:
    """Three equal letters in a row stand for two or for one."""
    assert phonemes(written) == phonemes(read) != list(read)


def test_unknown_words_are_spelled() -> None:
    """One symbol for each letter, without accents."""
    assert phonemes("Héllo xy") == ["HH", "AH", "L", "OW", " ", "x", "y"]
    assert PhonemeTokenizer(SYMBOLS, {}).unsupported("ok привет 7 ok") == ("привет", "7")


@pytest.mark.parametrize("text", ["", "...", "- - -", "Привет, мир!", "🙂, 🙂"])
def test_without_a_word_there_is_nothing_to_say(text: str) -> None:
    """Stops alone, and words of other alphabets, have no ids; beside a word stops have theirs."""
    assert phonemes(text) == []
    assert phonemes("ok...") == ["o", "k", ".", ".", "."]


def test_each_word_is_looked_up_once() -> None:
    """A text is counted again and again while it is cut; what is looked up is each of its words for the first time."""
    looked_up: list[str] = []

    class Lexicon(dict[str, str]):
        def get(self, word: str, default: str | None = None) -> str | None:  # type: ignore[override]
            looked_up.append(word)
            return super().get(word, default)

    tokenizer = PhonemeTokenizer(SYMBOLS, Lexicon(hello="HH AH L OW", world="W ER L D"))
    text = "Hello, world! " * 20
    for end in range(0, len(text), 14):
        tokenizer.encode(text[:end])
    assert looked_up == ["hello", "world"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Yes. No.", "Yes, No."),
        ("...a...", ",a..."),
        ("a.b?c!d", "a,b,c,d"),
        ("a. . . b?!", "a, , , b?!"),
        ("a?! 7. ", "a?! 7. "),
        (100 * "." + "é" + 100 * ".", ",é" + 100 * "."),
        ("...", "..."),
    ],
)
def test_stops_before_the_last_letter_become_commas(text: str, expected: str) -> None:
    """Stops in a row become one comma; those with no letter behind them stay."""
    assert inner_stops_as_commas(text) == expected
