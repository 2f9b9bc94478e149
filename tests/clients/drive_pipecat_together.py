"""Drives pipecat's TogetherTTSService; orders as those of `drive_pipecat_elevenlabs`, without words."""

import asyncio
import json
import sys

from loguru import logger
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    EndFrame,
    ErrorFrame,
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
from pipecat.services.together.tts import TogetherTTSService
from pipecat.workers.runner import WorkerRunner

ORDERS = json.loads(sys.argv[1])
logger.remove()
logger.add(sys.stderr, level=ORDERS.get("log", "WARNING"))


class Listener(FrameProcessor):
    """Hears what comes out of the service, and tells it when a turn was heard, as a transport does."""

    def __init__(self):
        super().__init__()
        self.errors = []
        self.begin()

    def begin(self):
        self.num_samples, self.num_stops = 0, 0
        self.has_sound, self.has_stopped = asyncio.Event(), asyncio.Event()

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.num_samples += len(frame.audio) // 2
            self.has_sound.set()
        elif isinstance(frame, ErrorFrame):
            self.errors.append(frame.error)
        elif isinstance(frame, TTSStoppedFrame):
            self.num_stops += 1
            self.has_stopped.set()
            await self.push_frame(BotStoppedSpeakingFrame(), FrameDirection.UPSTREAM)
        await self.push_frame(frame, direction)


async def converse(worker, listener):
    turns = []
    for number, pieces in enumerate(ORDERS["turns"]):
        listener.begin()
        is_cut = number in ORDERS["while_writing"]
        await worker.queue_frame(LLMFullResponseStartFrame())
        for piece in pieces:
            await worker.queue_frame(LLMTextFrame(piece))
        if not is_cut:
            await worker.queue_frame(LLMFullResponseEndFrame())
        async with asyncio.timeout(20):
            await listener.has_sound.wait()
            if is_cut or number in ORDERS["while_speaking"]:
                await worker.queue_frame(InterruptionFrame())
                await asyncio.sleep(0.3)
            else:
                await listener.has_stopped.wait()
                await asyncio.sleep(0.1)
        turns.append({"samples": listener.num_samples, "stops": listener.num_stops})
    await worker.queue_frame(EndFrame())
    return turns


async def main():
    service = TogetherTTSService(
        api_key="any",
        url=f"ws://127.0.0.1:{ORDERS['port']}/v1/audio/speech/websocket",
        settings=TogetherTTSService.Settings(voice=ORDERS["voice"]),
    )
    listener = Listener()
    worker = PipelineWorker(
        Pipeline([service, listener]), params=PipelineParams(audio_out_sample_rate=24_000)
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    _, turns = await asyncio.gather(runner.run(), converse(worker, listener))
    print(json.dumps({"turns": turns, "errors": listener.errors}))


asyncio.run(main())
