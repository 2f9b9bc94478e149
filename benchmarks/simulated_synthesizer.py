"""A synthesizer whose model only takes time: the real engine and admission, over the stages of a simulated machine.

`fairness.py` runs the real server over it, so that its figures depend on the machine they are measured on as little as
possible: a step sleeps as long as it would take, and its sound is a tone.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import AsyncGenerator
from multiprocessing.connection import Connection
from typing import Final

import numpy as np

from benchmarks.simulated_machine import (
    MACHINES,
    SAMPLE_RATE_HZ,
    Clock,
    Coarse,
    Codec,
    Fine,
    Semantic,
    Sentence,
)
from streamer.config import Config, EngineConfig
from streamer.engine.engine import Engine
from streamer.engine.request import Request
from streamer.errors import StreamerError
from streamer.server.app import Server
from streamer.stages.coarse_windows import CoarseWindows
from streamer.synthesis import Health, ModelInfo, PcmChunk, SentenceRequest

SECONDS_PER_CHAR: Final = 0.065
SHORTEST_S: Final = 0.6
OUTPUT_HZ: Final = 24_000
NUM_SLOTS, MAX_ROWS, MAX_CODEC_ROWS = 16, 64, 16
WARM_UP_TEXT: Final = "One, two, three, four, five, six, seven."


class SleepingClock(Clock):
    """A clock whose time is real, and is spent asleep."""

    def spend(self, milliseconds: float) -> None:
        time.sleep(milliseconds / 1000)


class SimulatedSynthesizer:
    """Implements `streamer.synthesis.Synthesizer` with the engine of a simulated machine, in real time."""

    def __init__(self, machine_name: str, config: EngineConfig) -> None:
        self._machine = machine = MACHINES[machine_name]
        clock = SleepingClock()
        self._windows = CoarseWindows.from_config(machine.config)
        self._engine = Engine[Sentence](
            (
                Semantic(machine, clock, MAX_ROWS),
                Coarse(machine, clock, MAX_ROWS),
                Fine(machine, clock, machine.max_fine_rows),
                Codec(machine, clock, MAX_CODEC_ROWS),
            ),
            config,
            num_slots=NUM_SLOTS,
            sample_rate_hz=SAMPLE_RATE_HZ,
        )

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("simulated", OUTPUT_HZ, "one", ("one",), ("en",), (), 256)

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def health(self) -> Health:
        return Health(
            alive=True,
            ready=True,
            engine=self._engine.stats(),
            room=self._engine.capacity.room(time.monotonic()),
        )

    async def start(self) -> None:
        """Start the engine, and let it learn its costs as a warm-up does: by one sentence, and by four at once."""
        self._engine.start()
        for num_sentences in (1, 4):
            async with asyncio.TaskGroup() as tasks:
                for number in range(num_sentences):
                    tasks.create_task(self._speak(f"warm-up {num_sentences}.{number}"))

    async def close(self) -> None:
        await asyncio.to_thread(self._engine.stop)

    async def synthesize(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]:
        duration_s = max(SHORTEST_S, len(request.text) * SECONDS_PER_CHAR)
        num_semantic = round(duration_s * self._machine.config.semantic.rate_hz)
        work = Sentence(self._machine.config, self._windows, num_semantic, request.sentence_index)
        loop, outputs = asyncio.get_running_loop(), asyncio.Queue[PcmChunk | StreamerError]()

        def outlet(output: PcmChunk | StreamerError) -> None:
            loop.call_soon_threadsafe(outputs.put_nowait, output)

        asked = Request(request.request_id, work, outlet, request.utterance_id, request.sentence_index)
        asked.is_preferred = request.is_preferred
        self._engine.submit(asked)
        try:
            while True:
                output = await outputs.get()
                if isinstance(output, StreamerError):
                    raise output
                self._engine.consumed(asked, len(output.samples))
                yield PcmChunk(_tone(len(output.samples)), is_last=output.is_last)
                if output.is_last:
                    return
        finally:
            self._engine.cancel(asked)

    async def _speak(self, name: str) -> None:
        request = SentenceRequest(name, WARM_UP_TEXT, "one", self.info.default_params, sentence_index=1)
        async for _ in self.synthesize(request):
            pass


def serve(pipe: Connection, machine_name: str, config: Config) -> None:
    """Run a server over a simulated machine, until the other end of the pipe says so; reports its port."""

    async def run() -> None:
        server = Server(config, SimulatedSynthesizer(machine_name, config.engine))
        await server.start()
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(server.run_until_stopped())
            pipe.send(server.port)
            await asyncio.to_thread(pipe.recv)
            server.stop()
            server.stop()
            await running

    asyncio.run(run())


def start(machine_name: str, config: Config) -> tuple[Connection, int]:
    """Start `serve` in a process of its own; returns the pipe that stops it, and the port."""
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    context = multiprocessing.get_context("spawn")
    context.Process(target=serve, args=(theirs, machine_name, config), daemon=True).start()
    port: int = ours.recv()
    return ours, port


def _tone(num_samples: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    time_s = np.arange(num_samples * OUTPUT_HZ // SAMPLE_RATE_HZ) / OUTPUT_HZ
    return (0.3 * np.sin(2 * np.pi * 220 * time_s)).astype(np.float32)
