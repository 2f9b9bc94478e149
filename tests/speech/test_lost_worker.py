"""A sentence whose worker is lost: made again before it is heard, cut once it is, and the rest is spoken either way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import numpy as np
import pytest

from streamer.audio.packets import Packet
from streamer.errors import EngineError, WorkerLostError
from streamer.speech.events import SentenceEnded, SentenceStarted, SpeechEnded, SpeechEvent, WordTimes
from streamer.speech.sentence_stream import MAX_REMAKES
from streamer.speech.text_feed import TextFeed
from streamer.synthesis import PcmChunk, SentenceRequest
from tests.fakes.synthesizer import FakeSynthesizer
from tests.speech.utterances import STORY, events_of, settings_with, sound_of, speaking, warnings_of


class LosingSynthesizer(FakeSynthesizer):
    """Raises `error` after the third chunk of the sentence with `lose_in` in it, the first `num_losses` times."""

    def __init__(self, lose_in: str, num_losses: int = 1, error: type[EngineError] = WorkerLostError) -> None:
        super().__init__()
        self.lose_in = lose_in
        self.num_losses = num_losses
        self.error = error

    async def synthesize(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]:
        num_chunks = 0
        async for chunk in super().synthesize(request):
            if self.lose_in in request.text and num_chunks == 3 and self.num_losses:
                self.num_losses -= 1
                raise self.error("the worker is gone")
            num_chunks += 1
            yield chunk


async def events_and_error(
    synthesizer: FakeSynthesizer, text: str = STORY
) -> tuple[list[SpeechEvent], Exception | None]:
    """The events of a story as a listener takes them for whom the second sentence is made in time."""
    events: list[SpeechEvent] = []
    try:
        async for event in speaking(TextFeed(text), synthesizer, settings_with()):
            events.append(event)
            await asyncio.sleep(0.002 if isinstance(event, Packet) else 0)
    except EngineError as error:
        return events, error
    return events, None


@pytest.mark.parametrize("num_losses", [1, MAX_REMAKES])
async def test_a_sentence_that_nobody_heard_is_made_again_with_the_same_sound(num_losses: int) -> None:
    """Its chunks were waiting for their turn: with the same seed, no warning, and the utterance is completed."""
    synthesizer = LosingSynthesizer("second", num_losses)
    events, error = await events_and_error(synthesizer)
    assert error is None and isinstance(events[-1], SpeechEnded)
    assert warnings_of(events) == []
    assert np.array_equal(sound_of(events), sound_of(await events_of(STORY)))
    attempts = [request for request in synthesizer.requests if "second" in request.text]
    assert len(attempts) == num_losses + 1 and len(set(map(repr, attempts))) == 1


async def test_a_sentence_in_the_middle_of_its_sound_is_cut_and_the_others_are_spoken() -> None:
    """The client hears two sentences whole, is warned of the third, and the error comes in place of the end."""
    events, error = await events_and_error(LosingSynthesizer("first"))
    assert isinstance(error, WorkerLostError)
    assert warnings_of(events) == [("sentence_cut", 0)]
    assert [event.index for event in events if isinstance(event, SentenceStarted)] == [0, 1, 2]
    ends = [event.end_ms for event in events if isinstance(event, SentenceEnded)]
    whole = [event.end_ms for event in await events_of(STORY) if isinstance(event, SentenceEnded)]
    assert 240 <= ends[0] < 260 < whole[0]
    assert ends[1] - ends[0] == whole[1] - whole[0] and ends[2] - ends[1] == whole[2] - whole[1]
    words = next(event for event in events if isinstance(event, WordTimes))
    assert all(word.end_ms <= ends[0] for word in words.words), "none that was not begun"
    packets = [event for event in events if isinstance(event, Packet)]
    assert packets[-1].is_last and not any(isinstance(event, SpeechEnded) for event in events)


async def test_a_last_sentence_that_is_lost_ends_the_sound() -> None:
    """There is nothing to continue with: what was heard is closed as ever, and the error follows."""
    events, error = await events_and_error(LosingSynthesizer("only"), "This is the only sentence.")
    assert isinstance(error, WorkerLostError)
    assert warnings_of(events) == [("sentence_cut", 0)]
    packets = [event for event in events if isinstance(event, Packet)]
    assert [packet.is_last for packet in packets] == [False] * (len(packets) - 1) + [True]


async def test_a_sentence_that_is_lost_too_often_ends_the_utterance() -> None:
    """What no worker can make is not asked for without end."""
    synthesizer = LosingSynthesizer("second", MAX_REMAKES + 1)
    _, error = await events_and_error(synthesizer)
    assert isinstance(error, WorkerLostError)
    assert sum("second" in request.text for request in synthesizer.requests) == MAX_REMAKES + 1


async def test_an_engine_that_fails_is_not_asked_again() -> None:
    """An error of this process's own engine ends the utterance as it did: there is no other one."""
    synthesizer = LosingSynthesizer("second", 1, EngineError)
    _, error = await events_and_error(synthesizer)
    assert type(error) is EngineError
    assert sum("second" in request.text for request in synthesizer.requests) == 1
