"""Pauses that the text asks for are exact in the sound, speed changes lengths and not pitch, and times follow."""

from __future__ import annotations

import numpy as np
import pytest

from streamer.audio.samples import Samples
from streamer.errors import AudioEncodeError
from streamer.speech import assembler
from streamer.speech.events import SentenceEnded, SentenceStarted, SpeechEnded, SpeechEvent, WordTimes
from streamer.text.lexicon import Lexicon
from streamer.text.reading import TextOptions
from tests.audio.decoding import dominant_hz
from tests.fakes.synthesizer import FakeSynthesizer
from tests.speech.utterances import events_of, settings_with, sound_of, warnings_of

RATE_HZ = 24_000


def borders(events: list[SpeechEvent]) -> list[tuple[int, int]]:
    """When each sentence begins and ends, in ms."""
    starts = [event.start_ms for event in events if isinstance(event, SentenceStarted)]
    ends = [event.end_ms for event in events if isinstance(event, SentenceEnded)]
    return list(zip(starts, ends, strict=True))


def quiet_s(sound: Samples) -> list[float]:
    """How long each silence between two tones lasts."""
    loud = np.flatnonzero(np.abs(sound) > 0.05)
    gaps = np.diff(loud)
    return [gap / RATE_HZ for gap in gaps[gaps > 0.05 * RATE_HZ]]


@pytest.mark.parametrize("seconds", [0.0, 0.05, 0.1, 0.3, 1.5, 4.0])
@pytest.mark.parametrize("speed", [1.0, 2.0])
async def test_a_pause_is_exact(seconds: float, speed: float) -> None:
    """It lies between the end of one sentence and the beginning of the next, to the millisecond, at any speed."""
    events = await events_of(f"Wait a moment [pause:{seconds}] for it.", settings=settings_with(speed=speed))
    (_, end_ms), (start_ms, _) = borders(events)
    assert start_ms - end_ms == round(seconds * 1000)
    assert sum(quiet_s(sound_of(events))) == pytest.approx(seconds, abs=0.15)


async def test_a_pause_at_the_beginning_and_one_at_the_end_are_heard() -> None:
    """They count in the length of the sound, and words come behind the first one."""
    events = await events_of("[pause:1] Hello there. [pause:0.75]")
    ((start_ms, end_ms),) = borders(events)
    sound = sound_of(events)
    assert start_ms == 1000 and not sound[:RATE_HZ].any()
    assert len(sound) == pytest.approx((end_ms + 750) * RATE_HZ / 1000, abs=RATE_HZ / 500)
    ended, words = events[-1], next(event for event in events if isinstance(event, WordTimes)).words
    assert isinstance(ended, SpeechEnded) and ended.audio_ms == end_ms + 750
    assert words[0].start_ms >= 1000


async def test_a_text_of_pauses_alone_is_silence() -> None:
    """It has no sentence and ends as other speech does."""
    events = await events_of("[pause:0.5]<break time='250ms'/>")
    ended = events[-1]
    assert isinstance(ended, SpeechEnded) and not ended.truncated
    assert (ended.audio_ms, ended.num_sentences) == (750, 0)
    assert len(sound_of(events)) == 0.75 * RATE_HZ


async def test_a_pause_stands_for_the_natural_one() -> None:
    """Behind a flush the natural pause was made already: only the rest of the asked one follows, and two add up."""
    flushed = await events_of("Hello there. |[pause:1] How are you?")
    twice = await events_of("Hello there. [pause:1][pause:0.5] How are you?")
    gaps = [second[0] - first[1] for first, second in (borders(flushed), borders(twice))]
    assert gaps == [1000, 1500]


async def test_pauses_are_within_the_longest_sound() -> None:
    """`max_audio_s` bounds them together; a sentence that would follow is cut, and that is told."""
    events = await events_of("[pause:10]" * 20 + " And more.", settings=settings_with(max_audio_s=15.0))
    ended = events[-1]
    assert isinstance(ended, SpeechEnded)
    assert (ended.audio_ms, ended.truncated) == (15_000, True)


@pytest.mark.parametrize("speed", [0.25, 0.5, 0.8, 1.25, 2.0, 4.0])
async def test_speed_changes_the_length_and_not_the_pitch(speed: float) -> None:
    """Sound, borders and words are as much shorter; the tone stays the tone."""
    text = "Hello there, how are you today? I am very well."
    usual = await events_of(text)
    changed = await events_of(text, settings=settings_with(speed=speed))
    length, expected = len(sound_of(changed)), len(sound_of(usual)) / speed
    assert length == pytest.approx(expected, abs=RATE_HZ / 500)
    np.testing.assert_allclose(np.ravel(borders(changed)), np.ravel(borders(usual)) / speed, atol=3)
    words = [
        [
            (word.start_ms, word.end_ms)
            for event in events
            if isinstance(event, WordTimes)
            for word in event.words
        ]
        for events in (usual, changed)
    ]
    np.testing.assert_allclose(np.ravel(words[1]), np.ravel(words[0]) / speed, atol=25 / min(1, speed))
    first = sound_of(changed)[: round(borders(changed)[0][1] * RATE_HZ / 1000)]
    assert dominant_hz(first, RATE_HZ) == pytest.approx(220, abs=4)


async def test_a_rate_counts_for_its_sentence_alone() -> None:
    """`prosody` multiplies the utterance's speed; what stands around it is as fast as before."""
    text = "Say it. <prosody rate='50%'>Say it.</prosody> Say it."
    found = borders(await events_of(text, settings=settings_with(speed=2.0)))
    first, slow, last = (end - start for start, end in found)
    assert slow == pytest.approx(2 * first, abs=100)
    assert last == pytest.approx(first, abs=100)


async def test_the_synthesizer_is_told_how_fast_it_will_be_played() -> None:
    """The sound is made as usual, and needed so much earlier."""
    synthesizer = FakeSynthesizer()
    await events_of("One. <prosody rate='50%'>Two.</prosody>", synthesizer, settings_with(speed=2.0))
    assert [request.speed for request in synthesizer.requests] == [2.0, 1.0]


async def test_speech_is_as_usual_where_its_speed_cannot_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build of FFmpeg without the filter causes one warning, and everything is spoken."""

    def refuse(_rate_hz: int, _tempo: float) -> None:
        raise AudioEncodeError("there is no such filter")

    usual = await events_of("Hello there. How are you?")
    monkeypatch.setattr(assembler, "_tempo_filter", refuse)
    events = await events_of("Hello there. How are you?", settings=settings_with(speed=2.0))
    assert warnings_of(events) == [("speed_unavailable", None)]
    starts, ends = zip(*borders(events), strict=True)
    assert ends[0] - starts[0] == pytest.approx(borders(usual)[0][1], abs=2)


async def test_markup_that_is_not_followed_is_warned_of() -> None:
    """A mistake ends nothing: the text is spoken, and each kind of mistake is told once."""
    events = await events_of("<b>One</b> <break time='x'/> two <sub alias='y'>three.")
    assert [code for code, _ in warnings_of(events)] == [
        "unknown_markup",
        "unsupported_markup",
        "unsupported_markup",
    ]
    ended = events[-1]
    assert isinstance(ended, SpeechEnded) and not ended.truncated


async def test_a_lexicon_changes_what_is_said_and_not_what_is_shown() -> None:
    """The sentence, its places and its words are those of the text."""
    synthesizer = FakeSynthesizer()
    reading = TextOptions(lexicon=Lexicon({"nginx": "engine x"}))
    events = await events_of("Start nginx now.", synthesizer, settings_with(reading=reading))
    assert [request.text for request in synthesizer.requests] == ["Start engine x now."]
    shown = [word.text for event in events if isinstance(event, WordTimes) for word in event.words]
    assert shown == ["Start", "nginx", "now."]


async def test_words_of_marked_text_are_those_that_are_written() -> None:
    """Tags are no words, and a substituted word keeps its place."""
    text = 'The <sub alias="World Wide Web">WWW</sub> is here.'
    events = await events_of(text)
    words = [word for event in events if isinstance(event, WordTimes) for word in event.words]
    assert [word.text for word in words] == ["The", "WWW", "is", "here."]
    assert [text[word.char_start : word.char_end] for word in words] == ["The", "WWW", "is", "here."]
