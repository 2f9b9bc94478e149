"""Drives Deepgram's own package: `{"client": "sync" | "async" | "http", "port", "voice", "turns",
"interruptions", "texts"}`.

Reports the bytes of sound of each turn. Each turn is interrupted some times before it is spoken to its end.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from deepgram import AsyncDeepgramClient, DeepgramClient
from deepgram.environment import DeepgramClientEnvironment
from deepgram.speak.v1.types import SpeakV1Text

OPTIONS = {"encoding": "linear16", "sample_rate": 24000}


def environment(port: int) -> DeepgramClientEnvironment:
    http, websocket = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}"
    return DeepgramClientEnvironment(base=http, production=websocket, agent=websocket, agent_rest=http)


def sync(orders: dict[str, Any]) -> list[int]:
    client = DeepgramClient(api_key="key", environment=environment(orders["port"]))
    lengths = []
    with client.speak.v1.connect(model=orders["voice"], **OPTIONS) as socket:
        assert socket.recv().type == "Metadata"
        for _ in range(orders["turns"]):
            for _ in range(orders["interruptions"]):
                socket.send_text(SpeakV1Text(text=orders["texts"][0]))
                socket.send_flush()
                assert isinstance(socket.recv(), bytes)
                socket.send_clear()
                while isinstance(item := socket.recv(), bytes):
                    pass
                assert item.type == "Cleared", item
            for text in orders["texts"][1:]:
                socket.send_text(SpeakV1Text(text=text))
            socket.send_flush()
            num_bytes = 0
            while isinstance(item := socket.recv(), bytes):
                num_bytes += len(item)
            assert item.type == "Flushed", item
            lengths.append(num_bytes)
        socket.send_close()
    return lengths


async def asynchronous(orders: dict[str, Any]) -> list[int]:
    client = AsyncDeepgramClient(api_key="key", environment=environment(orders["port"]))
    lengths = []
    async with client.speak.v1.connect(model=orders["voice"], **OPTIONS) as socket:
        assert (await socket.recv()).type == "Metadata"
        for _ in range(orders["turns"]):
            for _ in range(orders["interruptions"]):
                await socket.send_text(SpeakV1Text(text=orders["texts"][0]))
                assert isinstance(await socket.recv(), bytes)
                await socket.send_clear()
                while isinstance(item := await socket.recv(), bytes):
                    pass
                assert item.type == "Cleared", item
            for text in orders["texts"][1:]:
                await socket.send_text(SpeakV1Text(text=text))
            await socket.send_flush()
            num_bytes = 0
            while isinstance(item := await socket.recv(), bytes):
                num_bytes += len(item)
            assert item.type == "Flushed", item
            lengths.append(num_bytes)
        await socket.send_close()
    return lengths


def http(orders: dict[str, Any]) -> list[int]:
    client = DeepgramClient(api_key="key", environment=environment(orders["port"]))
    audio, lengths, options = (
        client.speak.v1.audio,
        [],
        {"model": orders["voice"], "container": "none", **OPTIONS},
    )
    for _ in range(orders["turns"]):
        for _ in range(orders["interruptions"]):
            pieces = audio.generate(text=orders["texts"][0], **options)
            assert next(pieces)
            pieces.close()
        text = " ".join(orders["texts"][1:])
        lengths.append(sum(map(len, audio.generate(text=text, **options))))
    return lengths


def main() -> None:
    orders = json.loads(sys.argv[1])
    if orders["client"] == "async":
        lengths = asyncio.run(asynchronous(orders))
    else:
        lengths = {"sync": sync, "http": http}[orders["client"]](orders)
    print(json.dumps({"num_bytes": lengths}))


main()
