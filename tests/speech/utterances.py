"""What the tests of the pipeline share: texts, and how they are spoken."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import numpy as np

from streamer.audio.formats import AudioFormat
from streamer.audio.packets import Packet, create_encoder
from streamer.audio.samples import Samples
from streamer.sampling import SamplingParams
from streamer.speech.events import SpeechEvent, SpeechWarning
from streamer.speech.pipeline import speak
from streamer.speech.settings import SpeechSettings
from streamer.speech.text_feed import TextFeed
from tests.fakes.synthesizer import FakeSynthesizer

TEXT = "Hello there. How are you today? I am well."
STORY = "This is the first sentence. Here comes the second one. And there is a third."


def settings_with(**changes: object) -> SpeechSettings:
    return SpeechSettings(**{"voice": "tone", "params": SamplingParams(seed=1)} | changes)  # type: ignore[arg-type]


def speaking(
    feed: TextFeed, synthesizer: FakeSynthesizer, settings: SpeechSettings, encoding: str = "pcm_f32le"
) -> AsyncGenerator[SpeechEvent, None]:
    """The events of an utterance, as they are made."""
    return speak(feed, synthesizer, settings, create_encoder(AudioFormat(encoding)), "u")


async def events_of(
    text: str,
    synthesizer: FakeSynthesizer | None = None,
    settings: SpeechSettings | None = None,
    encoding: str = "pcm_f32le",
) -> list[SpeechEvent]:
    """The events of a text in which `|` is a flush."""
    feed = TextFeed()
    first, *others = text.split("|")
    feed.append(first)
    for piece in others:
        feed.flush()
        feed.append(piece)
    feed.end()
    events = speaking(feed, synthesizer or FakeSynthesizer(), settings or settings_with(), encoding)
    return [event async for event in events]


def sound_of(events: list[SpeechEvent]) -> Samples:
    """The samples of an utterance."""
    payload = b"".join(event.payload for event in events if isinstance(event, Packet))
    return np.frombuffer(payload, "<f4")


def warnings_of(events: list[SpeechEvent]) -> list[tuple[str, int | None]]:
    return [(event.code, event.index) for event in events if isinstance(event, SpeechWarning)]
