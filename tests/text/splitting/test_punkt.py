"""The verdict on one stop."""

from __future__ import annotations

import subprocess
import sys

import pytest

from streamer.text.splitting.punkt import sentence_end_classifier


@pytest.mark.parametrize(
    ("word", "stops", "next_word", "ends"),
    [
        ("there", ".", "how", True),
        ("Dr", ".", "The", False),
        ("U.S", ".", "Senate", False),
        ("U.S", ".", "He", True),
        ("X.Y.Z", ".", "foo", False),
        ("No", ".", "5", False),
        ("No", ".", "Mary", True),
        ("hmm", "…", "What", True),
        ("hmm", "...", "mary", False),
        ("in 2019", ".", "Mary", True),
        ("etc", "?", "mary", True),
    ],
)
def test_verdicts(word: str, stops: str, next_word: str, ends: bool) -> None:
    """Punkt decides by the word before the stop and the one after it."""
    assert sentence_end_classifier("en").ends(word, stops, next_word) is ends


def test_unknown_languages_have_a_classifier() -> None:
    """A language without a table is split by the plain rules."""
    assert sentence_end_classifier("xx-YY").ends("word", ".", "Word")


def test_a_certain_verdict_does_not_wait() -> None:
    """Only words whose verdict the next one can change need it whole."""
    classifier = sentence_end_classifier("en")
    assert not classifier.needs_next_word("there", ".") and not classifier.needs_next_word("Dr", ".")
    assert classifier.needs_next_word("etc", ".") and classifier.needs_next_word("J", ".")


@pytest.mark.parametrize(
    ("word", "next_word"),
    [
        ("was 98.6°F", "Fine"),
        ("about 20 °C", "Bring"),
        ("5 m", "Run"),
        ("37º C", "Rest"),
        ("vitamin C", "Fruit"),
        ("plan B", "Mary"),
        ("group A", "Germany"),
        ("size L", "Send"),
    ],
)
def test_a_unit_or_a_named_letter_is_no_initial(word: str, next_word: str) -> None:
    """A letter behind a number, or behind a word that letters name, ends its sentence."""
    assert sentence_end_classifier("en").ends(word, ".", next_word)


@pytest.mark.parametrize("word", ["George W", "J", "by J", "Samuel L"])
def test_an_initial_ends_no_sentence(word: str) -> None:
    """A letter before a name is an initial."""
    assert not sentence_end_classifier("en").ends(word, ".", "Bush")


def test_nltk_is_imported_in_part_and_leaves_the_whole_importable() -> None:
    """Neither the rest of nltk nor a home directory is needed, and `import nltk` finds the whole afterwards."""
    code = (
        "import pwd, os, sys; os.environ.pop('HOME', None); pwd.getpwuid = {}.__getitem__; "
        "from streamer.text.splitting.punkt import sentence_end_classifier as of; "
        "assert of('en').ends('there', '.', 'How') and not [name for name in sys.modules if 'nltk' in name]; "
        "os.environ['HOME'] = '/'; import nltk; assert nltk.FreqDist('aab')['a'] == 2"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_nltk_may_have_been_imported_before() -> None:
    """Then its own module is used."""
    code = (
        "import sys, nltk.tokenize.punkt as whole; from streamer.text.splitting import punkt; "
        "sys.exit(punkt._punkt is not whole)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
