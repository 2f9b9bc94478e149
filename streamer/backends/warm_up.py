"""A synthesizer's first sentences, for warm-up: they have everything compiled, and they measure the machine."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from streamer.errors import CheckpointError, EngineError
from streamer.process_memory import return_freed_memory
from streamer.synthesis import ModelInfo, PcmChunk, SentenceRequest

logger = logging.getLogger(__name__)
FIRST_TEXT = "Hello."
TEXT = "One, two, three, four."
AT_ONCE = 4
"""Sentences spoken at the same time, from which the engine learns what a row costs."""
SLOW_S = 2.0
"""Time to a first audio beyond which the machine is slow: its start is not delayed by further measurements."""
MUCH_SLOWER_THAN_REAL_TIME = 2.0
"""Real-time factor of the warm-up's sentence, which is short, from which the longest chunks are heard soonest without a
break (`benchmarks/schedules.py`)."""
NEAR_REAL_TIME = 0.7
"""Real-time factor from which the log warns that playback may stall."""
INSTRUCTION_SETS = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx512vnni": "AVX-512 VNNI",
    "avxvnni": "AVX-VNNI",
    "amx-int8": "AMX",
    "neon": "NEON",
    "sve": "SVE",
}
"""LLVM's names of the CPU features that decide the speed of the matrix products, and the vendors' names."""


class Speaker(Protocol):
    """What the warm-up needs of a synthesizer."""

    @property
    def info(self) -> ModelInfo: ...

    def count_tokens(self, text: str) -> int: ...

    def synthesize(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]: ...


@dataclass(frozen=True, slots=True)
class Speed:
    """What the warm-up measured of one sentence alone.

    `first_audio_s`: seconds until its first audio. `real_time_factor`: seconds of generating per second of audio;
    None on a machine that is too slow to wait for it.
    """

    first_audio_s: float
    real_time_factor: float | None


async def warm_up(speaker: Speaker, *, num_slots: int, reset_costs: Callable[[], None]) -> Speed:
    """Speak until everything is compiled and, on a machine that is not slow, until the engine has learnt its costs.

    `reset_costs` makes the engine forget what the first sentences took, which includes compiling.
    """
    at_once = min(AT_ONCE, num_slots)
    await _speak(speaker, FIRST_TEXT, 1, to_end=False)
    return_freed_memory()  # above all the compiler's
    first_audio_s, _ = await _speak(speaker, FIRST_TEXT, 1, to_end=False)
    if first_audio_s > SLOW_S:
        reset_costs()
        return Speed(first_audio_s, None)
    await _speak(speaker, FIRST_TEXT, at_once, to_end=True)
    reset_costs()
    text = TEXT if speaker.count_tokens(TEXT) <= speaker.info.max_text_tokens else FIRST_TEXT
    took_s, audio_s = await _speak(speaker, text, 1, to_end=True)
    if took_s <= SLOW_S:
        await _speak(speaker, text, at_once, to_end=True)
    return Speed(first_audio_s, took_s / audio_s if audio_s else None)


def fitting_schedule(speed: Speed) -> str:
    """Return the schedule of fine chunks by which a sentence is soonest heard without a break at this speed."""
    factor = math.inf if speed.real_time_factor is None else speed.real_time_factor
    if factor < 1:
        return "latency"
    return "balanced" if factor < MUCH_SLOWER_THAN_REAL_TIME else "throughput"


def log_speed(speed: Speed) -> None:
    """Log how fast the machine is, and warn if playback may stall."""
    factor, cpu = speed.real_time_factor, ", ".join(instruction_sets()) or "no known vector instructions"
    measured = f"the first audio takes {speed.first_audio_s:.2f} s"
    if factor is not None:
        measured += f" and a second of audio {factor:.2f} s"
    logger.info("speed of one sentence alone: %s (CPU: %s)", measured, cpu)
    if factor is None or factor >= NEAR_REAL_TIME:
        logger.warning(
            "this machine is slow for this model: %s (CPU: %s), so that speech played while it is made may stall; "
            "for a server set start to safe, or use a smaller model, dtype int8, a GPU, or a CPU with AVX-512 VNNI "
            "or AMX",
            measured,
            cpu,
        )


def instruction_sets() -> list[str]:
    """Name the CPU's instruction sets that decide the speed of the matrix products."""
    import llvmlite.binding  # here, because a process with a GPU need not load a compiler

    features = llvmlite.binding.get_host_cpu_features()
    return [name for feature, name in INSTRUCTION_SETS.items() if features.get(feature)]


async def _speak(speaker: Speaker, text: str, num_sentences: int, *, to_end: bool) -> tuple[float, float]:
    """Speak the text `num_sentences` times at once, to the end or to the first audio.

    Returns the seconds that it took, and the seconds of audio of one of the sentences.
    """
    started_s = time.monotonic()
    num_samples = [0] * num_sentences

    async def speak(number: int) -> None:
        request = SentenceRequest(
            f"warm-up {number}",
            text,
            speaker.info.default_voice,
            speaker.info.default_params,
            sentence_index=1,  # a later sentence is never refused
        )
        async with aclosing(speaker.synthesize(request)) as chunks:
            async for chunk in chunks:
                num_samples[number] += len(chunk.samples)
                if not to_end:
                    return

    try:
        async with asyncio.TaskGroup() as tasks:
            for number in range(num_sentences):
                tasks.create_task(speak(number))
    except ExceptionGroup as group:
        if isinstance(error := group.exceptions[0], EngineError):
            message = f"the model makes no first sound: {error}; check it with `streamer models verify`"
            raise CheckpointError(message) from None
        raise
    return time.monotonic() - started_s, num_samples[0] / speaker.info.sample_rate_hz
