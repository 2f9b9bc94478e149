"""Measures how well the built-in voice is understood, through the server and Opus, as a word error rate.

It speaks `eval_sentences.txt`, which no training has seen, each sentence with its own seed, alone or several at once.
"""

from __future__ import annotations

import argparse
import asyncio
import io
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from benchmarks.speaking import running_server, speak
from streamer.loadtest.environment import environment, write_result
from streamer.loadtest.playout import packets_of
from training.judge import heard, word_error_rate, words
from training.sentences import EVALUATION

OPUS_HZ = 48_000


def decoded(ogg: bytes) -> npt.NDArray[np.float32]:
    """Decode an Ogg Opus file to [num_samples] at 48 kHz."""
    with av.open(io.BytesIO(ogg)) as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(frames).astype(np.float32) if frames else np.zeros(0, np.float32)


async def speak_all(texts: list[str], flags: list[str], at_once: int, first_seed: int) -> list[bytes]:
    """Return each sentence as an Ogg Opus file; `at_once` of them are spoken at any time."""
    spoken: list[bytes] = [b""] * len(texts)
    waiting = iter(enumerate(texts))

    async def client(url: str) -> None:
        for number, text in waiting:
            recording = await speak(url, text, seed=first_seed + number, encoding="ogg_opus")
            spoken[number] = b"".join(packet.payload for packet in packets_of(recording))

    async with running_server(*flags) as (url, _), asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(client(url))
    return spoken


def judged(texts: list[str], files: list[bytes]) -> list[tuple[str, str]]:
    """Print each sentence with what the judge heard, and return these pairs."""
    pairs = []
    for text, ogg in zip(texts, files, strict=True):
        pairs.append((text, heard(decoded(ogg), OPUS_HZ)))
        mark = " " if words(text) == words(pairs[-1][1]) else "x"
        print(f"{mark} {text} | {pairs[-1][1]}", flush=True)
    return pairs


def num_lost_tails(pairs: list[tuple[str, str]]) -> int:
    """Count the texts whose last word is not among the last three that were heard."""
    return sum(words(text).split()[-1] not in words(hearing).split()[-3:] for text, hearing in pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--save", type=Path, help="folder for the audio files")
    parser.add_argument("--sentences", type=Path, default=EVALUATION)
    parser.add_argument("--at-once", type=int, default=1, help="clients at the same time")
    parser.add_argument(
        "--first-seed", type=int, default=0, help="the first sentence's seed; the others follow"
    )
    arguments, flags = parser.parse_known_args()
    texts = arguments.sentences.read_text().splitlines()
    files = asyncio.run(speak_all(texts, flags, arguments.at_once, arguments.first_seed))
    if arguments.save:
        arguments.save.mkdir(parents=True, exist_ok=True)
        for number, ogg in enumerate(files):
            (arguments.save / f"{number:02d}.ogg").write_bytes(ogg)
    pairs = judged(texts, files)
    rate = word_error_rate(pairs)
    num_lost = num_lost_tails(pairs)
    print(f"word error rate {rate:.3f} on {len(pairs)} sentences, the last word of {num_lost} not heard")
    if arguments.output:
        result = {
            "benchmark": "word_error_rate",
            **environment(),
            "at_once": arguments.at_once,
            "first_seed": arguments.first_seed,
            "word_error_rate": rate,
            "num_lost_tails": num_lost,
            "pairs": pairs,
        }
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
