"""The engine of this process behind the port: asyncio on one side, the engine's thread on the other."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress

from streamer.backends.warm_up import warm_up
from streamer.engine.device.cuda_graphs import CudaRecorder
from streamer.engine.engine import Engine
from streamer.engine.figures import figures
from streamer.engine.request import Request
from streamer.engine.watchdog import Watchdog
from streamer.errors import (
    ConfigError,
    InvalidParameterError,
    StreamerError,
    TextTooLongError,
)
from streamer.models.files.checkpoint import LoadedModel, load_model
from streamer.sampling import check_windows
from streamer.stages.chain import build_stages, semantic_cap
from streamer.stages.memory import MemoryPlan, free_memory, plan_memory
from streamer.stages.sentence import SentencePrompt, SentenceWork
from streamer.synthesis import CoarseLimits, Health, ModelInfo, PcmChunk, SamplingParams, SentenceRequest
from streamer.text.tokens.tokenizer import Tokenizer, load_model_tokenizer
from streamer.voices.library import VoiceLibrary, voice_directories

logger = logging.getLogger(__name__)

SLOWEST_STEPS_TO_HANG = 10
"""A full batch may take this many times as long as the slowest step of the warm-up, which has a few rows."""


@dataclass(slots=True, eq=False)
class _Stream:
    """Carries a request's sound from the engine's thread to the event loop: the engine's `Outlet`.

    The queue needs no limit of its own: the engine parks a request whose sound is not fetched.
    """

    loop: asyncio.AbstractEventLoop
    queue: asyncio.Queue[PcmChunk | StreamerError] = field(default_factory=asyncio.Queue)

    def deliver(self, chunk: PcmChunk) -> None:
        self._put(chunk)

    def fail(self, error: StreamerError) -> None:
        self._put(error)

    def _put(self, item: PcmChunk | StreamerError) -> None:
        try:
            self.loop.call_soon_threadsafe(self.queue.put_nowait, item)
        except RuntimeError:
            # The loop was closed: nobody listens any more, and the engine must not die of it.
            logger.debug("sound for a closed event loop was dropped")


class LocalSynthesizer:
    """Implements `streamer.synthesis.Synthesizer` with an engine on a thread of this process."""

    def __init__(
        self,
        model: LoadedModel,
        tokenizer: Tokenizer,
        voices: VoiceLibrary,
        *,
        num_slots: int | None = None,
        generate_ahead_s: float = 8.0,
        max_waiting: int = 256,
        hang_limit_s: float = 15.0,
        max_load: float | None = None,
        cuda_graphs: bool = True,
    ) -> None:
        device = next(model.semantic.parameters()).device
        free_bytes, total_bytes = free_memory(device)
        plan = plan_memory(model, num_slots, free_bytes=free_bytes, total_bytes=total_bytes)
        record = CudaRecorder() if device.type == "cuda" and cuda_graphs else None
        try:
            self._stages = build_stages(model, num_slots=plan.num_slots, record=record)
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(plan) from error
        self._plan = plan
        self._config = config = model.config
        self._tokenizer = tokenizer
        self._voices = voices
        self._engine = Engine[SentenceWork](
            self._stages,
            num_slots=plan.num_slots,
            sample_rate_hz=config.codec.sample_rate_hz,
            generate_ahead_s=generate_ahead_s,
            max_waiting=max_waiting,
            max_load=max_load,
        )
        self._hang_limit_s = hang_limit_s
        self._watchdog: Watchdog | None = None
        self._ids = itertools.count()
        self._is_ready = False
        self._info = ModelInfo(
            name=config.name,
            sample_rate_hz=config.codec.sample_rate_hz,
            default_voice=voices.default,
            voices=voices.names,
            languages=config.languages,
            tags=config.tags,
            max_text_tokens=config.semantic.text_context,
            default_params=SamplingParams(
                seed=0,
                text_temp=config.sampling.text_temp,
                waveform_temp=config.sampling.waveform_temp,
                fine_temp=config.sampling.fine_temp,
                min_eos_p=config.sampling.min_eos_p,
            ),
            coarse_limits=CoarseLimits(
                config.coarse.max_history,
                config.coarse.window,
                config.coarse.transformer.block_size - config.coarse.semantic_context,
            ),
            note=config.note,
            normalizes_text=config.normalize_text,
        )

    @classmethod
    def load(
        cls,
        model_directory: Path,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        num_slots: int | None = None,
        num_threads: int | None = None,
        voices_directory: Path | None = None,
        shared_voices: Path | None = None,
        generate_ahead_s: float = 8.0,
        hang_limit_s: float = 15.0,
        max_load: float | None = None,
        cuda_graphs: bool = True,
        is_whole: bool = False,
    ) -> LocalSynthesizer:
        """Read a model directory with tokenizer and voices; `voices_directory`, `shared_voices`: see `VoiceLibrary`.

        `is_whole`: see `FineConfig`.

        Raises `CheckpointError` where it is broken, `ConfigError` for a `voices_directory` that is not there.
        """
        directories = voice_directories(model_directory, voices_directory)
        # One core is left to the event loop: with all of them the two fight, and both are slower.
        torch.set_num_threads(num_threads or max(1, len(os.sched_getaffinity(0)) - 1))
        model = load_model(model_directory, device=device, dtype=dtype)
        if is_whole:
            model = replace(
                model, config=replace(model.config, fine=replace(model.config.fine, is_whole=True))
            )
        tokenizer = load_model_tokenizer(model.config, model.directory)
        return cls(
            model,
            tokenizer,
            VoiceLibrary(directories, model.config, shared=shared_voices),
            num_slots=num_slots,
            generate_ahead_s=generate_ahead_s,
            hang_limit_s=hang_limit_s,
            max_load=max_load,
            cuda_graphs=cuda_graphs,
        )

    @property
    def info(self) -> ModelInfo:
        return self._info

    def count_tokens(self, text: str) -> int:
        """Tokens of `text` for the semantic model."""
        return len(self._encode(text))

    async def synthesize(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]:
        """Yield the sentence's sound as it is made; see the port."""
        work = self._work(request)
        if work is None:
            yield PcmChunk(np.zeros(0, np.float32), is_last=True)
            return
        stream = _Stream(asyncio.get_running_loop())
        request_id = f"{request.request_id}#{next(self._ids)}"
        self._engine.submit(Request(request_id, work, stream, request.utterance_id, request.sentence_index))
        try:
            while True:
                item = await stream.queue.get()
                if isinstance(item, StreamerError):
                    raise item
                self._engine.consumed(request_id, len(item.samples))
                if item.is_last and request.wants_history:
                    item = replace(item, history=work.as_voice())
                yield item
                if item.is_last:
                    return
        finally:
            self._engine.cancel(request_id)

    def health(self) -> Health:
        """Not alive once the engine has died, or was found hanging."""
        death = self._engine.death
        if death is not None:
            return Health(alive=False, ready=False, reason=death.message)
        return Health(alive=True, ready=self._is_ready, engine=figures(self._engine))

    def expected_speed(self) -> float | None:
        """For one listener more than there are now."""
        capacity = self._engine.capacity
        load = capacity.load(capacity.num_present + 1)
        return None if load is None else 1 / max(load, 1e-6)

    async def start(self) -> None:
        """Record steps, start the engine, speak a word to nobody, and return once its first sound was made.

        Raises `ConfigError` where memory runs out.
        """
        try:
            await asyncio.to_thread(self._record)
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(self._plan) from error
        logger.info("memory", extra={"plan": str(self._plan)})
        self._engine.start()
        await warm_up(self, num_slots=self._plan.num_slots, reset_costs=self._engine.reset_costs)
        self._is_ready = True
        # Only now, because first steps may take long; and never stricter than this machine is slow.
        limit_s = max(self._hang_limit_s, SLOWEST_STEPS_TO_HANG * self._engine.slowest_step_s)
        self._watchdog = Watchdog(self._engine, limit_s=limit_s)
        self._watchdog.start()

    async def close(self) -> None:
        """Cancel what runs, end the watchdog and the engine's thread."""
        self._is_ready = False
        if self._watchdog is not None:
            self._watchdog.stop()
        if not await asyncio.to_thread(self._engine.stop):
            logger.error("the engine's thread did not end; it is left behind")

    def _record(self) -> None:
        """Record every step that is to be replayed, with a progress bar for whoever looks."""
        recording = self._stages[:3]
        num_steps = sum(stage.num_recordings() for stage in recording)
        with Progress(console=Console(stderr=True), transient=True, disable=num_steps == 0) as progress:
            task = progress.add_task("recording steps", total=num_steps)
            for stage in recording:
                stage.record(lambda: progress.advance(task))

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(" ".join(text.split()))

    def _work(self, request: SentenceRequest) -> SentenceWork | None:
        """What the engine is to do; nothing where the text has nothing that this model can say.

        What would bring the engine down, and with it everybody, is refused here, whoever asks.
        """
        check_windows(request.params, self._info.coarse_limits)
        if request.history is not None and (problem := request.history.format_problem(self._config)):
            raise InvalidParameterError(f"the history does not fit this model: {problem}")
        voice = request.history or self._voices.get(request.voice)
        if request.history is not None and request.keeps_voice:
            max_history = request.params.max_coarse_history
            voice = self._voices.get(request.voice).followed_by(request.history, self._config, max_history)
        tokens = self._encode(request.text)
        if not tokens:
            return None
        if len(tokens) > self._info.max_text_tokens:
            raise TextTooLongError(
                f"a sentence of {len(tokens)} tokens exceeds {self._info.max_text_tokens}", param="text"
            )
        cap = semantic_cap(request.text, self._config, request.params.max_gen_duration_s)
        prompt = SentencePrompt(tuple(tokens), voice, request.params, request.sentence_index, cap)
        return SentenceWork(prompt, self._config)


def _out_of_memory(plan: MemoryPlan) -> ConfigError:
    return ConfigError(
        f"memory ran out; planned were {plan}: lower num_slots, or take a smaller model or dtype",
        param="num_slots",
    )
