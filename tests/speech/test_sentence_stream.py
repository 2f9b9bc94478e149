"""A sentence that goes wrong is made again before it is heard, or told."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import pairwise

import numpy as np

from streamer.audio.packets import Packet
from streamer.sampling import SamplingParams
from streamer.speech.events import (
    SentenceEnded,
    SentenceStarted,
    SpeechEnded,
    SpeechEvent,
    SpeechWarning,
)
from streamer.speech.sentence_stream import retry_seed
from streamer.speech.text_feed import TextFeed
from tests.fakes.synthesizer import FakeSynthesizer
from tests.speech.utterances import STORY, events_of, settings_with, sound_of, speaking, warnings_of


async def _events_with_a_late_second(synthesizer: FakeSynthesizer, **changes: object) -> list[SpeechEvent]:
    """The events as a listener takes them that hears the first sentence while the second is made."""
    events: list[SpeechEvent] = []
    async for event in speaking(TextFeed(STORY), synthesizer, settings_with(**changes)):
        events.append(event)
        await asyncio.sleep(0.002 if isinstance(event, Packet) else 0)
    return events


async def test_a_runaway_sentence_is_made_again_before_it_is_heard() -> None:
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
    plain = await events_of(STORY)
    assert len(sound_of(events)) == len(sound_of(plain))
    third = next(request for request in synthesizer.requests if "third" in request.text)
    assert third.history is not None and third.history.semantic.tolist() == [1, retry_seed(1, 1)]


async def test_a_sentence_is_made_again_only_once() -> None:
    """What runs away twice is heard, faded out at its end, and told; nothing continues it."""
    synthesizer = FakeSynthesizer()
    synthesizer.truncate_on = "second"
    events = await _events_with_a_late_second(synthesizer, continuity="chain")
    assert warnings_of(events) == [("sentence_retried", 1), ("sentence_cut", 1)]
    assert isinstance(events[-1], SpeechEnded) and events[-1].truncated
    third = next(request for request in synthesizer.requests if "third" in request.text)
    assert third.history is not None and third.history.semantic.tolist() == [0, 1]


async def test_a_runaway_sentence_that_is_being_heard_is_faded_out() -> None:
    """It is not made again: it goes down within its last moments, without a jump."""
    synthesizer = FakeSynthesizer()
    synthesizer.truncate_on = "first"
    events = await events_of(STORY, synthesizer)
    assert warnings_of(events) == [("sentence_cut", 0)] and len(synthesizer.requests) == 3
    end = next(event for event in events if isinstance(event, SentenceEnded)).end_ms
    last = np.abs(sound_of(events)[(end - 120) * 24 : end * 24].reshape(-1, 480)).max(axis=1)  # each 20 ms
    assert last[0] > 0.29 and all(a > b for a, b in pairwise(last[2:])) and last[-1] < 0.1


async def test_a_sentence_that_is_held_is_made_again_however_eagerly_it_is_listened_to() -> None:
    """In speech into memory nothing depends on time; in a stream it is heard at once, and only faded out."""
    synthesizer = FakeSynthesizer()
    synthesizer.truncate_on, synthesizer.recovers = "first", True
    events = await events_of(STORY, synthesizer, settings=settings_with(is_held=True))
    assert warnings_of(events) == [("sentence_retried", 0)] and synthesizer.num_open == 0
    assert len(sound_of(events)) == len(sound_of(await events_of(STORY)))


async def test_giving_up_a_sentence_that_is_held_gives_up_its_synthesis() -> None:
    """A listener who waits for it and leaves keeps nobody waiting."""
    synthesizer = FakeSynthesizer()
    synthesizer.stall_on = "first"
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.05):
            await events_of(STORY, synthesizer, settings=settings_with(is_held=True))
    assert synthesizer.num_open == 0


async def test_a_length_that_was_asked_for_is_no_reason_to_try_again() -> None:
    """`max_gen_duration_s` cuts on purpose."""
    synthesizer = FakeSynthesizer()
    synthesizer.truncate_on = "second"
    params = SamplingParams(seed=1, max_gen_duration_s=0.3)
    assert warnings_of(await _events_with_a_late_second(synthesizer, params=params)) == [("sentence_cut", 1)]
