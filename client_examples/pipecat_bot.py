# /// script
# requires-python = ">=3.11"
# dependencies = ["pipecat-ai"]
# ///
"""A pipecat bot that speaks with streamer: what you type is answered aloud into a WAV file, and typing interrupts it.

python pipecat_bot.py bot.wav
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import wave
from pathlib import Path

from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    OutputAudioRawFrame,
    StartFrame,
    TranscriptionFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.tts import OpenAITTSService
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

SAMPLE_RATE_HZ = 24_000  # OpenAITTSService takes 24 kHz for whatever rate the pipeline has


class Bot(FrameProcessor):
    """Answers as a language model does, word by word; a real bot has its LLM service here."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if not isinstance(frame, TranscriptionFrame):
            await self.push_frame(frame, direction)
            return
        print(f"> {frame.text}", flush=True)
        await self.push_frame(LLMFullResponseStartFrame())
        for (
            word
        ) in f"You said: {frame.text}. That is what I heard, and I say it again: {frame.text}.".split():
            await self.push_frame(LLMTextFrame(f"{word} "))
        await self.push_frame(LLMFullResponseEndFrame())


class Recorder(BaseOutputTransport):
    """Writes what is heard into a WAV file, at the pace of a loudspeaker; a real bot's transport is its output."""

    def __init__(self, file: wave.Wave_write) -> None:
        super().__init__(TransportParams(audio_out_enabled=True))
        self._file = file

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        self._file.writeframes(frame.audio)
        await asyncio.sleep(frame.num_frames / frame.sample_rate)
        return True


async def listen(worker: PipelineWorker) -> None:
    """Give each line that is typed to the bot; a real bot has its transport's input and an STT service for this."""
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        await worker.queue_frames([InterruptionFrame(), TranscriptionFrame(line, "me", "")])
    await worker.queue_frame(EndFrame())  # after what is being said


async def converse(url: str, path: Path) -> None:
    tts = OpenAITTSService(
        base_url=url,
        api_key="any",
        sample_rate=SAMPLE_RATE_HZ,
        settings=OpenAITTSService.Settings(model="tts-1", voice="alloy"),
    )
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", "not compressed"))
        worker = PipelineWorker(
            Pipeline([Bot(), tts, Recorder(file)]),
            params=PipelineParams(audio_out_sample_rate=SAMPLE_RATE_HZ),
        )
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(runner.run())
            tasks.create_task(listen(worker))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path, help="WAV file to write")
    parser.add_argument("--url", default="http://localhost:8765/v1")
    arguments = parser.parse_args()
    logger.remove()
    logger.add(sys.stderr, level="WARNING")
    asyncio.run(converse(arguments.url, arguments.file))


if __name__ == "__main__":
    main()
