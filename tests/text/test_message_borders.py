"""Sentences in messages of their own are parted; pieces of words and numbers stay together."""

from __future__ import annotations

import pytest

from streamer.text.message_borders import parted
from streamer.text.splitting.sentences import SentenceSplitter


@pytest.mark.parametrize(
    ("before", "text"),
    [
        ("Hello there.", "How are you?"),
        ("hello there.", "how are you?"),
        ("Wait!", "What?"),
        ("It costs 5.", "They pay."),
        ("Is it 5?", "5 it is."),
        ('I saw "it."', "Then I left."),
        ("One two…", "three four."),
        ("Hi.", '"Yes."'),
        ("No.", "¿Qué?"),
        ("It is plan A.", "Then I left."),
        ("Hi!", "how are you?"),
    ],
)
def test_a_message_that_ends_a_sentence_is_parted_from_the_next(before: str, text: str) -> None:
    """By a space."""
    assert parted(before, text) == " " + text


@pytest.mark.parametrize(
    "messages", [("Hello there friends.", "how are you all today?"), ("It costs 5.", "They pay.")]
)
def test_the_splitter_finds_both(messages: tuple[str, str]) -> None:
    """Without the space it would take them for one sentence."""
    found = {}
    for separator in ("", parted(*messages).removesuffix(messages[1])):
        splitter = SentenceSplitter(lambda piece: len(piece.split()), 100)
        text = separator.join(messages)
        found[separator] = [sentence.text for sentence in (*splitter.feed(text), *splitter.end())]
    assert found == {"": ["".join(messages)], " ": list(messages)}


@pytest.mark.parametrize(
    ("before", "text"),
    [
        ("It costs 5.", "5 dollars"),
        ("3.", "14"),
        ("U.", "S."),
        ("e.", "g."),
        ("in the U.", "S. of A."),
        ("Node", ".js"),
        (".", "com"),
        ("example.", "com"),
        ("Hi.", ","),
        ("Hi!", "!"),
        ("...", "And"),
        ("你好。", "我们"),
        ("Hi. ", "There."),
        ("Hi.", " There."),
        ("Hel", "lo."),
        ("", "Hello."),
        ("Hello.", ""),
    ],
)
def test_pieces_stay_together(before: str, text: str) -> None:
    """A language model's tokens may be cut anywhere, and a space that is there needs no second one."""
    assert parted(before, text) == text
