"""Speaks a text and makes its tokens a voice, as Bark's "save as prompt" does; used by `voices make`."""

from __future__ import annotations

from typing import Final

import numpy as np

from streamer.api import Audio, SpeechOptions, speak_into_memory
from streamer.config import EngineConfig
from streamer.errors import StoreError
from streamer.models.config import ModelConfig
from streamer.speech.events import SentenceEnded, SentenceStarted, SpeechEvent
from streamer.voices.library import NO_HISTORY
from streamer.voices.voice import Voice

MAX_TEXT_CHARS: Final = 400
"""About 25 s of speech, of which a model uses the last 5 to 7 as its prompt."""


def speak_as_voice(
    engine: EngineConfig, model: ModelConfig, text: str, speech_options: SpeechOptions
) -> tuple[Voice, Audio]:
    """Speak `text` as `say` does, and return it as a voice, with its audio.

    If the text was spoken in pieces, their tokens are concatenated. Raises `StoreError` if the result cannot be a
    voice: too short, silent, or of several speakers.
    """
    if len(text) > MAX_TEXT_CHARS:
        raise StoreError(
            f"a text of {len(text)} characters is too long for a voice: give at most {MAX_TEXT_CHARS}"
        )
    pieces: list[Voice] = []
    speakers: list[str] = []

    def listen(event: SpeechEvent) -> None:
        if isinstance(event, SentenceStarted):
            speakers.append(event.voice)
        elif isinstance(event, SentenceEnded) and event.spoken_as is not None:
            pieces.append(event.spoken_as)

    audio = speak_into_memory(engine, text, speech_options, listen, include_history=True)
    if not pieces:
        raise StoreError("none of the text can be spoken: give another one")
    if len(set(speakers)) > 1:
        raise StoreError(f"the text was spoken by several voices: {', '.join(sorted(set(speakers)))}")
    if speakers[0] == NO_HISTORY and len(pieces) > 1 and speech_options.continuity == "preset":
        raise StoreError(
            "the text was spoken in pieces, for each of which the model made up another speaker: give a shorter one, "
            "or --continuity chain"
        )
    fine = np.concatenate([piece.fine for piece in pieces], axis=1)
    voice = Voice(
        np.concatenate([piece.semantic for piece in pieces]), fine[: model.coarse.num_codebooks], fine
    )
    if problem := voice.problem(model):
        raise StoreError(f"what was spoken is too short for a voice ({problem}): give a longer text")
    return voice, audio
