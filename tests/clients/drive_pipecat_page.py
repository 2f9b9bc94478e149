"""pipecat speaks with the service `tts` that a page's snippet makes, in a pipeline of any rate.

Orders: `snippet`, `rate_hz` and `text`. The report has the length of the sound in seconds, by the rates of its frames.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from loguru import logger
from pipecat.frames.frames import EndFrame, Frame, TTSAudioRawFrame, TTSSpeakFrame, TTSStoppedFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.workers.runner import WorkerRunner

orders = json.loads(sys.argv[1])


class Sink(FrameProcessor):
    """Adds up the sound."""

    def __init__(self) -> None:
        super().__init__()
        self.length_s = 0.0
        self.has_ended = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.length_s += len(frame.audio) / 2 / frame.sample_rate
        elif isinstance(frame, TTSStoppedFrame):
            self.has_ended.set()
        await self.push_frame(frame, direction)


async def main() -> None:
    logger.remove()
    names: dict[str, Any] = {}
    exec(orders["snippet"], names)
    sink = Sink()
    params = PipelineParams(audio_out_sample_rate=orders["rate_hz"])
    worker = PipelineWorker(Pipeline([names["tts"], sink]), params=params)
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    async with asyncio.TaskGroup() as tasks, asyncio.timeout(30):
        tasks.create_task(runner.run())
        await worker.queue_frame(TTSSpeakFrame(orders["text"]))
        await sink.has_ended.wait()
        await worker.queue_frame(EndFrame())
    print(json.dumps({"length_s": sink.length_s}))


asyncio.run(main())
