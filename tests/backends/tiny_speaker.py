"""A local back end over a tiny random Bark, for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from streamer.backends.local import LocalSynthesizer
from streamer.config import EngineConfig
from streamer.telemetry.traces import NO_TRACER, Tracer
from streamer.voices.library import VoiceLibrary
from tests.fakes.tiny_bark import TINY, tiny_model, tiny_voice

MAX_TOKENS = TINY.semantic.text_context


class LettersTokenizer:
    """Makes one token of each character."""

    num_ids = 50
    phones = ()

    def encode(self, text: str) -> list[int]:
        return [ord(character) % 50 for character in text]

    def unsupported(self, _: str) -> list[str]:
        return []


class Fault:
    """What a test has happen in every prefill of the coarse model; nothing until `strike` is set."""

    def __init__(self) -> None:
        self.strike: Callable[[], object] = lambda: None


def tiny_synthesizer(
    directory: Path, *, fault: Fault | None = None, tracer: Tracer = NO_TRACER, **options
) -> LocalSynthesizer:
    """A back end with two voices, saved to and read from `directory`; `options` are those of `EngineConfig`."""
    save_voices(directory)
    model = tiny_model()
    if fault is not None:
        prefill = model.coarse.prefill

        def faulty(*arguments, **start):
            fault.strike()
            return prefill(*arguments, **start)

        model.coarse.prefill = faulty
    config = EngineConfig(**{"num_slots": 3, "max_load": None, "chunk_schedule": "latency", **options})
    return LocalSynthesizer(model, LettersTokenizer(), VoiceLibrary([directory], TINY), config, tracer=tracer)


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
