"""Speaks texts with the built-in voice of whatever checkout is first on the path, for `compare_piper`.

It reads a text a line and answers each with a line of JSON, and uses nothing that early versions lack.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import streamer

SAMPLE_RATE_HZ = 24_000


async def spoken(text: str) -> dict[str, float]:
    """Return how long `text` took: to its first sound, in all, of the processors, and its sound, each in s."""
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    first_s = 0.0
    num_samples = 0
    async for chunk in streamer.stream(text, seed=0):
        if chunk.samples.size:
            first_s = first_s or time.perf_counter() - start_s
            num_samples += len(chunk.samples)
    return {
        "first_s": first_s,
        "wall_s": time.perf_counter() - start_s,
        "cpu_s": time.process_time() - start_cpu_s,
        "audio_s": num_samples / SAMPLE_RATE_HZ,
    }


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(asyncio.run(spoken(line.strip()))), flush=True)


if __name__ == "__main__":
    main()
