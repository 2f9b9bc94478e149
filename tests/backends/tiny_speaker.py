"""A local back end over a tiny random Bark, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from streamer.backends.local import LocalSynthesizer
from streamer.voices.library import VoiceLibrary
from tests.fakes.tiny_bark import TINY, tiny_model, tiny_voice

MAX_TOKENS = TINY.semantic.text_context


class LettersTokenizer:
    """One token per character."""

    num_ids = 50

    def encode(self, text: str) -> list[int]:
        return [ord(character) % 50 for character in text]

    def unsupported(self, _: str) -> list[str]:
        return []


def tiny_synthesizer(directory: Path, **options) -> LocalSynthesizer:
    """A back end with two voices, saved to and read from `directory`."""
    save_voices(directory)
    voices = VoiceLibrary([directory], TINY)
    return LocalSynthesizer(tiny_model(), LettersTokenizer(), voices, **{"num_slots": 3, **options})


def save_voices(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for seed, name in enumerate(("one", "two")):
        voice = tiny_voice(40, seed=seed)
        np.savez(
            directory / f"{name}.npz",
            semantic_prompt=voice.semantic,
            coarse_prompt=voice.coarse,
            fine_prompt=voice.fine,
        )
