"""The pipeline without a server: `synthesize` for a whole text, `stream` for its sound as it is made."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import math
import secrets
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar, get_args

import numpy as np

from streamer.assembly import build_synthesizer, repeatable
from streamer.audio.formats import AudioFormat
from streamer.audio.packets import Packet, create_encoder
from streamer.audio.recording import Audio as Audio
from streamer.audio.samples import Samples
from streamer.config import CHUNK_SCHEDULES, EngineConfig
from streamer.errors import InvalidParameterError, VoiceNotFoundError
from streamer.sampling import draw_seed, sampling_params
from streamer.speech.events import SpeechEnded, SpeechEvent, SpeechWarning
from streamer.speech.pipeline import prepare, speak
from streamer.speech.settings import MAX_SPEED, MIN_SPEED, Continuity, SpeechSettings
from streamer.speech.text_feed import TextFeed
from streamer.synthesis import PcmChunk, Synthesizer
from streamer.text.lexicon import Lexicon as Lexicon
from streamer.text.reading import AS_IT_IS, TextOptions
from streamer.text.splitting.dialogue import check_speakers

logger = logging.getLogger(__name__)
EXIT_TIMEOUT_S: Final = 30.0
"""How long the interpreter's exit waits for the shared event loop."""
Result = TypeVar("Result")
Params = Mapping[str, object]
NO_PARAMS: Final[Params] = MappingProxyType({})
NO_SPEAKERS: Final[Mapping[str, str]] = MappingProxyType({})
CONTINUITIES: Final[tuple[str, ...]] = get_args(Continuity)


@dataclass(frozen=True, slots=True)
class SpeechOptions:
    """How a text is to be spoken; the fields are those of `synthesize`."""

    voice: str | None = None
    seed: int | None = None
    params: Params = field(default_factory=dict)
    continuity: Continuity = "preset"
    speakers: Mapping[str, str] = field(default_factory=dict)
    reading: TextOptions = AS_IT_IS
    speed: float = 1.0


async def stream(
    text: str,
    voice: str | None = None,
    *,
    seed: int | None = None,
    params: Params = NO_PARAMS,
    model: str | Path | None = None,
    chunk_schedule: str = "latency",
    continuity: Continuity = "preset",
    speakers: Mapping[str, str] = NO_SPEAKERS,
    reading: TextOptions = AS_IT_IS,
    speed: float = 1.0,
) -> AsyncIterator[PcmChunk]:
    """Yield the sound of `text` in pieces of 20 ms as it is made. Closing the iterator cancels the rest.

    The parameters are those of `synthesize`.
    """
    options = SpeechOptions(voice, seed, params, continuity, speakers, reading, speed)
    truncated = False
    async with contextlib.aclosing(speech_events(_engine(model, chunk_schedule), text, options)) as events:
        async for event in events:
            if isinstance(event, SpeechWarning):
                logger.warning(event.message)
            elif isinstance(event, Packet):
                yield PcmChunk(_samples(event))
            elif isinstance(event, SpeechEnded):
                truncated = event.truncated
    yield PcmChunk(np.zeros(0, np.float32), is_last=True, truncated=truncated)


async def start(engine: EngineConfig) -> Synthesizer:
    """Return the warm synthesizer of these settings, which all calls share."""
    # Shielded, because others wait for the same start.
    return await asyncio.shield(asyncio.wrap_future(_started(engine)))


async def speech_events(
    engine: EngineConfig, text: str, options: SpeechOptions
) -> AsyncGenerator[SpeechEvent, None]:
    """Yield the pipeline's events of a whole text; the packets hold float32 samples."""
    synthesizer = await start(engine)
    async with contextlib.aclosing(_speak(text, synthesizer, _settings(synthesizer, options))) as events:
        async for event in events:
            yield event


def synthesize(
    text: str,
    voice: str | None = None,
    *,
    seed: int | None = None,
    params: Params = NO_PARAMS,
    model: str | Path | None = None,
    chunk_schedule: str = "latency",
    continuity: Continuity = "preset",
    speakers: Mapping[str, str] = NO_SPEAKERS,
    reading: TextOptions = AS_IT_IS,
    speed: float = 1.0,
) -> Audio:
    """Speak `text` and return its sound. This may be called from anywhere, also while an event loop runs.

    `voice`: None for the model's default. `seed`: None to have one drawn, which the result names. `params`: the other
    fields of `SamplingParams`, by name. `model`: None for the built-in voice, or a model directory, which is loaded
    once per process. `chunk_schedule`: with "whole" each sentence's fine codes are filled in at its end, as the
    original does. `continuity`: whether a sentence continues the voice's preset, the voice's last sentence, or both.
    `speakers`: labels in the text, such as `Alice` of `Alice: Hello.`, and the voices that speak what follows them.
    `reading`: the language, whether numbers are written out, whether the text is Markdown, whether pauses and tags of
    SSML in it are followed, and a lexicon. `speed`: from half to twice as fast as usual, at the same pitch.
    """
    options = SpeechOptions(voice, seed, params, continuity, speakers, reading, speed)
    return speak_into_memory(_engine(model, chunk_schedule), text, options)


def speak_into_memory(
    engine: EngineConfig,
    text: str,
    options: SpeechOptions,
    on_event: Callable[[SpeechEvent], None] = lambda _: None,
    *,
    include_history: bool = False,
) -> Audio:
    """`synthesize` with settings of the engine; `on_event` is called with every event of the pipeline.

    With `include_history` the events carry the tokens of the spoken sentences.
    """
    synthesizer = _started(repeatable(engine)).result()
    settings = replace(_settings(synthesizer, options), include_history=include_history, is_held=True)

    async def collect() -> Audio:
        pieces = [np.zeros(0, np.float32)]
        truncated = False
        async with contextlib.aclosing(_speak(text, synthesizer, settings)) as events:
            async for event in events:
                if isinstance(event, Packet):
                    pieces.append(_samples(event))
                elif isinstance(event, SpeechEnded):
                    truncated = event.truncated
                elif isinstance(event, SpeechWarning):
                    logger.warning(event.message)
                on_event(event)
        return Audio(np.concatenate(pieces), synthesizer.info.sample_rate_hz, settings.params.seed, truncated)

    speaking = _run(collect())
    try:
        return speaking.result()
    finally:
        speaking.cancel()  # in case the caller was interrupted


def _started(config: EngineConfig) -> Future[Synthesizer]:
    """The warm synthesizer of these settings, which all calls share; a start that failed is tried again."""

    async def start() -> Synthesizer:
        synthesizer = await asyncio.to_thread(build_synthesizer, config)
        await asyncio.to_thread(prepare, synthesizer)
        await synthesizer.start()
        return synthesizer

    with _starting:
        started = _starts.get(config)
        if started is None or (started.done() and started.exception() is not None):
            started = _starts[config] = _run(start())
        return started


_starting = threading.Lock()
_starts: dict[EngineConfig, Future[Synthesizer]] = {}


def _run(work: Coroutine[Any, Any, Result]) -> Future[Result]:
    return asyncio.run_coroutine_threadsafe(work, _loop())


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """An event loop on a thread of its own, because the caller's may be running or may not exist."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="streamer", daemon=True)
    thread.start()
    atexit.register(_end, loop, thread)
    return loop


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """Cancel what the loop still does, and wait for its thread; called when the interpreter exits."""

    async def cancel_all() -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run_coroutine_threadsafe(cancel_all(), loop).result(EXIT_TIMEOUT_S)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(EXIT_TIMEOUT_S)


def _settings(synthesizer: Synthesizer, options: SpeechOptions) -> SpeechSettings:
    info = synthesizer.info
    voice = options.voice or info.default_voice
    if voice not in info.voices:
        raise VoiceNotFoundError(f"no voice {voice!r}: there are {', '.join(info.voices)}", param="voice")
    options.reading.check(info)
    check_speakers(options.speakers, info.voices)
    if options.continuity not in CONTINUITIES:
        raise InvalidParameterError(
            f"continuity {options.continuity!r}: it is one of {', '.join(CONTINUITIES)}", param="continuity"
        )
    if not MIN_SPEED <= options.speed <= MAX_SPEED:
        message = f"speed {options.speed!r} is not from {MIN_SPEED:g} to {MAX_SPEED:g}"
        raise InvalidParameterError(message, param="speed")
    if options.reading.lexicon is not None:
        options.reading.lexicon.check_phones(info.phones)
    seed = draw_seed() if options.seed is None else options.seed
    return SpeechSettings(
        voice,
        sampling_params({**options.params, "seed": seed}, info.default_params, info.coarse_limits),
        max_audio_s=math.inf,  # a caller who asks for a whole book in their own process means it
        reading=options.reading,
        continuity=options.continuity,
        speakers=options.speakers,
        speed=options.speed,
    )


def _speak(
    text: str, synthesizer: Synthesizer, settings: SpeechSettings
) -> AsyncGenerator[SpeechEvent, None]:
    """The pipeline with its sound as it is: nothing is encoded before the caller asks for it."""
    encoder = create_encoder(AudioFormat("pcm_f32le", synthesizer.info.sample_rate_hz))
    return speak(TextFeed(text), synthesizer, settings, encoder, secrets.token_hex(8))


def _samples(packet: Packet) -> Samples:
    return np.frombuffer(packet.payload, "<f4").copy()  # which the caller may write to


def _engine(model: str | Path | None, chunk_schedule: str) -> EngineConfig:
    # Speech into memory is not played while it is made, so nothing is refused.
    if chunk_schedule not in CHUNK_SCHEDULES:
        raise InvalidParameterError(
            f"chunk_schedule {chunk_schedule!r}: it is one of {', '.join(CHUNK_SCHEDULES)}",
            param="chunk_schedule",
        )
    return EngineConfig(
        model=None if model is None else Path(model), max_load=None, chunk_schedule=chunk_schedule
    )
