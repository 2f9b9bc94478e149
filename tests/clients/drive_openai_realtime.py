"""Speaks turns with OpenAI's realtime client; a turn has a `text`, and `is_cut` if its first sound cancels it."""

import asyncio
import base64
import json
import sys

from openai import AsyncOpenAI

ORDERS = json.loads(sys.argv[1])


def message(text):
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


async def speak(connection, turn, number):
    """Every second turn is an item of the conversation; the others are of their own, as Open WebUI asks for them."""
    if number % 2:
        await connection.conversation.item.create(item=message(turn["text"]))
        await connection.response.create()
    else:
        await connection.response.create(response={"conversation": "none", "input": [message(turn["text"])]})
    num_bytes, events = 0, []
    async for event in connection:
        events.append(event.type)
        if event.type == "response.output_audio.delta":
            num_bytes += len(base64.b64decode(event.delta))
            if turn["is_cut"] and events.count(event.type) == 1:
                await connection.response.cancel()
        elif event.type == "response.done":
            response = event.response
            return {
                "num_bytes": num_bytes,
                "status": response.status,
                "transcript": response.output[0].content[0].transcript if response.output[0].content else "",
                "num_done": events.count("response.done"),
            }
        elif event.type == "error":
            raise RuntimeError(event.error.message)


async def main():
    client = AsyncOpenAI(api_key="any", base_url=f"http://127.0.0.1:{ORDERS['port']}/v1")
    async with client.realtime.connect(model="gpt-realtime") as connection:
        created = await connection.recv()
        output = {"format": {"type": "audio/pcm", "rate": 24000}, "voice": ORDERS["voice"]}
        await connection.session.update(session={"type": "realtime", "audio": {"output": output}})
        updated = await connection.recv()
        turns = [await speak(connection, turn, number) for number, turn in enumerate(ORDERS["turns"])]
    print(json.dumps({"greeting": [created.type, updated.type], "turns": turns}))


asyncio.run(main())
