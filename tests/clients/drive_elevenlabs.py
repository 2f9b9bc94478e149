"""Drives ElevenLabs' own package, untouched; run by `driving`.

Orders: `port`, `voice`, `turns` (texts), and `interrupted` (numbers of turns that are left after their first sound).
Each turn is spoken in four ways that the package has; a turn's report has the bytes of PCM at 24 kHz of each.
"""

import asyncio
import json
import sys

from elevenlabs import AsyncElevenLabs, ElevenLabs

ORDERS = json.loads(sys.argv[1])
BASE = f"127.0.0.1:{ORDERS['port']}"
FORMAT = "pcm_24000"


def realtime(client, text, is_interrupted):
    words = (word + " " for word in text.split())
    sound = client.text_to_speech.convert_realtime(ORDERS["voice"], text=words, output_format=FORMAT)
    if is_interrupted:
        num_bytes = len(next(sound))
        sound.close()
        return num_bytes
    return sum(map(len, sound))


def whole(client, text):
    return sum(map(len, client.text_to_speech.convert(ORDERS["voice"], text=text, output_format=FORMAT)))


def timed(client, text):
    pieces = client.text_to_speech.stream_with_timestamps(ORDERS["voice"], text=text, output_format=FORMAT)
    return "".join("".join(piece.alignment.characters) for piece in pieces if piece.alignment)


async def streamed(client, text, is_interrupted):
    num_bytes = 0
    sound = client.text_to_speech.stream(ORDERS["voice"], text=text, output_format=FORMAT)
    async for piece in sound:
        num_bytes += len(piece)
        if is_interrupted:
            await sound.aclose()
            break
    return num_bytes


async def main():
    client = ElevenLabs(api_key="any", base_url=f"http://{BASE}")
    client.text_to_speech._ws_base_url = f"ws://{BASE}"  # the package insists on TLS otherwise
    unhurried = AsyncElevenLabs(api_key="any", base_url=f"http://{BASE}")
    turns = []
    for number, text in enumerate(ORDERS["turns"]):
        is_interrupted = number in ORDERS["interrupted"]
        turns.append(
            {
                "realtime": realtime(client, text, is_interrupted),
                "stream": await streamed(unhurried, text, is_interrupted),
                "convert": whole(client, text),
                "characters": timed(client, text),
            }
        )
    voices = [voice.voice_id for voice in client.voices.get_all().voices]
    found = [voice.voice_id for voice in client.voices.search().voices]
    print(
        json.dumps(
            {
                "turns": turns,
                "voices": voices,
                "found": found,
                "voice": client.voices.get(ORDERS["voice"]).name,
                "models": [model.model_id for model in client.models.list()],
                "tier": client.user.get().subscription.tier,
                "status": client.user.subscription.get().status,
            }
        )
    )


asyncio.run(main())
