"""The feed of an utterance: how its text was cut on its way means nothing."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import pytest

from streamer.audio.formats import AudioFormat
from streamer.audio.packets import create_encoder
from streamer.sampling import SamplingParams
from streamer.speech.events import SentenceStarted, SpeechEvent
from streamer.speech.pipeline import speak
from streamer.speech.settings import SpeechSettings
from streamer.speech.text_feed import TextEnd, TextFeed, TextFlush
from tests.fakes.synthesizer import FakeSynthesizer


def settings(max_buffer_ms: int | None = None) -> SpeechSettings:
    return SpeechSettings(voice="tone", params=SamplingParams(seed=1), max_buffer_ms=max_buffer_ms)


def events_of(
    feed: TextFeed, synthesizer: FakeSynthesizer, settings: SpeechSettings
) -> AsyncGenerator[SpeechEvent, None]:
    return speak(feed, synthesizer, settings, create_encoder(AudioFormat("pcm_s16le")), "u")


async def spoken(pieces: list[str]) -> tuple[list[str], list[tuple[int, int]], int]:
    """Return what reaches the synthesizer, the places of the sentences, and the number of counted characters."""
    feed, synthesizer = TextFeed(), FakeSynthesizer()
    for piece in pieces:
        feed.append(piece)
    feed.end()
    events = [event async for event in events_of(feed, synthesizer, settings())]
    places = [(event.char_start, event.char_end) for event in events if isinstance(event, SentenceStarted)]
    return [request.text for request in synthesizer.requests], places, feed.num_chars


@pytest.mark.parametrize(
    ("pieces", "sentence", "num_chars"),
    [
        (["Cafe", "\u0301 is open."], "Caf\u00e9 is open.", 13),
        (["한국어 ", *"한", "ᄀ", "ᅳ", "ᆯ", " 입니다."], "한국어 한글 입니다.", 11),
        (["これは", "か", "\u3099", "き"], "これはがき", 5),
        (["Vie", "\u0302", "\u0323t Nam"], "Việt Nam", 8),
        (["й и", "\u0306 мой"], "й й мой", 7),
        (["a\x1c", "b\x1fc now"], "a b c now", 9),
    ],
)
async def test_letters_and_their_marks_meet(pieces: list[str], sentence: str, num_chars: int) -> None:
    """Cut between a letter and its mark or not: the same sentences, positions and counts."""
    expected = ([sentence], [(0, num_chars)], num_chars)
    assert await spoken(pieces) == expected
    assert await spoken(["".join(pieces)]) == expected
    assert await spoken(list("".join(pieces))) == expected


async def test_what_is_held_back_comes_before_a_flush_and_the_end() -> None:
    """The last letter is read in its place, and counted as soon as it was written."""
    feed = TextFeed()
    feed.append("one")
    assert (feed.text, feed.num_chars, feed.is_holding) == ("one", 3, True)
    feed.flush("mark")
    feed.append("two")
    feed.end()
    assert [await feed.next(None) for _ in range(4)] == ["one", TextFlush("mark"), "two", TextEnd()]
    assert (feed.text, feed.num_chars, feed.is_holding) == ("onetwo", 6, False)


async def test_a_pausing_writer_hears_a_word_of_one_letter() -> None:
    """A letter that is held back for its mark is spoken as any last word when nothing follows it."""
    feed, texts = TextFeed(), []
    feed.append("I")
    async with contextlib.aclosing(events_of(feed, FakeSynthesizer(), settings(max_buffer_ms=20))) as events:
        async for event in events:
            if isinstance(event, SentenceStarted):
                texts.append(event.text)
                if texts == ["I"]:
                    feed.append(" am")
                    feed.end()
    assert texts == ["I", "am"]
