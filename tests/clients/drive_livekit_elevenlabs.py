"""Drives LiveKit's plugin for ElevenLabs, untouched; run by `driving`.

Orders: `port`, `voice`, `encoding` (null for the plugin's own choice), `turns` (lists of pieces of a text), and what
interrupts a turn: `while_writing` (numbers of turns whose text does not end) and `while_speaking` (of turns whose text
was complete). A turn's report has its length in seconds and its words; `synthesized` is one text over HTTP.
"""

import asyncio
import json
import sys

import aiohttp
from livekit.plugins import elevenlabs

ORDERS = json.loads(sys.argv[1])


async def speak(service, number, pieces):
    length_s, words = 0.0, []
    is_cut = number in ORDERS["while_writing"]
    stream = service.stream()
    for piece in pieces:
        stream.push_text(piece)
    if not is_cut:
        stream.end_input()
    async with asyncio.timeout(20):
        async for event in stream:
            length_s += event.frame.duration
            words += [
                {"text": str(word), "start": word.start_time}
                for word in event.frame.userdata.get("lk.timed_transcripts", [])
            ]
            if is_cut or number in ORDERS["while_speaking"]:
                break
    await stream.aclose()
    return {"length_s": length_s, "words": words}


async def main():
    async with aiohttp.ClientSession() as session:
        given = {"encoding": ORDERS["encoding"]} if ORDERS["encoding"] else {}
        service = elevenlabs.TTS(
            api_key="any",
            base_url=f"http://127.0.0.1:{ORDERS['port']}/v1",
            voice_id=ORDERS["voice"],
            http_session=session,
            **given,
        )
        turns = [await speak(service, number, pieces) for number, pieces in enumerate(ORDERS["turns"])]
        whole = await service.synthesize("".join(ORDERS["turns"][0])).collect()
        voices = [voice.id for voice in await service.list_voices()]
        await service.aclose()
    print(json.dumps({"turns": turns, "synthesized": whole.duration, "voices": voices}))


asyncio.run(main())
