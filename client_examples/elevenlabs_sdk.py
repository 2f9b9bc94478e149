# /// script
# requires-python = ">=3.11"
# dependencies = ["elevenlabs"]
# ///
"""Speaks a text while it is being written with ElevenLabs' own library, whose base address points at streamer.

python elevenlabs_sdk.py live.wav

Its WebSocket always speaks TLS, so that the server needs a certificate (`streamer serve --tls-cert … --tls-key …`),
or a proxy that has one. SSL_CERT_FILE names a certificate that no authority has signed.
"""

from __future__ import annotations

import argparse
import sys
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import httpx
from elevenlabs.client import ElevenLabs
from elevenlabs.core.api_error import ApiError
from websockets.exceptions import WebSocketException

SAMPLE_RATE_HZ = 24_000
TEXT = (
    "Here is what makes streaming worth the trouble. You hear this sentence while the next one is being "
    "written, and nobody waits for the end."
)


def written(text: str) -> Iterator[str]:
    """Yield the words of `text` at the pace of a language model."""
    for word in text.split():
        yield f"{word} "
        time.sleep(0.1)
    print("all text written", flush=True)


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("file", type=Path, help="WAV file to write")
    parser.add_argument("text", nargs="?", default=TEXT)
    parser.add_argument("--voice", help="a name of /v1/voices; none: the first one")
    parser.add_argument("--url", default="https://localhost:8765")
    parser.add_argument("--key", default="any", help="API key, if the server requires one")
    arguments = parser.parse_args()
    client = ElevenLabs(base_url=arguments.url, api_key=arguments.key)
    try:
        voice = arguments.voice or client.voices.get_all().voices[0].voice_id
        pieces = client.text_to_speech.convert_realtime(
            voice, text=written(arguments.text), model_id="any", output_format="pcm_24000"
        )
        with wave.open(str(arguments.file), "wb") as file:
            file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", "not compressed"))
            for number, piece in enumerate(pieces):
                if number == 0:
                    print("first sound", flush=True)
                file.writeframes(piece)
    except (OSError, ApiError, httpx.HTTPError, WebSocketException) as error:
        sys.exit(f"elevenlabs_sdk: {error}")


if __name__ == "__main__":
    main()
