"""OpenAI's library for Python, synchronous or asynchronous, speaks the turns of a conversation."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from openai import AsyncOpenAI, OpenAI

orders = json.loads(sys.argv[1])
folder, formats = Path(orders["folder"]), orders["formats"]
client = {"base_url": f"http://127.0.0.1:{orders['port']}/v1", "api_key": "any"}
stop_after_bytes = int(orders["stop_after_s"] * 48_000)


def request(number: int) -> dict[str, str]:
    text, response_format = orders["turns"][number]["text"], formats[number % len(formats)]
    return {
        "model": orders["model"],
        "voice": "alloy",
        "input": text,
        "response_format": response_format,
    }


def place(number: int) -> Path:
    return folder / f"{number}.{formats[number % len(formats)]}"


def is_over(number: int, sound: bytearray) -> bool:
    return orders["turns"][number]["is_interrupted"] and len(sound) >= stop_after_bytes


def speak() -> list[dict[str, float | None]]:
    told = []
    with OpenAI(**client) as openai:
        for number in range(len(orders["turns"])):
            sound, stopped_at = bytearray(), None
            with openai.audio.speech.with_streaming_response.create(**request(number)) as answer:
                for piece in answer.iter_bytes(4096):
                    sound += piece
                    if is_over(number, sound):
                        stopped_at = time.time()
                        break
            place(number).write_bytes(sound)
            told.append({"stopped_at": stopped_at})
    return told


async def speak_asynchronously() -> list[dict[str, float | None]]:
    told = []
    async with AsyncOpenAI(**client) as openai:
        for number in range(len(orders["turns"])):
            sound, stopped_at = bytearray(), None
            async with openai.audio.speech.with_streaming_response.create(**request(number)) as answer:
                async for piece in answer.iter_bytes(4096):
                    sound += piece
                    if is_over(number, sound):
                        stopped_at = time.time()
                        break
            place(number).write_bytes(sound)
            told.append({"stopped_at": stopped_at})
    return told


print(json.dumps({"turns": asyncio.run(speak_asynchronously()) if orders["is_async"] else speak()}))
