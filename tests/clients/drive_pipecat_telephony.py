"""Reads a call's media stream with pipecat's serializers, as a telephone; orders: `vendor`, `start`."""

import asyncio
import json
import sys
from types import SimpleNamespace

from pipecat.frames.frames import InputAudioRawFrame
from pipecat.serializers.telnyx import TelnyxFrameSerializer
from pipecat.serializers.twilio import TwilioFrameSerializer
from websockets.asyncio.client import connect

RATE_HZ = 8000


def serializer(vendor, encoding):
    if vendor == "twilio":
        params = TwilioFrameSerializer.InputParams(sample_rate=RATE_HZ, auto_hang_up=False)
        return TwilioFrameSerializer("MZ1", params=params)
    params = TelnyxFrameSerializer.InputParams(sample_rate=RATE_HZ, auto_hang_up=False)
    return TelnyxFrameSerializer("32DE", encoding, encoding, params=params)


async def main():
    orders = json.loads(sys.argv[1])
    reader = serializer(orders["vendor"], orders["encoding"])
    await reader.setup(SimpleNamespace(audio_in_sample_rate=RATE_HZ))
    pcm, others = bytearray(), []
    async with connect(f"ws://127.0.0.1:{orders['port']}/v1/telephony", proxy=None) as phone:
        await phone.send(json.dumps({"event": "start", **orders["start"]}))
        async for message in phone:
            frame = await reader.deserialize(message)
            if isinstance(frame, InputAudioRawFrame):
                pcm += frame.audio
            else:
                others.append(message)
                await phone.send(message)  # the mark has been played
    print(json.dumps({"pcm": pcm.hex(), "others": others}))


asyncio.run(main())
