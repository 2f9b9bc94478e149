"""The pipeline alone, without a server: text in, events in the order of the sound, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import tracemalloc
from collections.abc import AsyncGenerator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from streamer.audio.formats import AudioFormat
from streamer.audio.packets import Packet, create_encoder
from streamer.errors import ConfigError, EngineError
from streamer.sampling import SamplingParams
from streamer.speech.events import (
    Flushed,
    SentenceEnded,
    SentenceStarted,
    SpeechEnded,
    SpeechEvent,
    SpeechWarning,
    WordTimes,
)
from streamer.speech.pipeline import prepare, speak
from streamer.speech.sentence_stream import retry_seed
from streamer.speech.settings import SpeechSettings
from streamer.speech.text_feed import TextFeed
from streamer.synthesis import ModelInfo
from tests.fakes.synthesizer import FakeSynthesizer

TEXT = "Hello there. How are you today? I am well."


def _settings(**changes: object) -> SpeechSettings:
    return SpeechSettings(**{"voice": "tone", "params": SamplingParams(seed=1)} | changes)  # type: ignore[arg-type]


def _speak(
    feed: TextFeed, synthesizer: FakeSynthesizer, settings: SpeechSettings, encoding: str = "pcm_f32le"
) -> AsyncGenerator[SpeechEvent, None]:
    return speak(feed, synthesizer, settings, create_encoder(AudioFormat(encoding)), "u")


async def _events(
    text: str,
    synthesizer: FakeSynthesizer | None = None,
    settings: SpeechSettings | None = None,
    encoding: str = "pcm_f32le",
) -> list[SpeechEvent]:
    events = _speak(TextFeed(text), synthesizer or FakeSynthesizer(), settings or _settings(), encoding)
    return [event async for event in events]


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
        events = await _events(TEXT, encoding=encoding)
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
    packets = [event for event in await _events("One tone.") if isinstance(event, Packet)]
    samples = np.frombuffer(b"".join(packet.payload for packet in packets), "<f4")
    loud = np.flatnonzero(np.abs(samples) > 0.2)
    assert 0.25 < np.abs(samples).max() < 0.35
    assert (loud[-1] - loud[0]) / 24_000 == pytest.approx(len("One tone.") * 0.02, abs=0.05)


async def test_the_next_sentence_is_made_while_one_is_heard() -> None:
    """At most a few sentences ahead are requested, and at least one."""
    synthesizer = FakeSynthesizer()
    text = " ".join(f"This is the sentence with number {number}." for number in range(12))
    most_ahead, least_ahead = 0, 99
    started = 0
    async for event in _speak(TextFeed(text), synthesizer, _settings()):
        started += isinstance(event, SentenceStarted)
        if isinstance(event, Packet) and 2 < started < 8:
            await asyncio.sleep(0.001)
            ahead = len(synthesizer.requests) - started
            most_ahead, least_ahead = max(most_ahead, ahead), min(least_ahead, ahead)
    assert least_ahead >= 1 and most_ahead <= 2


async def test_text_is_spoken_while_it_is_written() -> None:
    """The first sentence sounds before the feed has ended, a flush is answered in its place."""
    feed = TextFeed()
    async with contextlib.aclosing(_speak(feed, FakeSynthesizer(), _settings(max_buffer_ms=None))) as events:
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
        async with contextlib.aclosing(_speak(TextFeed(TEXT), synthesizer, _settings())) as events:
            for _ in range(num_events):
                await anext(events)
        assert synthesizer.num_open == 0


async def test_a_failed_sentence_raises_and_leaves_nothing_open() -> None:
    """What the synthesizer raises is raised, after the sound before it."""
    synthesizer = FakeSynthesizer()
    synthesizer.fail_on["How"] = EngineError("no")
    seen: list[SpeechEvent] = []
    with pytest.raises(EngineError):
        async for event in _speak(TextFeed(TEXT), synthesizer, _settings()):
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
        events = [event async for event in _speak(feed, synthesizer, _settings(max_audio_s=0.3))]
    assert isinstance(events[-1], SpeechEnded) and events[-1].truncated
    assert [event.is_last for event in events if isinstance(event, Packet)].count(True) == 1
    assert synthesizer.num_open == 0 and synthesizer.num_cancelled == 1


async def test_a_flush_behind_the_longest_sound_is_answered() -> None:
    """All before it has been sent: nothing was cut."""
    feed = TextFeed()
    feed.append("Just as long.")
    feed.flush("mark")
    feed.end()
    events = [event async for event in _speak(feed, FakeSynthesizer(), _settings(max_audio_s=0.26))]
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
        _speak(TextFeed("Hello my friend."), FakeSynthesizer(), _settings())
    ) as events:
        started = await anext(events)
        assert isinstance(started, SentenceStarted)
        before = started.expected_words()
        packets = [await anext(events) for _ in range(12)]
        assert all(isinstance(packet, Packet) for packet in packets)
        now = started.expected_words()
    assert [word.text for word in before] == [word.text for word in now] == ["Hello", "my", "friend."]
    assert now[0].start_ms == 0 and now[-1].end_ms >= 12 * 20


async def test_a_pausing_writer_hears_every_word() -> None:
    """The last word, which nothing follows, is spoken after a longer pause, and the utterance goes on."""
    feed, spoken = TextFeed(), []
    feed.append("Let me check")
    async with contextlib.aclosing(_speak(feed, FakeSynthesizer(), _settings(max_buffer_ms=20))) as events:
        async for event in events:
            if isinstance(event, SentenceStarted):
                spoken.append(event.text)
                if spoken == ["Let me", "check"]:
                    feed.append(" it for you.")
                    feed.end()
    assert spoken == ["Let me", "check", "it for you."]


@pytest.mark.parametrize(
    ("before", "after", "spoken"),
    [
        ("The tea costs $3", ".50 today.", ["The tea costs", "$3.50 today."]),
        ("It begins at 3", ":30 sharp.", ["It begins at", "3:30 sharp."]),
        ("There were 1", ",000 guests.", ["There were", "1,000 guests."]),
        ("We owe them €", "5 in all.", ["We owe them", "€5 in all."]),
        ("They owe us $3 ", "million in all.", ["They owe us", "$3 million in all."]),
    ],
)
async def test_a_writer_who_pauses_in_a_number_hears_it_whole(
    before: str, after: str, spoken: list[str]
) -> None:
    """Neither the pause that ends words nor the one that ends the last word cuts a price, a time or a number."""
    feed, texts = TextFeed(), []
    feed.append(before)
    async with contextlib.aclosing(speak(feed, FakeSynthesizer(), _settings(max_buffer_ms=100))) as events:
        async for event in events:
            if isinstance(event, SentenceStarted):
                texts.append(event.text)
                if len(texts) == 1:
                    await asyncio.sleep(0.5)  # more than four of the pauses, less than fourteen
                    feed.append(after)
                    feed.end()
    assert texts == spoken


async def test_a_number_at_the_end_is_spoken_at_last() -> None:
    """After the longest pause, though nothing has shown that it is whole."""
    feed, texts = TextFeed(), []
    feed.append("The answer is 42")
    async with contextlib.aclosing(speak(feed, FakeSynthesizer(), _settings(max_buffer_ms=20))) as events:
        async for event in events:
            if isinstance(event, SentenceStarted):
                texts.append(event.text)
                if len(texts) == 2:
                    feed.end()
    assert texts == ["The answer is", "42"]


def test_a_model_of_another_rate_is_refused_beforehand() -> None:
    """Its sound would be played too fast or too slowly."""

    class Fast(FakeSynthesizer):
        @property
        def info(self) -> ModelInfo:
            return replace(super().info, sample_rate_hz=48_000)

    prepare(FakeSynthesizer())
    with pytest.raises(ConfigError, match="48000"):
        prepare(Fast())


STORY = "This is the first sentence. Here comes the second one. And there is a third."


def _sound(events: list[SpeechEvent]) -> np.ndarray:
    """The samples of an utterance in `pcm_s16le`."""
    payload = b"".join(event.payload for event in events if isinstance(event, Packet))
    return np.frombuffer(payload, "<f4")


def _warnings(events: list[SpeechEvent]) -> list[tuple[str, int | None]]:
    return [(event.code, event.index) for event in events if isinstance(event, SpeechWarning)]


async def test_each_turn_has_its_voice() -> None:
    """Directives and labels choose who speaks, are not spoken, and are told with the sentence."""
    text = "Once upon a time.\nAlice: Good morning!\n[voice: tone] She said. [voice: nobody] No one came."
    synthesizer = FakeSynthesizer()
    events = await _events(text, synthesizer, _settings(speakers={"Alice": "other"}))
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
    events = await _events(text, settings=_settings(speakers={"Alice": "other"}))
    sound = _sound(events)
    loud = np.flatnonzero(np.abs(sound) > 0.01)
    longest = np.diff(loud).max() / 24_000
    assert longest == pytest.approx(pause_s, abs=0.012)
    # The steepest tone of the fake rises by 0.3 * 2 pi * 440 Hz a second.
    assert (
        np.abs(np.diff(np.concatenate([[0.0], sound, [0.0]]))).max() < 0.3 * 2 * np.pi * 440 / 24_000 * 1.05
    )


@pytest.mark.parametrize("continuity", ["preset", "chain", "preset+chain"])
async def test_a_chain_goes_on_from_the_voices_last_sentence(continuity: str) -> None:
    """Each voice from its own last sentence, and only in a chain; whether the preset stays is for the synthesizer."""
    text = f"{STORY} [voice: other] Now I speak alone. [voice: tone] And me again."
    synthesizer = FakeSynthesizer(speed=50.0)
    events = await _events(text, synthesizer, _settings(continuity=continuity))
    assert isinstance(events[-1], SpeechEnded) and not events[-1].truncated
    requests = sorted(synthesizer.requests, key=lambda request: request.sentence_index)
    histories = [request.history and int(request.history.semantic[0]) for request in requests]
    assert histories == ([None, 0, 1, None, 2] if continuity != "preset" else [None] * 5)
    assert {request.keeps_voice for request in synthesizer.requests} == {continuity == "preset+chain"}


@pytest.mark.parametrize("heard_every_s", [0.0, 0.001, 0.003])
async def test_in_a_chain_a_sentence_waits_for_the_one_before_alone(heard_every_s: float) -> None:
    """Never two at once, and yet one is made while the one before is heard, however slowly."""
    synthesizer = FakeSynthesizer()
    is_ahead = False
    async with contextlib.aclosing(
        _speak(TextFeed(STORY), synthesizer, _settings(continuity="chain"))
    ) as events:
        started = 0
        async for event in events:
            started += isinstance(event, SentenceStarted)
            assert synthesizer.num_open <= 1
            await asyncio.sleep(heard_every_s)
            is_ahead |= len(synthesizer.requests) > started > 0
    assert is_ahead


async def test_closing_cancels_a_chain() -> None:
    """Also the sentences that still wait for the one before."""
    for num_events in (0, 1, 3, 10):
        synthesizer = FakeSynthesizer(speed=20.0)
        settings = _settings(continuity="chain")
        async with contextlib.aclosing(_speak(TextFeed(STORY), synthesizer, settings)) as events:
            for _ in range(num_events):
                await anext(events)
        assert synthesizer.num_open == 0


async def _events_with_a_late_second(synthesizer: FakeSynthesizer, **changes: object) -> list[SpeechEvent]:
    """As a listener takes them who hears the first sentence while the second is made."""
    events: list[SpeechEvent] = []
    async for event in _speak(TextFeed(STORY), synthesizer, _settings(**changes)):
        events.append(event)
        await asyncio.sleep(0.002 if isinstance(event, Packet) else 0)
    return events


async def test_a_runaway_sentence_that_nobody_has_heard_is_made_again() -> None:
    """With a seed that the first one determines, told before the sentence; the first attempt is not heard."""
    synthesizer = FakeSynthesizer()
    synthesizer.truncate_on, synthesizer.recovers = "second", True
    events = await _events_with_a_late_second(synthesizer, continuity="chain")
    attempts = [request for request in synthesizer.requests if "second" in request.text]
    assert [request.params.seed for request in attempts] == [1, retry_seed(1, 1)]
    assert retry_seed(1, 1) not in (1, retry_seed(2, 1), retry_seed(1, 2))
    warning = next(event for event in events if isinstance(event, SpeechWarning))
    assert (warning.code, warning.index, warning.seed) == ("sentence_retried", 1, retry_seed(1, 1))
    place = events.index(warning)
    assert isinstance(started := events[place + 1], SentenceStarted) and started.index == 1
    assert isinstance(events[-1], SpeechEnded) and not events[-1].truncated
    plain = await _events(STORY)
    assert len(_sound(events)) == len(_sound(plain))
    third = next(request for request in synthesizer.requests if "third" in request.text)
    assert third.history is not None and third.history.semantic.tolist() == [1, retry_seed(1, 1)]


async def test_a_sentence_is_made_again_only_once() -> None:
    """What runs away twice is heard, faded out where it is cut, and told; nothing goes on from it."""
    synthesizer = FakeSynthesizer()
    synthesizer.truncate_on = "second"
    events = await _events_with_a_late_second(synthesizer, continuity="chain")
    assert _warnings(events) == [("sentence_retried", 1), ("sentence_cut", 1)]
    assert isinstance(events[-1], SpeechEnded) and events[-1].truncated
    third = next(request for request in synthesizer.requests if "third" in request.text)
    assert third.history is not None and third.history.semantic.tolist() == [0, 1]


async def test_a_runaway_sentence_that_is_being_heard_is_faded_out() -> None:
    """It is not made again: it goes down within its last moments, without a jump."""
    synthesizer = FakeSynthesizer()
    synthesizer.truncate_on = "first"
    events = await _events(STORY, synthesizer)
    assert _warnings(events) == [("sentence_cut", 0)] and len(synthesizer.requests) == 3
    end = next(event for event in events if isinstance(event, SentenceEnded)).end_ms
    last = np.abs(_sound(events)[(end - 120) * 24 : end * 24].reshape(-1, 480)).max(axis=1)  # each 20 ms
    assert last[0] > 0.29 and all(a > b for a, b in pairwise(last[2:])) and last[-1] < 0.1


async def test_a_length_that_was_asked_for_is_no_reason_to_try_again() -> None:
    """`max_gen_duration_s` cuts on purpose."""
    synthesizer = FakeSynthesizer()
    synthesizer.truncate_on = "second"
    params = SamplingParams(seed=1, max_gen_duration_s=0.3)
    assert _warnings(await _events_with_a_late_second(synthesizer, params=params)) == [("sentence_cut", 1)]


@pytest.mark.slow
async def test_a_text_of_5000_words_streams_at_steady_memory() -> None:
    """Whatever its length, so many sentences are in the making, and so much is kept."""
    sentence = "Here are ten words of a text that goes on. "
    feed, synthesizer = TextFeed(sentence * 500), FakeSynthesizer(ms_per_char=60.0)
    sizes_kb: list[float] = []
    most_open = started = 0
    tracemalloc.start()
    try:
        async for event in _speak(feed, synthesizer, _settings(max_audio_s=1e9), "opus"):
            if isinstance(event, SentenceStarted):
                started += 1
                assert len(synthesizer.requests) - started <= 2
                synthesizer.requests[:-8] = [synthesizer.requests[0]] * (len(synthesizer.requests) - 8)
                sizes_kb.append(tracemalloc.get_traced_memory()[0] / 1024)
            most_open = max(most_open, synthesizer.num_open)
    finally:
        tracemalloc.stop()
    assert isinstance(event, SpeechEnded) and event.num_sentences == 500 and not event.truncated
    assert event.audio_ms > 500 * 42 * 60 and most_open <= 3
    assert max(sizes_kb[250:]) < max(sizes_kb[50:250]) + 200


@pytest.mark.parametrize("num_turns", range(6))
async def test_a_second_cancellation_in_the_closing_leaves_nothing_open(num_turns: int) -> None:
    """Whoever is cancelled while he cancels has let go of every sentence all the same."""
    synthesizer = FakeSynthesizer(speed=0.5)
    text = "One sentence here. And another one there. A third one follows. The fourth is the last."

    async def listen() -> None:
        async with contextlib.aclosing(_speak(TextFeed(text), synthesizer, _settings())) as events:
            async for _ in events:
                pass

    speaking = asyncio.create_task(listen())
    await asyncio.sleep(0.05)
    assert synthesizer.num_open > 1
    for _ in range(2):
        speaking.cancel()
        for _ in range(num_turns):
            await asyncio.sleep(0)
    await asyncio.gather(speaking, return_exceptions=True)
    for _ in range(20):
        await asyncio.sleep(0)
    assert synthesizer.num_open == 0
