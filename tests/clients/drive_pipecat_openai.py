"""pipecat's OpenAITTSService, in a pipeline, speaks what a language model writes, and is interrupted as by a person."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.workers.runner import WorkerRunner

SAMPLE_RATE_HZ = 24_000
orders = json.loads(sys.argv[1])


class Sink(FrameProcessor):
    """Keeps the sound of a turn; `news` is set by each frame that may change what is to be done."""

    def __init__(self) -> None:
        super().__init__()
        self.sound = bytearray()
        self.num_ended = 0
        self.errors: list[str] = []
        self.news = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            assert frame.sample_rate == SAMPLE_RATE_HZ and frame.num_channels == 1
            self.sound += frame.audio
        self.num_ended += isinstance(frame, (TTSStoppedFrame, InterruptionFrame))
        if isinstance(frame, ErrorFrame):
            self.errors.append(frame.error)
        self.news.set()
        await self.push_frame(frame, direction)

    async def until(self, is_so) -> None:
        async with asyncio.timeout(30):
            while not is_so():
                self.news.clear()
                await self.news.wait()


async def speak(worker: PipelineWorker, sink: Sink) -> list[dict[str, float | None]]:
    told = []
    for number, turn in enumerate(orders["turns"]):
        sink.sound.clear()
        num_ended, stopped_at = sink.num_ended, None
        words = [LLMTextFrame(f"{word} ") for word in turn["text"].split(" ")]
        await worker.queue_frames([LLMFullResponseStartFrame(), *words, LLMFullResponseEndFrame()])
        if turn["is_interrupted"]:
            await sink.until(lambda: len(sink.sound) >= orders["stop_after_s"] * SAMPLE_RATE_HZ * 2)
            stopped_at = time.time()
            await worker.queue_frame(InterruptionFrame())
        await sink.until(lambda before=num_ended: sink.num_ended > before)
        Path(orders["folder"], f"{number}.pcm").write_bytes(sink.sound)
        told.append({"stopped_at": stopped_at})
    await worker.queue_frame(EndFrame())
    return told


async def main() -> None:
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    tts = OpenAITTSService(
        base_url=f"http://127.0.0.1:{orders['port']}/v1",
        api_key="any",
        settings=OpenAITTSService.Settings(model=orders["model"], voice="alloy"),
    )
    sink = Sink()
    worker = PipelineWorker(
        Pipeline([tts, sink]), params=PipelineParams(audio_out_sample_rate=SAMPLE_RATE_HZ)
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(runner.run())
        speaking = tasks.create_task(speak(worker, sink))
    print(json.dumps({"turns": speaking.result(), "errors": sink.errors}))


asyncio.run(main())
