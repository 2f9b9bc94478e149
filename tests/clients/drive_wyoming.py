"""Speaks turns with Home Assistant's `wyoming` package; each turn has `text`, `is_streamed` and `hangs_up`."""

import asyncio
import json
import sys

from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.info import Describe, Info
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)


async def describe(port):
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Describe().event())
        (program,) = Info.from_event(await client.read_event()).tts
        return [voice.name for voice in program.voices], program.supports_synthesize_streaming


async def write(client, turn, voice):
    """Send a turn as Home Assistant does."""
    voice = SynthesizeVoice(name=voice)
    if turn["is_streamed"]:
        await client.write_event(SynthesizeStart(voice=voice).event())
        for word in turn["text"].split(" "):
            await client.write_event(SynthesizeChunk(text=word + " ").event())
    await client.write_event(Synthesize(text=turn["text"], voice=voice).event())
    if turn["is_streamed"]:
        await client.write_event(SynthesizeStop().event())


async def speak(port, turn, voice):
    """Return what came of a turn; one that hangs up does so at the first sound, as Home Assistant interrupts."""
    heard = {"ms": 0, "starts": 0, "ends": 0, "errors": []}
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await write(client, turn, voice)
        while (event := await client.read_event()) is not None:
            if AudioStart.is_type(event.type):
                heard["starts"] += 1
            elif AudioChunk.is_type(event.type):
                heard["ms"] += AudioChunk.from_event(event).milliseconds
                if turn["hangs_up"]:
                    break
            elif Error.is_type(event.type):
                heard["errors"].append(Error.from_event(event).text)
            elif AudioStop.is_type(event.type) or SynthesizeStopped.is_type(event.type):
                heard["ends"] += 1
                if SynthesizeStopped.is_type(event.type) or not turn["is_streamed"]:
                    break
    return heard


async def main():
    orders = json.loads(sys.argv[1])
    voices, is_streaming = await describe(orders["port"])
    turns = [await speak(orders["port"], turn, voices[0]) for turn in orders["turns"]]
    print(json.dumps({"voices": voices, "supports_streaming": is_streaming, "turns": turns}))


asyncio.run(main())
