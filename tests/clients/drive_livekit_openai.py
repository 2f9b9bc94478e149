"""LiveKit's plugin for OpenAI speaks the turns of a conversation; an interruption closes its stream."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from livekit.plugins import openai

orders = json.loads(sys.argv[1])


async def main() -> None:
    options = {"model": orders["model"]} | (
        {"response_format": orders["response_format"]} if orders["response_format"] else {}
    )
    tts = openai.TTS(base_url=f"http://127.0.0.1:{orders['port']}/v1", api_key="any", **options)
    errors: list[str] = []
    tts.on("error", lambda error: errors.append(str(error)))
    told = []
    async with tts:
        tts.prewarm()
        for number, turn in enumerate(orders["turns"]):
            sound, stopped_at = bytearray(), None
            async with tts.synthesize(turn["text"]) as stream:
                async for event in stream:
                    assert event.frame.sample_rate == 24_000
                    sound += event.frame.data.tobytes()
                    if turn["is_interrupted"] and len(sound) >= orders["stop_after_s"] * 48_000:
                        stopped_at = time.time()
                        break
            Path(orders["folder"], f"{number}.pcm").write_bytes(sound)
            told.append({"stopped_at": stopped_at})
    print(json.dumps({"turns": told, "errors": errors}))


asyncio.run(main())
