"""Drives Cartesia's own package: `{"client": "sync" | "async" | "bytes" | "sse", "port", "voice", "turns",
"interruptions", "texts"}`.

Reports the bytes of sound of each turn, the words that had times, and the voices that are listed. Each turn is
interrupted some times before it is spoken to its end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from cartesia import AsyncCartesia, Cartesia

RAW = {"container": "raw", "encoding": "pcm_s16le", "sample_rate": 24000}


def asked(orders: dict[str, Any]) -> dict[str, Any]:
    return {"model_id": "sonic-3", "voice": {"mode": "id", "id": orders["voice"]}, "output_format": RAW}


def addresses(port: int) -> dict[str, str]:
    return {
        "api_key": "key",
        "base_url": f"http://127.0.0.1:{port}",
        "websocket_base_url": f"ws://127.0.0.1:{port}",
    }


def sync(orders: dict[str, Any], words: list[str]) -> list[int]:
    client, lengths = Cartesia(**addresses(orders["port"])), []
    with client.tts.websocket_connect() as connection:
        for _ in range(orders["turns"]):
            for _ in range(orders["interruptions"]):
                context = connection.context(**asked(orders))
                context.push(orders["texts"][0])
                for event in context.receive():
                    if event.type == "chunk":
                        break
                context.cancel()
            context = connection.context(**asked(orders), add_timestamps=True)
            for text in orders["texts"][1:]:
                context.push(text)
            context.no_more_inputs()
            num_bytes = 0
            for event in context.receive():
                assert event.type != "error", event
                # The package gives out what was on its way when a context was cancelled with the next one's.
                if event.context_id != context._context_id:
                    continue
                if event.type == "chunk":
                    num_bytes += len(event.audio)
                elif event.type == "timestamps":
                    words += event.word_timestamps.words
            lengths.append(num_bytes)
    return lengths


async def asynchronous(orders: dict[str, Any], words: list[str]) -> list[int]:
    client, lengths = AsyncCartesia(**addresses(orders["port"])), []
    async with client.tts.websocket_connect() as connection:
        for _ in range(orders["turns"]):
            for _ in range(orders["interruptions"]):
                context = connection.context(**asked(orders))
                await context.push(orders["texts"][0])
                async for event in context.receive():
                    if event.type == "chunk":
                        break
                await context.cancel()
            context = connection.context(**asked(orders), add_timestamps=True, max_buffer_delay_ms=0)
            for text in orders["texts"][1:]:
                await context.push(text)
            await context.no_more_inputs()
            num_bytes = 0
            async for event in context.receive():
                assert event.type != "error", event
                if event.type == "chunk":
                    num_bytes += len(event.audio)
                elif event.type == "timestamps":
                    words += event.word_timestamps.words
            lengths.append(num_bytes)
    return lengths


def whole(orders: dict[str, Any], words: list[str]) -> list[int]:
    """Ask for whole texts over HTTP; an interruption drops the answer."""
    client, lengths = Cartesia(**addresses(orders["port"]), max_retries=0), []
    text = " ".join(orders["texts"][1:])
    for _ in range(orders["turns"]):
        for _ in range(orders["interruptions"]):
            if orders["client"] == "bytes":
                with client.tts.with_streaming_response.generate(
                    **asked(orders), transcript=orders["texts"][0]
                ) as answer:
                    next(answer.iter_bytes(1024))
            else:
                with client.tts.generate_sse(**asked(orders), transcript=orders["texts"][0]) as stream:
                    assert next(iter(stream)).type == "chunk"
        if orders["client"] == "bytes":
            lengths.append(len(client.tts.generate(**asked(orders), transcript=text).read()))
            continue
        num_bytes = 0
        for event in client.tts.generate_sse(**asked(orders), transcript=text, add_timestamps=True):
            if event.type == "chunk":
                num_bytes += len(event.audio)
            elif event.type == "timestamps":
                words += event.word_timestamps.words
        assert event.type == "done", event
        lengths.append(num_bytes)
    return lengths


def main() -> None:
    orders, words = json.loads(sys.argv[1]), list[str]()
    if orders["client"] == "async":
        lengths = asyncio.run(asynchronous(orders, words))
    elif orders["client"] == "sync":
        lengths = sync(orders, words)
    else:
        lengths = whole(orders, words)
    client = Cartesia(**addresses(orders["port"]))
    voices = [voice.id for voice in client.voices.list(limit=1)]
    assert [client.voices.get(voice).name for voice in voices] == voices
    print(json.dumps({"num_bytes": lengths, "words": words, "voices": voices}))


main()
