"""The pipeline alone, without a server: text in, events in the order of the sound, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from fakes.synthesizer import FakeSynthesizer

from streamer.errors import ConfigError, EngineError
from streamer.pipeline import prepare, speak
from streamer.speech import (
    AudioPacket,
    Flushed,
    SentenceEnded,
    SentenceStarted,
    SpeechEnded,
    SpeechEvent,
    SpeechSettings,
    TextFeed,
    WordTimes,
)
from streamer.synthesis import ModelInfo, SamplingParams

TEXT = "Hello there. How are you today? I am well."


def _settings(**changes: object) -> SpeechSettings:
    return SpeechSettings(
        **{"voice": "tone", "params": SamplingParams(seed=1), "encoding": "pcm_s16le"} | changes
    )  # type: ignore[arg-type]


async def _events(
    text: str, synthesizer: FakeSynthesizer | None = None, settings: SpeechSettings | None = None
) -> list[SpeechEvent]:
    feed = TextFeed(text)
    return [event async for event in speak(feed, synthesizer or FakeSynthesizer(), settings or _settings())]


async def test_events_come_in_the_order_of_the_sound() -> None:
    """Each sentence: its start, its packets, its words, its end; `SpeechEnded` closes the utterance."""
    synthesizer = FakeSynthesizer()
    events = await _events(TEXT, synthesizer)
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
        events = await _events(TEXT, settings=_settings(encoding=encoding))
        packets = [event for event in events if isinstance(event, AudioPacket)]
        assert all(a.timestamp + a.duration == b.timestamp for a, b in pairwise(packets))
        ended = events[-1]
        assert isinstance(ended, SpeechEnded)
        assert sum(packet.is_first for packet in packets) == ended.num_sentences
        assert [packet.is_last for packet in packets] == [False] * (len(packets) - 1) + [True]
        end_ms = (packets[-1].timestamp + packets[-1].duration) / 48
        assert ended.audio_ms - 1 <= end_ms <= ended.audio_ms + 40


async def test_a_sentence_is_made_of_what_the_synthesizer_made() -> None:
    """The packed samples are the tone, in full length."""
    packets = [event for event in await _events("One tone.") if isinstance(event, AudioPacket)]
    samples = np.frombuffer(b"".join(packet.payload for packet in packets), "<i2") / 32767
    loud = np.flatnonzero(np.abs(samples) > 0.2)
    assert 0.25 < np.abs(samples).max() < 0.35
    assert (loud[-1] - loud[0]) / 24_000 == pytest.approx(len("One tone.") * 0.02, abs=0.05)


async def test_the_next_sentence_is_made_while_one_is_heard() -> None:
    """At most a few sentences ahead are requested, and at least one."""
    synthesizer = FakeSynthesizer()
    text = " ".join(f"This is the sentence with number {number}." for number in range(12))
    most_ahead, least_ahead = 0, 99
    started = 0
    async for event in speak(TextFeed(text), synthesizer, _settings()):
        started += isinstance(event, SentenceStarted)
        if isinstance(event, AudioPacket) and 2 < started < 8:
            await asyncio.sleep(0.001)
            ahead = len(synthesizer.requests) - started
            most_ahead, least_ahead = max(most_ahead, ahead), min(least_ahead, ahead)
    assert least_ahead >= 1 and most_ahead <= 2


async def test_text_is_spoken_while_it_is_written() -> None:
    """The first sentence sounds before the feed has ended, a flush is answered in its place."""
    feed = TextFeed()
    async with contextlib.aclosing(speak(feed, FakeSynthesizer(), _settings(max_buffer_ms=None))) as events:
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
        async with contextlib.aclosing(speak(TextFeed(TEXT), synthesizer, _settings())) as events:
            for _ in range(num_events):
                await anext(events)
        assert synthesizer.num_open == 0


async def test_a_failed_sentence_raises_and_leaves_nothing_open() -> None:
    """What the synthesizer raises is raised, after the sound before it."""
    synthesizer = FakeSynthesizer()
    synthesizer.fail_on["How"] = EngineError("no")
    seen: list[SpeechEvent] = []
    with pytest.raises(EngineError):
        async for event in speak(TextFeed(TEXT), synthesizer, _settings()):
            seen.append(event)
    assert any(isinstance(event, SentenceEnded) for event in seen) and synthesizer.num_open == 0


async def test_the_longest_sound_ends_an_utterance() -> None:
    """More than `max_audio_s` is cut and told."""
    ended = (await _events(TEXT * 9, settings=_settings(max_audio_s=0.5)))[-1]
    assert isinstance(ended, SpeechEnded) and ended.truncated and ended.audio_ms < 1500


async def test_the_longest_sound_ends_it_though_the_writer_goes_on() -> None:
    """The end does not wait for text that could not be spoken, and the sentence broken off is given up."""
    feed, synthesizer = TextFeed(), FakeSynthesizer(speed=20.0)
    feed.append("A sentence that is much longer than all that may be said. ")
    feed.flush()
    async with asyncio.timeout(5):
        events = [event async for event in speak(feed, synthesizer, _settings(max_audio_s=0.3))]
    assert isinstance(events[-1], SpeechEnded) and events[-1].truncated
    assert [event.is_last for event in events if isinstance(event, AudioPacket)].count(True) == 1
    assert synthesizer.num_open == 0 and synthesizer.num_cancelled == 1


async def test_a_flush_behind_the_longest_sound_is_answered() -> None:
    """All before it has been sent: nothing was cut."""
    feed = TextFeed()
    feed.append("Just as long.")
    feed.flush("mark")
    feed.end()
    events = [event async for event in speak(feed, FakeSynthesizer(), _settings(max_audio_s=0.26))]
    assert Flushed("mark") in events
    assert isinstance(events[-1], SpeechEnded) and not events[-1].truncated


async def test_words_share_the_time_of_their_sentence() -> None:
    """Every word has its place in the text and a time within its sentence, in order."""
    events = await _events("Hello my dear friend.")
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
    events = await _events(text, settings=_settings(max_audio_s=0.3))
    words = next(event for event in events if isinstance(event, WordTimes)).words
    end = next(event for event in events if isinstance(event, SentenceEnded))
    assert 0 < len(words) < len(text.split()) and words[-1].end_ms <= end.end_ms


async def test_words_are_expected_while_their_sound_is_made() -> None:
    """Whoever asks in mid-sentence learns of all words, those to come included."""
    async with contextlib.aclosing(
        speak(TextFeed("Hello my friend."), FakeSynthesizer(), _settings())
    ) as events:
        started = await anext(events)
        assert isinstance(started, SentenceStarted)
        before = started.expected_words()
        packets = [await anext(events) for _ in range(12)]
        assert all(isinstance(packet, AudioPacket) for packet in packets)
        now = started.expected_words()
    assert [word.text for word in before] == [word.text for word in now] == ["Hello", "my", "friend."]
    assert now[0].start_ms == 0 and now[-1].end_ms >= 12 * 20


async def test_a_pausing_writer_hears_every_word() -> None:
    """The last word, which nothing follows, is spoken after a longer pause, and the utterance goes on."""
    feed, spoken = TextFeed(), []
    feed.append("Let me check")
    async with contextlib.aclosing(speak(feed, FakeSynthesizer(), _settings(max_buffer_ms=20))) as events:
        async for event in events:
            if isinstance(event, SentenceStarted):
                spoken.append(event.text)
                if spoken == ["Let me", "check"]:
                    feed.append(" it for you.")
                    feed.end()
    assert spoken == ["Let me", "check", "it for you."]


def test_a_model_of_another_rate_is_refused_beforehand() -> None:
    """Its sound would be played too fast or too slowly."""

    class Fast(FakeSynthesizer):
        @property
        def info(self) -> ModelInfo:
            return replace(super().info, sample_rate_hz=48_000)

    prepare(FakeSynthesizer())
    with pytest.raises(ConfigError, match="48000"):
        prepare(Fast())
