"""Sentences are made ahead, in a chain one after the other, and a pausing writer is not waited for."""

from __future__ import annotations

import asyncio
import contextlib
import tracemalloc
from collections import Counter

import pytest

from streamer.audio.packets import Packet
from streamer.speech.events import (
    SentenceStarted,
    SpeechEnded,
)
from streamer.speech.lookahead import SLICE_CHARS
from streamer.speech.text_feed import Piece, TextFeed
from streamer.text.reading import TextOptions
from tests.fakes.synthesizer import FakeSynthesizer
from tests.speech.utterances import STORY, events_of, settings_with, sound_of, speaking

MAX_TURN_CHARS = 3000
"""How many characters are counted in one turn at most: those of a sentence, until the longest that fits is found."""


class _PausingFeed(TextFeed):
    """A feed whose writer pauses behind `before` as often as told, and then writes `after`; no time passes."""

    def __init__(self, before: str, after: str, *, num_pauses: int) -> None:
        super().__init__()
        self.waits_s: list[float | None] = []
        self._after = after
        self._num_pauses = num_pauses
        self.append(before)

    async def next(self, timeout_s: float | None, *, num_held_chars: int = 0) -> Piece | None:
        if not len(self):
            self.waits_s.append(timeout_s)
            if len(self.waits_s) <= self._num_pauses:
                return None
            self.append(self._after)
            self.end()
        return await super().next(timeout_s, num_held_chars=num_held_chars)


async def test_the_next_sentence_is_made_while_one_is_heard() -> None:
    """At most a few sentences ahead are requested, and at least one."""
    synthesizer = FakeSynthesizer()
    text = " ".join(f"This is the sentence with number {number}." for number in range(12))
    most_ahead, least_ahead = 0, 99
    started = 0
    async for event in speaking(TextFeed(text), synthesizer, settings_with()):
        started += isinstance(event, SentenceStarted)
        if isinstance(event, Packet) and 2 < started < 8:
            await asyncio.sleep(0.001)
            ahead = len(synthesizer.requests) - started
            most_ahead, least_ahead = max(most_ahead, ahead), min(least_ahead, ahead)
    assert least_ahead >= 1 and most_ahead <= 2


FIRST, SECOND = "Here is the first one.", "There is the second one."


@pytest.mark.parametrize(
    "text",
    [
        f"{FIRST} {SECOND}|",
        f"{FIRST}|{SECOND}|",
        f"{FIRST}| {SECOND}|||",
        f"|{FIRST}||||{SECOND}",
        f"|{FIRST}| {SECOND}| ",
    ],
)
async def test_flushes_do_not_hide_the_end_of_the_text(text: str) -> None:
    """The sound ends with the last sentence, and no pause is put behind it for another one."""
    flushed = sound_of(await events_of(text))
    plain = sound_of(await events_of(f"{FIRST} {SECOND}"))
    assert len(flushed) == pytest.approx(len(plain), abs=24 * 20)


async def test_a_pausing_writer_hears_every_word() -> None:
    """The last word, which nothing follows, is spoken after a longer pause, and the utterance continues."""
    feed, spoken = TextFeed(), []
    feed.append("Let me check")
    async with contextlib.aclosing(
        speaking(feed, FakeSynthesizer(), settings_with(max_buffer_ms=20))
    ) as events:
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
    feed = _PausingFeed(before, after, num_pauses=2)
    events = speaking(feed, FakeSynthesizer(), settings_with(max_buffer_ms=100))
    assert [event.text async for event in events if isinstance(event, SentenceStarted)] == spoken
    assert feed.waits_s == pytest.approx([0.1, 0.3, 1.0])


async def test_a_number_at_the_end_is_spoken_at_last() -> None:
    """After the longest pause, though nothing has shown that it is whole."""
    feed, texts = TextFeed(), []
    feed.append("The answer is 42")
    async with contextlib.aclosing(
        speaking(feed, FakeSynthesizer(), settings_with(max_buffer_ms=20))
    ) as events:
        async for event in events:
            if isinstance(event, SentenceStarted):
                texts.append(event.text)
                if len(texts) == 2:
                    feed.end()
    assert texts == ["The answer is", "42"]


@pytest.mark.parametrize("continuity", ["preset", "chain", "preset+chain"])
async def test_a_chain_continues_the_voices_last_sentence(continuity: str) -> None:
    """Each voice from its own last sentence, and only in a chain; whether the preset stays is for the synthesizer."""
    text = f"{STORY} [voice: other] Now I speak alone. [voice: tone] And me again."
    synthesizer = FakeSynthesizer(speed=50.0)
    events = await events_of(text, synthesizer, settings_with(continuity=continuity))
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
        speaking(TextFeed(STORY), synthesizer, settings_with(continuity="chain"))
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
        settings = settings_with(continuity="chain")
        async with contextlib.aclosing(speaking(TextFeed(STORY), synthesizer, settings)) as events:
            for _ in range(num_events):
                await anext(events)
        assert synthesizer.num_open == 0


@pytest.mark.slow
async def test_a_text_of_5000_words_streams_at_steady_memory() -> None:
    """Whatever its length, a few sentences are in the making, and no more is kept than at the beginning."""
    sentence = "Here are ten words of a text that goes on. "
    feed, synthesizer = TextFeed(sentence * 500), FakeSynthesizer(ms_per_char=60.0)
    sizes_kb: list[float] = []
    most_open = started = 0
    tracemalloc.start()
    try:
        async for event in speaking(feed, synthesizer, settings_with(max_audio_s=1e9), "opus"):
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
    """A task that is cancelled again while it cancels has let go of every sentence all the same."""
    synthesizer = FakeSynthesizer(speed=0.5)
    text = "One sentence here. And another one there. A third one follows. The fourth is the last."

    async def listen() -> None:
        async with contextlib.aclosing(speaking(TextFeed(text), synthesizer, settings_with())) as events:
            async for _ in events:
                pass

    listening = asyncio.create_task(listen())
    async with asyncio.timeout(30):
        while synthesizer.num_open < 2:  # noqa: ASYNC110
            await asyncio.sleep(0)
    for _ in range(2):
        listening.cancel()
        for _ in range(num_turns):
            await asyncio.sleep(0)
    await asyncio.gather(listening, return_exceptions=True)
    for _ in range(20):
        await asyncio.sleep(0)
    assert synthesizer.num_open == 0


TEXTS_TO_CUT = [
    "word ", "1", "Yes. No. ", "> ", "a", "<!--", "&#39;", "$1,", "<![CDATA[", "[voice: ", "[[", "<a ", "**a", "~~~\n",
    "http://a.b/", "[a](", "<say-as interpret-as='characters'>abc", "`x", "<speak>&#39;",
]  # fmt: skip


@pytest.mark.parametrize(
    "reading",
    [TextOptions(), TextOptions(text_format="chat"), TextOptions(markup=False)],
    ids=["plain", "chat", "no markup"],
)
@pytest.mark.parametrize("unit", TEXTS_TO_CUT)
async def test_others_have_their_turn_while_a_text_is_cut(unit: str, reading: TextOptions) -> None:
    """However long a text is and however it is read, what is written out in one turn is a sentence or two.

    That is so at its end, too, where what might have become a link or a tag is text after all.
    """
    num_turns = 0

    async def take_turns() -> None:
        nonlocal num_turns
        while True:
            num_turns += 1
            await asyncio.sleep(0)

    text = (unit * 2000)[:2000]
    synthesizer = FakeSynthesizer(ms_per_char=1.0, normalizes_text=True)
    chars_of_turns = Counter[int]()

    def count(text: str) -> int:
        chars_of_turns[num_turns] += len(text)
        return 3 * sum(1 + len(word) // 4 for word in text.split())

    synthesizer.count_tokens = count  # type: ignore[method-assign]
    others = asyncio.create_task(take_turns())
    await events_of(text, synthesizer, settings_with(max_audio_s=1000.0, reading=reading))
    others.cancel()
    assert num_turns >= len(text) // SLICE_CHARS and max(chars_of_turns.values(), default=0) <= MAX_TURN_CHARS


async def test_no_more_is_cut_than_the_next_sentences() -> None:
    """While the first sentence is waited for, the rest of a long text is not looked at."""
    synthesizer = FakeSynthesizer()
    synthesizer.stall_on = "number 0"
    text = " ".join(f"This is the sentence with number {number}." for number in range(50))
    seen: list[str] = []
    count = synthesizer.count_tokens
    synthesizer.count_tokens = lambda text: (seen.append(text), count(text))[1]  # type: ignore[method-assign]
    task = asyncio.create_task(events_of(text, synthesizer))
    for _ in range(200):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert any("number 0" in text for text in seen) and not any("number 6" in text for text in seen)
