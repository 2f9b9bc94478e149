"""Drives pipecat's services of vendors: `{"service": "deepgram" | "cartesia", "port", "voice", "turns",
"interruptions", "texts"}`.

Reports the bytes of sound of each turn, and the words that had times. Each turn is interrupted some times before it is
spoken to its end, as a user's voice interrupts a bot.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.cartesia.tts import CartesiaTTSService
from pipecat.services.deepgram.tts import DeepgramTTSService
from pipecat.workers.runner import WorkerRunner

PAUSE_S = 0.3
"""What a user needs to interrupt a bot, and a bot to answer: sound of a Deepgram turn carries no name of its turn."""


class Sink(FrameProcessor):
    """Collects what a transport would play."""

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes = 0
        self.words: list[str] = []
        self.is_heard, self.is_over = asyncio.Event(), asyncio.Event()

    def begin(self) -> None:
        self.num_bytes = 0
        self.words = []
        self.is_heard.clear()
        self.is_over.clear()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.num_bytes += len(frame.audio)
            self.is_heard.set()
        elif isinstance(frame, TTSStoppedFrame):
            self.is_over.set()
        elif isinstance(frame, TTSTextFrame):
            self.words.append(frame.text)
        await self.push_frame(frame, direction)


def service(orders: dict[str, Any]) -> Any:
    address, voice = f"ws://127.0.0.1:{orders['port']}", orders["voice"]
    if orders["service"] == "deepgram":
        settings = DeepgramTTSService.Settings(voice=voice)
        return DeepgramTTSService(api_key="key", base_url=address, sample_rate=24000, settings=settings)
    settings = CartesiaTTSService.Settings(voice=voice)
    url = f"{address}/tts/websocket"
    return CartesiaTTSService(api_key="key", url=url, sample_rate=24000, settings=settings)


async def say(worker: PipelineWorker, *texts: str) -> None:
    """Have the bot's language model write these texts."""
    await worker.queue_frame(LLMFullResponseStartFrame())
    for text in texts:
        await worker.queue_frame(LLMTextFrame(text + " "))
    await worker.queue_frame(LLMFullResponseEndFrame())


async def talk(worker: PipelineWorker, sink: Sink, orders: dict[str, Any]) -> dict[str, Any]:
    lengths, words = [], list[str]()
    for _ in range(orders["turns"]):
        for _ in range(orders["interruptions"]):
            sink.begin()
            await say(worker, orders["texts"][0])
            await sink.is_heard.wait()
            await worker.queue_frame(InterruptionFrame())
            await asyncio.sleep(PAUSE_S)
        sink.begin()
        await say(worker, *orders["texts"][1:])
        await sink.is_over.wait()
        lengths.append(sink.num_bytes)
        words += sink.words
    await worker.queue_frame(EndFrame())
    return {"num_bytes": lengths, "words": words}


async def run(orders: dict[str, Any]) -> dict[str, Any]:
    sink = Sink()
    pipeline = Pipeline([service(orders), sink])
    worker = PipelineWorker(pipeline, params=PipelineParams(audio_out_sample_rate=24000))
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    report = await talk(worker, sink, orders)
    await running
    return report


logger.remove()
logger.add(sys.stderr, level="WARNING")
print(json.dumps(asyncio.run(run(json.loads(sys.argv[1])))))
