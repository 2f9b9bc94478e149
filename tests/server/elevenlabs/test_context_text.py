"""A message's end is no end of a word, unless it shows; what is spoken at once is what the client asked for."""

from __future__ import annotations

import pytest

from streamer.server.elevenlabs.context_text import ContextText
from streamer.speech.text_feed import TextFlush

MANY: tuple[float, ...] = (10_000,)


def written(text: ContextText, *messages: str) -> str:
    """What is written of these messages; `|` stands for a flush."""
    pieces = [piece for message in messages for piece in text.append(message)]
    return "".join("|" if isinstance(piece, TextFlush) else str(piece) for piece in pieces)


@pytest.mark.parametrize(
    "messages",
    [
        ("Hello there.", "How are you?"),
        ("Wait!", "What?", "No."),
        ("Go to example.com.", "Then sign in."),
        ("Yes, I do.", "iPhones sell."),
        ("It is over.", "5 dollars are left."),
        ("He left.", '"Why?" she asked.'),
    ],
)
@pytest.mark.parametrize("is_auto", [True, False])
def test_sentences_in_messages_are_parted(messages: tuple[str, ...], is_auto: bool) -> None:
    """Clients that send whole sentences leave out the space between them."""
    assert written(ContextText(MANY, is_auto=is_auto), *messages).replace("|", "") == " ".join(messages)


@pytest.mark.parametrize(
    "messages",
    [
        ("It costs 5.", "5 dollars."),
        ("192.168.", "0.", "1 is an address."),
        ("U.", "S.", " citizens"),
        ("example.", "com"),
        ("Hello.", " How are you?"),
        ("Hello. ", "How are you?"),
        ("Hello.", " ", "How are you?"),
        ("He said so.", '"'),
        ("un", "believ", "able"),
        ("你好。", "世界。"),
    ],
)
@pytest.mark.parametrize("is_auto", [True, False])
def test_words_and_numbers_in_messages_are_not_parted(messages: tuple[str, ...], is_auto: bool) -> None:
    """Language models cut their text anywhere, behind a stop too."""
    assert written(ContextText(MANY, is_auto=is_auto), *messages).replace("|", "") == "".join(messages)


def test_a_blank_opens_and_keeps_alive_and_is_not_text() -> None:
    """It is written only where it separates words, and never twice."""
    text = ContextText(MANY, is_auto=False)
    assert written(text, " ", "", "  ") == "" and not text.has_unflushed
    assert written(text, "Hello", " ", " ", "", "world", " ") == "Hello world "


def test_a_flush_is_written_once_for_a_text() -> None:
    """Without new text there is nothing to flush, so that flushes never pile up."""
    text = ContextText(None, is_auto=False)
    assert [*text.append("", flushes=True)] == []
    assert [*text.append("Hello", flushes=True)] == ["Hello", TextFlush()]
    assert [*text.append("", flushes=True), *text.append(" ", flushes=True)] == [" ", TextFlush()]
    assert [*text.append("", flushes=True)] == []


def test_what_was_not_flushed_is_known() -> None:
    """By it a close means to finish, or to stop; what is spoken by itself is not flushed by the client."""
    text = ContextText(None, is_auto=True)
    assert written(text, "Hello there.") == "Hello there.|" and text.has_unflushed
    assert [*text.append("", flushes=True)] == [] and not text.has_unflushed
    assert [*text.append("More. ", flushes=True)] and not text.has_unflushed
    assert written(text, " ", "") == "" and not text.has_unflushed


def test_in_auto_mode_a_message_that_ends_a_sentence_is_spoken_at_once() -> None:
    """Others wait for what follows, and a number may continue behind its point."""
    for message in ("Hello.", "Hello. ", 'She said: "Go!" ', "Why?", "Well…", "你好。", "(Really.)"):
        assert written(ContextText(None, is_auto=True), message) == f"{message}|"
    for message in ("Hello", "Let me check ", "Hello, ", "It costs 5.", "5.", "and"):
        assert written(ContextText(None, is_auto=True), message) == message


def test_the_schedule_says_how_much_unfinished_text_waits() -> None:
    """It is spoken up to the end of a clause; the next number counts each time, and the last one repeats."""
    text = ContextText([10, 20], is_auto=False)
    assert written(text, "Ten chars, ") == "Ten chars, |"
    assert written(text, "ten more, ", "and ten, ") == "ten more, and ten, "
    assert written(text, "now: ") == "now: |"
    assert written(text, "It is a sentence. And ", "another, ") == "It is a sentence. And another, "
    assert written(text, "word " * 20) == "word " * 20  # no clause has ended
    assert written(text, "end; ") == "end; |"


def test_a_trigger_needs_fewer_characters() -> None:
    """A client that asks at every word is not spoken to in words."""
    text = ContextText(None, is_auto=False)
    assert [*text.append("Short, ", triggers=True)] == ["Short, "]
    assert [*text.append("word " * 9 + "word, ", triggers=True)][-1] == TextFlush()
    text = ContextText([20], is_auto=False)
    assert [*text.append("Twenty characters, yes, ", triggers=True)][-1] == TextFlush()
    assert written(ContextText(None, is_auto=False), "word " * 9 + "word, ").endswith(" ")
