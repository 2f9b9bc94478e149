# /// script
# requires-python = ">=3.11"
# dependencies = ["livekit-agents", "livekit-plugins-openai"]
# ///
"""A LiveKit agent that speaks with streamer: what you type is answered aloud into a WAV file; typing interrupts it.

It needs neither a LiveKit server nor an account: its session has a file where the loudspeaker of a room would be.

python livekit_agent.py agent.wav
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import wave
from collections.abc import AsyncIterator
from pathlib import Path

from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice.io import AudioOutput, AudioOutputCapabilities
from livekit.plugins import openai

SAMPLE_RATE_HZ = 24_000


class Recorder(AudioOutput):
    """Writes what is heard into a WAV file, at the pace of a loudspeaker; in a room this is the agent's track."""

    def __init__(self, file: wave.Wave_write) -> None:
        capabilities = AudioOutputCapabilities(pause=False)
        super().__init__(label="file", capabilities=capabilities, sample_rate=SAMPLE_RATE_HZ)
        self._file = file
        self._frames: asyncio.Queue[rtc.AudioFrame | None] = asyncio.Queue()  # None ends a speech
        self._is_interrupted = False

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        self._frames.put_nowait(frame)

    def flush(self) -> None:
        super().flush()
        self._frames.put_nowait(None)

    def clear_buffer(self) -> None:
        self._is_interrupted = True

    async def play(self) -> None:
        """Play until cancelled; the session is told how much of each speech was heard."""
        heard_s = 0.0
        while True:
            frame = await self._frames.get()
            if frame is None:
                if self.captured_playout_segments:
                    self.on_playback_finished(playback_position=heard_s, interrupted=self._is_interrupted)
                heard_s, self._is_interrupted = 0.0, False
            elif not self._is_interrupted:
                if not heard_s:
                    self.on_playback_started(created_at=time.time())
                self._file.writeframes(frame.data)
                heard_s += frame.duration
                await asyncio.sleep(frame.duration)


async def answer(question: str) -> AsyncIterator[str]:
    """Yield an answer as a language model does, word by word; a real agent has `llm=` in its session."""
    for word in f"You said: {question}. That is what I heard, and I say it again: {question}.".split():
        yield f"{word} "


async def converse(url: str, path: Path) -> None:
    # PCM: LiveKit's decoder drops the first packet of Opus and FLAC.
    tts = openai.TTS(base_url=url, api_key="any", model="tts-1", voice="alloy", response_format="pcm")
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", "not compressed"))
        recorder = Recorder(file)
        turns = {"interruption": {"resume_false_interruption": False}}  # this output cannot pause
        session = AgentSession(tts=tts, turn_handling=turns)
        async with tts, session, asyncio.TaskGroup() as tasks:
            playing = tasks.create_task(recorder.play())
            session.output.audio = recorder
            await session.start(Agent(instructions=""))
            speech = None
            while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
                await session.interrupt()
                if speech is not None:
                    print("(interrupted)" if speech.interrupted else "(all heard)", flush=True)
                print(f"> {line}", flush=True)
                speech = session.say(answer(line))
            if speech is not None:
                await speech.wait_for_playout()
            playing.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path, help="WAV file to write")
    parser.add_argument("--url", default="http://localhost:8765/v1")
    arguments = parser.parse_args()
    asyncio.run(converse(arguments.url, arguments.file))


if __name__ == "__main__":
    main()
