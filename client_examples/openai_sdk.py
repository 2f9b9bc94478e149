# /// script
# requires-python = ">=3.11"
# dependencies = ["openai"]
# ///
"""Speaks a text into a file with OpenAI's own library, whose base address points at streamer; the sound streams.

python openai_sdk.py "Hello there." hello.mp3
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from openai import OpenAI, OpenAIError

FORMATS = {".mp3": "mp3", ".ogg": "opus", ".aac": "aac", ".flac": "flac", ".wav": "wav", ".pcm": "pcm"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("text")
    parser.add_argument("file", type=Path, help=f"what to write: {', '.join(FORMATS)}")
    parser.add_argument("--voice", default="alloy", help="one of OpenAI's names, or of /v1/voices")
    parser.add_argument("--url", default="http://localhost:8765/v1")
    parser.add_argument("--key", default="any", help="API key, if the server requires one")
    arguments = parser.parse_args()
    if arguments.file.suffix not in FORMATS:
        parser.error(f"the file's name must end in {' or '.join(FORMATS)}")

    speech = OpenAI(base_url=arguments.url, api_key=arguments.key).audio.speech
    asked_s, first_s = time.monotonic(), None
    try:
        with (
            speech.with_streaming_response.create(
                model="tts-1",
                voice=arguments.voice,
                input=arguments.text,
                response_format=FORMATS[arguments.file.suffix],
            ) as answer,
            arguments.file.open("wb") as file,
        ):
            for piece in answer.iter_bytes():
                first_s = first_s or time.monotonic()
                file.write(piece)
    except (OSError, OpenAIError) as error:
        sys.exit(f"openai_sdk: {error}")
    if first_s is not None:
        print(f"{arguments.file}: first sound after {1000 * (first_s - asked_s):.0f} ms")


if __name__ == "__main__":
    main()
