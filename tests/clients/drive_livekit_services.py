"""Drives LiveKit's plugins of vendors: `{"service": "deepgram" | "cartesia", "port", "voice", "turns",
"interruptions", "texts"}`.

Reports the bytes of sound of each turn, and the words that had times. Each turn is interrupted some times before it is
spoken to its end. `"client": "http"` asks for whole texts.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import aiohttp
from livekit.agents import tts
from livekit.agents.types import USERDATA_TIMED_TRANSCRIPT
from livekit.plugins import cartesia, deepgram


def service(orders: dict[str, Any], session: aiohttp.ClientSession) -> tts.TTS:
    port, voice = orders["port"], orders["voice"]
    if orders["service"] == "deepgram":
        base_url = f"http://127.0.0.1:{port}/v1/speak"
        return deepgram.TTS(model=voice, api_key="key", base_url=base_url, http_session=session)
    return cartesia.TTS(voice=voice, api_key="key", base_url=f"http://127.0.0.1:{port}", http_session=session)


async def interrupt(client: tts.TTS, text: str) -> None:
    stream = client.stream()
    stream.push_text(text)
    stream.end_input()
    async for _ in stream:
        break
    await stream.aclose()


async def spoken(stream: Any, words: list[str]) -> int:
    num_bytes = 0
    async with stream:
        async for event in stream:
            num_bytes += len(event.frame.data) * 2
            words += [str(word).strip() for word in event.frame.userdata.get(USERDATA_TIMED_TRANSCRIPT, ())]
    return num_bytes


async def run(orders: dict[str, Any]) -> dict[str, Any]:
    lengths, words = [], list[str]()
    async with aiohttp.ClientSession() as session:
        client = service(orders, session)
        for _ in range(orders["turns"]):
            for _ in range(orders["interruptions"]):
                await interrupt(client, orders["texts"][0])
            if orders["client"] == "http":
                stream = client.synthesize(" ".join(orders["texts"][1:]))
            else:
                stream = client.stream()
                for text in orders["texts"][1:]:
                    stream.push_text(text + " ")
                stream.end_input()
            lengths.append(await spoken(stream, words))
        await client.aclose()
    return {"num_bytes": lengths, "words": words}


print(json.dumps(asyncio.run(run(json.loads(sys.argv[1])))))
