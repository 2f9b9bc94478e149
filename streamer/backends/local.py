"""The engine of this process behind the port: asyncio on one side, the engine's thread on the other."""

from __future__ import annotations

import asyncio
import atexit
import logging
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from streamer.backends.model_info import model_info
from streamer.backends.step_spans import StepSpans
from streamer.backends.text_words import TextWords
from streamer.backends.warm_up import fitting_schedule, log_speed, warm_up
from streamer.config import EngineConfig
from streamer.engine.device.cpu_stream import num_cores
from streamer.engine.device.cuda_graphs import CudaRecorder
from streamer.engine.engine import Engine
from streamer.engine.request import Request
from streamer.engine.watchdog import Watchdog
from streamer.errors import ConfigError, InvalidParameterError, StreamerError, TextTooLongError
from streamer.models.files.checkpoint import LoadedModel, load_model
from streamer.sampling import check_windows
from streamer.stages.chain import build_stages, semantic_cap, stream_beside
from streamer.stages.fine_windows import scheduled
from streamer.stages.memory import MemoryPlan, free_memory, plan_memory
from streamer.stages.sentence import SentenceWork
from streamer.synthesis import TOLD_LATE_S, Health, ModelInfo, PcmChunk, SentenceRequest
from streamer.telemetry.traces import NO_SPAN, NO_TRACER, Tracer
from streamer.text.phones import without_phones
from streamer.text.tokens.tokenizer import Tokenizer, load_model_tokenizer
from streamer.voices.library import VoiceLibrary, voice_directories

logger = logging.getLogger(__name__)

SLOWEST_STEPS_TO_HANG = 10
"""How many times the slowest step of the warm-up, whose batches are small, a step may take before it counts as hung."""
EXIT_TIMEOUT_S = 30.0
"""How long the interpreter's exit waits for the step in progress, which may compile."""
OnRecorded = Callable[[int, int], None]
"""Called with the number of steps recorded so far and the number of all, on another thread than the caller's."""


class LocalSynthesizer:
    """Implements `streamer.synthesis.Synthesizer` with an engine on a thread of this process."""

    def __init__(
        self,
        model: LoadedModel,
        tokenizer: Tokenizer,
        voices: VoiceLibrary,
        config: EngineConfig,
        *,
        on_recorded: OnRecorded = lambda _num_recorded, _num_steps: None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        self._has_fixed_schedule = config.chunk_schedule != "auto"
        self._schedule = config.chunk_schedule if self._has_fixed_schedule else "latency"
        fine = scheduled(model.config.fine, self._schedule)
        model = replace(model, config=replace(model.config, fine=fine))
        device = next(model.semantic.parameters()).device
        self._stream = stream_beside(model, config.num_threads)
        plan = plan_memory(model, config.num_slots, *free_memory(device), has_stream=self._stream is not None)
        record = CudaRecorder() if device.type == "cuda" and config.cuda_graphs == "on" else None
        try:
            self._stages = build_stages(model, num_slots=plan.num_slots, record=record, stream=self._stream)
        except torch.OutOfMemoryError as error:
            raise _out_of_memory(plan) from error
        self._engine = Engine[SentenceWork](
            self._stages,
            config,
            num_slots=plan.num_slots,
            sample_rate_hz=model.config.codec.sample_rate_hz,
        )
        self.dtype = config.dtype
        self.model_directory = model.directory
        self.model_config = model.config
        self.voices = voices
        self._plan = plan
        self._tokenizer = tokenizer
        self._hang_limit_s = config.hang_limit_s
        self._on_recorded = on_recorded
        self._tracer = tracer
        self._watchdog: Watchdog | None = None
        self._is_ready = False
        self._info = self._describe()

    @classmethod
    def load(
        cls,
        model_directory: Path,
        config: EngineConfig,
        *,
        shared_voices: Path | None = None,
        on_recorded: OnRecorded = lambda _num_recorded, _num_steps: None,
        tracer: Tracer = NO_TRACER,
    ) -> LocalSynthesizer:
        """Read a model directory with its tokenizer and voices.

        `config` names the device and the dtype themselves (not `auto`); of its directories only `voices_directory` is
        read. See `VoiceLibrary` for `shared_voices`. Raises `CheckpointError` if the model's files are broken, and
        `ConfigError` if the directory of voices does not exist.
        """
        directories = voice_directories(model_directory, config.voices_directory)
        # One core is left to the event loop: with all of them the two compete, and both are slower.
        torch.set_num_threads(config.num_threads or max(1, num_cores() - 1))
        model = load_model(model_directory, device=config.device, dtype=config.dtype)
        tokenizer = load_model_tokenizer(model.config, model.directory)
        voices = VoiceLibrary(directories, model.config, shared=shared_voices)
        return cls(model, tokenizer, voices, config, on_recorded=on_recorded, tracer=tracer)

    @property
    def info(self) -> ModelInfo:
        return self._info

    def reload_voices(self) -> None:
        """Read the directories of voices again; see `VoiceLibrary.reload`."""
        self.voices.reload()
        self._info = self._describe()

    def refresh_voices(self) -> bool:
        """Read the directories of voices again if they have changed; see `VoiceLibrary.refresh`."""
        has_changed = self.voices.refresh()
        if has_changed:
            self._info = self._describe()
        return has_changed

    def count_tokens(self, text: str) -> int:
        """Count the tokens of `text` for the semantic model."""
        return len(self._encode(text))

    async def synthesize(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]:
        """Yield the sentence's audio as it is made; see the port."""
        work = self._work(request)
        if work is None:
            yield PcmChunk(np.zeros(0, np.float32), is_last=True)
            return
        words = TextWords(request.text, self.count_tokens)
        loop = asyncio.get_running_loop()
        # It needs no limit of its own, because the engine parks a request whose audio is not consumed.
        outputs: asyncio.Queue[PcmChunk | StreamerError] = asyncio.Queue()

        def outlet(output: PcmChunk | StreamerError) -> None:
            try:
                loop.call_soon_threadsafe(outputs.put_nowait, output)
            except RuntimeError:  # the event loop was closed, and the engine must not die of it
                logger.debug("audio for a closed event loop was dropped")

        engine_request = Request(
            request.request_id, work, outlet, request.utterance_id, request.sentence_index, request.speed
        )
        engine_request.is_preferred = request.is_preferred
        spans = self._step_spans(request)
        if spans is not None:
            engine_request.on_step = spans.add
        self._engine.submit(engine_request)
        try:
            while True:
                output = await outputs.get()
                if isinstance(output, StreamerError):
                    raise output
                self._engine.consumed(engine_request, len(output.samples))
                if output.is_last and request.wants_history:
                    output = replace(output, history=work.as_voice())
                yield words.told(output, work)
                if output.is_last:
                    return
        finally:
            self._engine.cancel(engine_request)
            if spans is not None:
                spans.record()

    def health(self) -> Health:
        """Not alive once the engine has failed or was found to hang."""
        if (failure := self._engine.failure) is not None:
            return Health(alive=False, ready=False, reason=failure.message)
        capacity = self._engine.capacity
        load, now_s = capacity.load(capacity.num_present + 1), time.monotonic()
        return Health(
            alive=True,
            ready=self._is_ready,
            engine=self._engine.stats(),
            expected_speed=None if load is None else 1 / max(load, 1e-6),
            room=capacity.room(now_s),
            room_soon=capacity.room(now_s + TOLD_LATE_S),
            step_age_s=self._engine.step_age_s(),
        )

    async def start(self) -> None:
        """Record the steps, start the engine, and return once it has spoken a few words for warm-up.

        Raises `ConfigError` if memory runs out.
        """
        # No thread may be inside of C++ when the interpreter exits: the process would be aborted.
        atexit.register(self._stop, EXIT_TIMEOUT_S)
        try:
            await asyncio.to_thread(self._record)
            self._engine.start()
            speed = await warm_up(self, num_slots=self._plan.num_slots, reset_costs=self._engine.reset_costs)
            if not self._has_fixed_schedule:
                self._use_schedule(fitting_schedule(speed))
        except BaseException as error:
            self._stop()
            if isinstance(error, torch.OutOfMemoryError):
                raise _out_of_memory(self._plan) from error
            raise
        logger.info("memory", extra={"plan": str(self._plan), "whole_process": self._plan.process_needs()})
        log_speed(speed)
        self._is_ready = True
        # Only now, because the first steps may take long; and in proportion to how slow this machine is.
        limit_s = max(self._hang_limit_s, SLOWEST_STEPS_TO_HANG * self._engine.slowest_step_s)
        self._watchdog = Watchdog(self._engine, limit_s=limit_s)
        self._watchdog.start()

    async def close(self) -> None:
        """Fail what is open, and end the watchdog and the engine's thread."""
        self._is_ready = False
        await asyncio.to_thread(self._stop)

    def _stop(self, timeout_s: float = 5.0) -> None:
        atexit.unregister(self._stop)
        if self._watchdog is not None:
            self._watchdog.stop()
        if not (self._engine.stop(timeout_s) and (self._stream is None or self._stream.close(timeout_s))):
            logger.error("the engine's thread did not end; it is left behind")

    def _record(self) -> None:
        """Record every step that is to be replayed."""
        recording, num_recorded = self._stages[:3], 0
        num_steps = sum(stage.num_recordings() for stage in recording)

        def count() -> None:
            nonlocal num_recorded
            num_recorded += 1
            self._on_recorded(num_recorded, num_steps)

        for stage in recording:
            stage.record(count)

    def _use_schedule(self, schedule: str) -> None:
        """Make sentences by this schedule from now on, when only those of the warm-up have been made."""
        self._schedule, config = schedule, self.model_config
        self.model_config = replace(config, fine=scheduled(config.fine, schedule))
        self._stages[2].reschedule(self.model_config.fine)
        self._info = self._describe()
        logger.info("chunks of the fine stage: %s, by the measured speed", schedule)

    def _describe(self) -> ModelInfo:
        return model_info(self.model_config, self.voices, self._tokenizer.phones, self._schedule)

    def _step_spans(self, request: SentenceRequest) -> StepSpans | None:
        sentence = self._tracer.continued(request.traceparent) if request.traceparent else NO_SPAN
        return StepSpans(sentence, self._tracer.step_ratio) if sentence.is_recorded else None

    def _encode(self, text: str) -> list[int]:
        return self._tokenizer.encode(" ".join(text.split()))

    def _work(self, request: SentenceRequest) -> SentenceWork | None:
        """Return the engine's work for the request; None if the text contains nothing that this model can say.

        Raises an error for whatever would make the engine fail, and with it every other request.
        """
        check_windows(request.params, self._info.coarse_limits)
        if request.history is not None and (problem := request.history.format_problem(self.model_config)):
            raise InvalidParameterError(f"the history does not fit this model: {problem}")
        voice = request.history or self.voices.get(request.voice, request.utterance_id)
        if request.history is not None and request.keeps_voice:
            max_history = request.params.max_coarse_history
            preset = self.voices.get(request.voice, request.utterance_id)
            voice = preset.followed_by(request.history, self.model_config, max_history)
        tokens = self._encode(request.text)
        if not tokens:
            return None
        if len(tokens) > self._info.max_text_tokens:
            raise TextTooLongError(
                f"a sentence of {len(tokens)} tokens exceeds {self._info.max_text_tokens}", param="text"
            )
        words = without_phones(request.text)
        cap = semantic_cap(words, self.model_config, request.params.max_gen_duration_s)
        return SentenceWork(
            self.model_config,
            tokens,
            voice,
            request.params,
            sentence_index=request.sentence_index,
            max_semantic_tokens=cap,
        )


def _out_of_memory(plan: MemoryPlan) -> ConfigError:
    return ConfigError(
        f"memory ran out; planned were {plan}: lower num_slots, or use a smaller model or dtype",
        param="num_slots",
    )
