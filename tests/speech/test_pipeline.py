"""The pipeline alone, without a server: text in, events in the order of the sound, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from streamer.audio.packets import Packet
from streamer.errors import ConfigError, EngineError
from streamer.speech.events import (
    Flushed,
    SentenceEnded,
    SentenceStarted,
    SpeechEnded,
    SpeechEvent,
    SpeechWarning,
    WordTimes,
)
from streamer.speech.pipeline import prepare
from streamer.speech.text_feed import TextFeed
from streamer.synthesis import ModelInfo
from tests.fakes.synthesizer import FakeSynthesizer
from tests.speech.utterances import TEXT, events_of, settings_with, sound_of, speaking


async def test_events_come_in_the_order_of_the_sound() -> None:
    """Each sentence: its start, its packets, its words, its end; `SpeechEnded` closes the utterance."""
    synthesizer = FakeSynthesizer()
    events = await events_of(TEXT, synthesizer)
    ended = events[-1]
    assert isinstance(ended, SpeechEnded) and not ended.truncated
    starts = [event for event in events if isinstance(event, SentenceStarted)]
    ends = [event for event in events if isinstance(event, SentenceEnded)]
    assert (
        [event.index for event in starts]
        == [event.index for event in ends]
        == list(range(ended.num_sentences))
    )
    assert [TEXT[event.char_start : event.char_end] for event in starts] == [event.text for event in starts]
    assert [request.sentence_index for request in synthesizer.requests] == list(range(ended.num_sentences))
    assert len({request.request_id for request in synthesizer.requests}) == ended.num_sentences
    assert starts[0].start_ms == 0 and all(
        a.end_ms <= b.start_ms for a, b in zip(ends, starts[1:], strict=False)
    )


async def test_packets_cover_the_sound_without_gap() -> None:
    """Each packet begins where the last ended; the first of each sentence and the very last are marked."""
    for encoding in ("opus", "pcm_s16le"):
        events = await events_of(TEXT, encoding=encoding)
        packets = [event for event in events if isinstance(event, Packet)]
        assert all(a.timestamp + a.duration == b.timestamp for a, b in pairwise(packets))
        ended = events[-1]
        assert isinstance(ended, SpeechEnded)
        assert sum(packet.is_first for packet in packets) == ended.num_sentences
        assert [packet.is_last for packet in packets] == [False] * (len(packets) - 1) + [True]
        end_ms = (packets[-1].timestamp + packets[-1].duration) / 48
        assert ended.audio_ms - 1 <= end_ms <= ended.audio_ms + 40


async def test_a_sentence_is_made_of_what_the_synthesizer_made() -> None:
    """The packed samples are the tone, in full length."""
    packets = [event for event in await events_of("One tone.") if isinstance(event, Packet)]
    samples = np.frombuffer(b"".join(packet.payload for packet in packets), "<f4")
    loud = np.flatnonzero(np.abs(samples) > 0.2)
    assert 0.25 < np.abs(samples).max() < 0.35
    assert (loud[-1] - loud[0]) / 24_000 == pytest.approx(len("One tone.") * 0.02, abs=0.05)


async def test_text_is_spoken_while_it_is_written() -> None:
    """The first sentence sounds before the feed has ended, a flush is answered in its place."""
    feed = TextFeed()
    async with contextlib.aclosing(
        speaking(feed, FakeSynthesizer(), settings_with(max_buffer_ms=None))
    ) as events:
        feed.append("The first one is here. And the second")
        event = await anext(events)
        assert isinstance(event, SentenceStarted) and event.text.startswith("The first")
        feed.flush("mark")
        async for event in events:
            if isinstance(event, Flushed):
                break
        assert isinstance(event, Flushed) and event.ref == "mark"
        feed.end()
        assert isinstance([event async for event in events][-1], SpeechEnded)


async def test_closing_cancels_what_is_being_made() -> None:
    """No sentence stays open in the synthesizer, in whatever state the iterator was left."""
    for num_events in (0, 1, 3, 10):
        synthesizer = FakeSynthesizer(speed=20.0)
        async with contextlib.aclosing(speaking(TextFeed(TEXT), synthesizer, settings_with())) as events:
            for _ in range(num_events):
                await anext(events)
        assert synthesizer.num_open == 0


async def test_a_failed_sentence_raises_and_leaves_nothing_open() -> None:
    """What the synthesizer raises is raised, after the sound before it."""
    synthesizer = FakeSynthesizer()
    synthesizer.fail_on["How"] = EngineError("no")
    seen: list[SpeechEvent] = []
    with pytest.raises(EngineError):
        async for event in speaking(TextFeed(TEXT), synthesizer, settings_with()):
            seen.append(event)
    assert any(isinstance(event, SentenceEnded) for event in seen) and synthesizer.num_open == 0


async def test_the_longest_sound_ends_an_utterance() -> None:
    """More than `max_audio_s` is cut and told."""
    ended = (await events_of(TEXT * 9, settings=settings_with(max_audio_s=0.5)))[-1]
    assert isinstance(ended, SpeechEnded) and ended.truncated and ended.audio_ms < 1500


async def test_the_longest_sound_ends_it_though_the_writer_continues() -> None:
    """The end does not wait for text that could not be spoken, and the sentence broken off is given up."""
    feed, synthesizer = TextFeed(), FakeSynthesizer(speed=20.0)
    feed.append("A sentence that is much longer than all that may be said. ")
    feed.flush()
    async with asyncio.timeout(30):
        events = [event async for event in speaking(feed, synthesizer, settings_with(max_audio_s=0.3))]
    assert isinstance(events[-1], SpeechEnded) and events[-1].truncated
    assert [event.is_last for event in events if isinstance(event, Packet)].count(True) == 1
    assert synthesizer.num_open == 0 and synthesizer.num_cancelled == 1


async def test_a_flush_behind_the_longest_sound_is_answered() -> None:
    """All before it has been sent: nothing was cut."""
    feed = TextFeed()
    feed.append("Just as long.")
    feed.flush("mark")
    feed.end()
    events = [event async for event in speaking(feed, FakeSynthesizer(), settings_with(max_audio_s=0.26))]
    assert Flushed("mark") in events
    assert isinstance(events[-1], SpeechEnded) and not events[-1].truncated


async def test_words_share_the_time_of_their_sentence() -> None:
    """Every word has its place in the text and a time within its sentence, in order."""
    events = await events_of("Hello my dear friend.")
    words = next(event for event in events if isinstance(event, WordTimes)).words
    end = next(event for event in events if isinstance(event, SentenceEnded))
    assert [word.text for word in words] == ["Hello", "my", "dear", "friend."]
    assert ["Hello my dear friend."[word.char_start : word.char_end] for word in words] == [
        w.text for w in words
    ]
    times = [time for word in words for time in (word.start_ms, word.end_ms)]
    assert times == sorted(times) and times[-1] <= end.end_ms


async def test_the_words_of_a_cut_sentence_are_those_begun() -> None:
    """What was not spoken is not told as spoken."""
    text = "A sentence that is much longer than all that may be said."
    events = await events_of(text, settings=settings_with(max_audio_s=0.3))
    words = next(event for event in events if isinstance(event, WordTimes)).words
    end = next(event for event in events if isinstance(event, SentenceEnded))
    assert 0 < len(words) < len(text.split()) and words[-1].end_ms <= end.end_ms


async def test_words_are_expected_while_their_sound_is_made() -> None:
    """In mid-sentence all words can be had, including those to come."""
    async with contextlib.aclosing(
        speaking(TextFeed("Hello my friend."), FakeSynthesizer(), settings_with())
    ) as events:
        started = await anext(events)
        assert isinstance(started, SentenceStarted)
        before = started.expected_words()
        packets = [await anext(events) for _ in range(12)]
        assert all(isinstance(packet, Packet) for packet in packets)
        now = started.expected_words()
    assert [word.text for word in before] == [word.text for word in now] == ["Hello", "my", "friend."]
    assert now[0].start_ms == 0 and now[-1].end_ms >= 12 * 20


def test_a_model_of_another_rate_is_refused_beforehand() -> None:
    """Its sound would be played too fast or too slowly."""

    class Fast(FakeSynthesizer):
        @property
        def info(self) -> ModelInfo:
            return replace(super().info, sample_rate_hz=48_000)

    prepare(FakeSynthesizer())
    with pytest.raises(ConfigError, match="48000"):
        prepare(Fast())


async def test_each_turn_has_its_voice() -> None:
    """Directives and labels choose who speaks, are not spoken, and are told with the sentence."""
    text = "Once upon a time.\nAlice: Good morning!\n[voice: tone] She said. [voice: nobody] No one came."
    synthesizer = FakeSynthesizer()
    events = await events_of(text, synthesizer, settings_with(speakers={"Alice": "other"}))
    starts = [event for event in events if isinstance(event, SentenceStarted)]
    voices = ["tone", "other", "tone", "tone"]
    assert [event.voice for event in starts] == [request.voice for request in synthesizer.requests] == voices
    assert [text[event.char_start : event.char_end] for event in starts] == [event.text for event in starts]
    assert starts[1].text == "Good morning!"
    warning = next(event for event in events if isinstance(event, SpeechWarning))
    assert (warning.code, warning.param) == ("voice_not_found", "nobody")


@pytest.mark.parametrize(
    ("text", "pause_s"),
    [
        ("Here is one sentence. Here is another.", 0.25),
        ("Here is a clause that is long enough to cut; here is more.", 0.15),
        ("Here is a part that is long enough to cut, here is more.", 0.1),
        ("Here is one paragraph.\n\nHere is another.", 0.5),
        ("Here is one turn.\nAlice: Here is another.", 0.5),
    ],
)
async def test_pauses_in_the_sound_follow_the_text(text: str, pause_s: float) -> None:
    """Measured between the tones of two sentences, and no jump at either end of the silence."""
    events = await events_of(text, settings=settings_with(speakers={"Alice": "other"}))
    sound = sound_of(events)
    loud = np.flatnonzero(np.abs(sound) > 0.01)
    longest = np.diff(loud).max() / 24_000
    assert longest == pytest.approx(pause_s, abs=0.012)
    # The steepest tone of the fake rises by 0.3 * 2 pi * 440 Hz a second.
    assert (
        np.abs(np.diff(np.concatenate([[0.0], sound, [0.0]]))).max() < 0.3 * 2 * np.pi * 440 / 24_000 * 1.05
    )
