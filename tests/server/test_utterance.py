"""What an utterance knows of its place in line."""

from __future__ import annotations

import gc
import weakref

from streamer.audio.formats import AudioFormat
from streamer.sampling import SamplingParams
from streamer.server.flow_control import PlaybackClock
from streamer.server.utterance import Utterance
from streamer.speech.settings import SpeechSettings


def utterance(after: Utterance | None = None) -> Utterance:
    settings = SpeechSettings("tone", SamplingParams(seed=1))
    return Utterance("a", "s.1", settings, AudioFormat(), PlaybackClock(None), after=after)


def cancel(waiting: Utterance) -> None:
    waiting.was_stopped = True
    waiting.is_over.set()
    waiting.close_ranks()


async def test_those_that_were_cancelled_in_line_are_forgotten() -> None:
    """However many there were, the last one knows of one of them at most, and waits for the one that is heard."""
    heard = utterance()
    waiting, gone = utterance(heard), []
    for _ in range(40):
        behind = utterance(waiting)
        cancel(waiting)
        gone.append(weakref.ref(waiting))
        waiting = behind
    del behind
    gc.collect()
    assert len([reference for reference in gone if reference() is not None]) == 1
    heard.is_over.set()
    await waiting.wait_for_turn()


async def test_text_waits_until_its_sentence_begins() -> None:
    """Of what was written, as it was received."""
    writing = utterance()
    writing.write("Hello\x00 there.")
    assert (writing.num_waiting_chars, writing.first_text_s is None) == (12, False)
    writing.num_begun_chars = 12
    assert writing.num_waiting_chars == 0
