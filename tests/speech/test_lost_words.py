"""Nothing of a text is lost in silence: it is spoken, or the client is told."""

from __future__ import annotations

import pytest

from streamer.audio.packets import Packet
from streamer.sampling import SamplingParams
from streamer.speech.events import SentenceEnded, SentenceStarted, SpeechEnded, SpeechEvent, SpeechWarning
from streamer.speech.sentence_stream import retry_seed
from tests.fakes.synthesizer import FakeSynthesizer
from tests.speech.utterances import events_of, settings_with

SILENT = ["...", "!!!", "***", "—", "😊", "()", "♪", "™", "²", "\u200b", "# #", "😊 😊\n\n..."]


def of_kind(events: list[SpeechEvent], kind: type) -> list:
    return [event for event in events if isinstance(event, kind)]


@pytest.mark.parametrize("text", SILENT)
async def test_a_text_without_words_has_no_packet(text: str) -> None:
    """It is complete at once, and the model is not asked."""
    synthesizer = FakeSynthesizer()
    events = await events_of(text, synthesizer)
    assert not of_kind(events, Packet) and not synthesizer.requests
    ended = events[-1]
    assert isinstance(ended, SpeechEnded) and not ended.truncated and ended.audio_ms == 0


@pytest.mark.parametrize("sign", ["...", "😊", "***", "♪", "()"])
async def test_signs_beside_sentences_take_no_time(sign: str) -> None:
    """They are told in their place; the sound ends soon after the last word, and its last packet is marked."""
    synthesizer = FakeSynthesizer()
    plain = await events_of("One sentence here.", synthesizer)
    events = await events_of(f"One sentence here.|{sign}|{sign}", synthesizer)
    assert "".join(event.text for event in of_kind(events, SentenceStarted)).endswith(sign)
    assert events[-1].audio_ms <= plain[-1].audio_ms + 260  # type: ignore[union-attr]
    assert [packet.is_last for packet in of_kind(events, Packet)].count(True) == 1
    assert of_kind(events, Packet)[-1].is_last


LOST = [("word", 0.0), ("second", 0.0), ("number 7", 0.01), ("Ah", 0.05), ("third", 0.1)]
TEXT = "Here is a word for you. Then there is number 7, a second. Ah, and that is the third one."


@pytest.mark.parametrize(("text", "left_s"), LOST)
async def test_a_sentence_that_has_no_sound_is_made_again(text: str, left_s: float) -> None:
    """With the second seed, told before the sentence; in the end all of it was spoken."""
    synthesizer = FakeSynthesizer()
    synthesizer.lose_on, synthesizer.recovers = {text: left_s}, True
    events = await events_of(TEXT, synthesizer)
    (lost,) = [request for request in synthesizer.requests if request.request_id.endswith(".retry")]
    (warning,) = of_kind(events, SpeechWarning)
    assert (warning.code, warning.seed) == ("sentence_retried", retry_seed(1, lost.sentence_index))
    assert text in lost.text and warning.index == lost.sentence_index
    assert isinstance(events[-1], SpeechEnded) and not events[-1].truncated


@pytest.mark.parametrize(("text", "left_s"), LOST)
async def test_a_sentence_that_stays_without_sound_is_told(text: str, left_s: float) -> None:
    """By a warning with its index; the others are spoken, and the utterance is not complete."""
    synthesizer = FakeSynthesizer()
    synthesizer.lose_on = {text: left_s}
    events = await events_of(TEXT, synthesizer)
    silent = [event for event in of_kind(events, SpeechWarning) if event.code == "sentence_silent"]
    starts = [event for event in of_kind(events, SentenceStarted) if text in event.text]
    assert [event.index for event in silent] == [event.index for event in starts]
    assert isinstance(events[-1], SpeechEnded) and events[-1].truncated
    lengths = {
        start.index: end.end_ms - start.start_ms
        for start, end in zip(of_kind(events, SentenceStarted), of_kind(events, SentenceEnded), strict=True)
    }
    assert all((length > 300) == (index != silent[0].index) for index, length in lengths.items())


async def test_a_length_that_was_asked_for_is_no_loss() -> None:
    """A sentence that is cut on purpose is told as cut, and not made again."""
    synthesizer = FakeSynthesizer()
    synthesizer.truncate_on = "word"
    synthesizer.lose_on = {"word": 0.05}
    params = SamplingParams(seed=1, max_gen_duration_s=0.1)
    events = await events_of("Here is a word for you.", synthesizer, settings_with(params=params))
    assert [event.code for event in of_kind(events, SpeechWarning)] == ["sentence_cut"]
    assert len(synthesizer.requests) == 1
