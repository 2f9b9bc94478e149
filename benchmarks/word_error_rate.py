"""Measures how well the built-in voice is understood, through the server and Opus, as a word error rate.

It speaks `eval_sentences.txt`, which no training has seen, each sentence with its own seed, alone or several at once.
Beside the rate it counts the texts with words that were not said, or that nobody wrote: lost tails, skips and babbles.
"""

from __future__ import annotations

import argparse
import asyncio
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import jiwer
import numpy as np
import numpy.typing as npt

from benchmarks.speaking import running_server, speak
from streamer.loadtest.environment import environment, write_result
from streamer.loadtest.playout import packets_of
from training.judge import heard, second_judge, word_error_rate, words
from training.sentences import EVALUATION

OPUS_HZ = 48_000
RUN_OF_WORDS = 2
"""How many words must be missing or too many; one may be the judge's mistake."""
LENGTH_STEP = 10


def decoded(ogg: bytes) -> npt.NDArray[np.float32]:
    """Decode an Ogg Opus file to [num_samples] at 48 kHz."""
    with av.open(io.BytesIO(ogg)) as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(frames).astype(np.float32) if frames else np.zeros(0, np.float32)


async def speak_all(
    texts: list[str], flags: list[str], at_once: int, first_seed: int, **settings: Any
) -> list[bytes]:
    """Return each sentence as an Ogg Opus file; `at_once` of them are spoken at any time, with these settings."""
    spoken: list[bytes] = [b""] * len(texts)
    waiting = iter(enumerate(texts))

    async def client(url: str) -> None:
        for number, text in waiting:
            recording = await speak(url, text, seed=first_seed + number, encoding="ogg_opus", **settings)
            spoken[number] = b"".join(packet.payload for packet in packets_of(recording))

    async with running_server(*flags) as (url, _), asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(client(url))
    return spoken


def judged(
    texts: list[str], files: list[bytes], judge: Callable[[npt.NDArray[np.float32], int], str]
) -> list[tuple[str, str]]:
    """Print each sentence with what a judge heard, and return these pairs."""
    pairs = []
    for text, ogg in zip(texts, files, strict=True):
        pairs.append((text, judge(decoded(ogg), OPUS_HZ)))
        mark = " " if words(text) == words(pairs[-1][1]) else "x"
        print(f"{mark} {text} | {pairs[-1][1]}", flush=True)
    return pairs


@dataclass(frozen=True, slots=True)
class Stretch:
    """What was written and what was heard instead, in words, between two words that were heard right."""

    written: Sequence[str]
    heard: Sequence[str]
    is_last: bool

    @property
    def is_lost_tail(self) -> bool:
        """Whether the text's end was not said: of the letters behind the last right word at most half were heard."""
        return self.is_last and _is_half(self.heard, self.written)

    @property
    def is_skip(self) -> bool:
        """Whether words were left out: two or more are missing, and with them at least half of the letters.

        Where as many letters were heard, the judge took the words for others.
        """
        return len(self.written) - len(self.heard) >= RUN_OF_WORDS and _is_half(self.heard, self.written)

    @property
    def is_babble(self) -> bool:
        """Whether there are words that nobody wrote: two or more, and at least twice the letters that were written."""
        return len(self.heard) - len(self.written) >= RUN_OF_WORDS and _is_half(self.written, self.heard)


def _is_half(few: Sequence[str], many: Sequence[str]) -> bool:
    """Whether `few` have at most half as many letters as `many`, which must have some."""
    return bool(many) and 2 * len("".join(few)) <= len("".join(many))


def stretches(text: str, hearing: str) -> list[Stretch]:
    """Return the stretches in which the judge did not hear what was written, by the alignment with fewest errors."""
    written, heard_words = words(text).split(), words(hearing).split()
    found: list[Stretch] = []
    begin, heard_begin = 0, 0
    equals = [
        part
        for part in (
            jiwer.process_words(" ".join(written), " ".join(heard_words)).alignments[0] if heard_words else ()
        )
        if part.type == "equal"
    ]
    for part in equals:
        found.append(
            Stretch(written[begin : part.ref_start_idx], heard_words[heard_begin : part.hyp_start_idx], False)
        )
        begin, heard_begin = part.ref_end_idx, part.hyp_end_idx
    found.append(Stretch(written[begin:], heard_words[heard_begin:], True))
    return [stretch for stretch in found if stretch.written or stretch.heard]


def faults(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    """Return the texts with a lost tail, with a skip, and with babble."""
    found = [(text, stretches(text, hearing)) for text, hearing in pairs]
    return {
        "lost_tails": [text for text, parts in found if any(part.is_lost_tail for part in parts)],
        "skips": [text for text, parts in found if any(part.is_skip for part in parts)],
        "babbles": [text for text, parts in found if any(part.is_babble for part in parts)],
    }


def rates_by_length(pairs: Sequence[tuple[str, str]]) -> list[dict[str, float]]:
    """Return the word error rate of the texts of each length, in steps of ten words."""
    groups: dict[int, list[tuple[str, str]]] = {}
    for pair in pairs:
        groups.setdefault(len(words(pair[0]).split()) // LENGTH_STEP * LENGTH_STEP, []).append(pair)
    return [
        {"words_from": length, "texts": len(group), "word_error_rate": word_error_rate(group)}
        for length, group in sorted(groups.items())
    ]


def score(judge: str, pairs: list[tuple[str, str]]) -> dict[str, Any]:
    """Print and return what a judge's hearings amount to."""
    rate, found, by_length = word_error_rate(pairs), faults(pairs), rates_by_length(pairs)
    counts = ", ".join(f"{len(texts)} {name.replace('_', ' ')}" for name, texts in found.items())
    print(f"word error rate {rate:.3f} on {len(pairs)} texts, heard by {judge}; {counts}")
    for row in by_length:
        print(f"from {row['words_from']} words: {row['word_error_rate']:.3f} on {row['texts']}")
    return {"word_error_rate": rate, **found, "by_length": by_length, "pairs": pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--save", type=Path, help="folder for the audio files")
    parser.add_argument("--sentences", type=Path, default=EVALUATION)
    parser.add_argument("--at-once", type=int, default=1, help="clients at the same time")
    parser.add_argument(
        "--first-seed", type=int, default=0, help="the first sentence's seed; the others follow"
    )
    parser.add_argument("--voice", help="default: the model's default voice")
    parser.add_argument("--second-judge", action="store_true", help="have Moonshine listen, too")
    arguments, flags = parser.parse_known_args()
    texts = arguments.sentences.read_text().splitlines()
    judges = {"whisper": heard}
    if arguments.second_judge:
        judges["moonshine"] = second_judge()  # which is loaded now: if that fails, nothing was spoken in vain
    settings = {"voice": arguments.voice} if arguments.voice else {}
    files = asyncio.run(speak_all(texts, flags, arguments.at_once, arguments.first_seed, **settings))
    if arguments.save:
        arguments.save.mkdir(parents=True, exist_ok=True)
        for number, ogg in enumerate(files):
            (arguments.save / f"{number:02d}.ogg").write_bytes(ogg)
    scores = {name: score(name, judged(texts, files, judge)) for name, judge in judges.items()}
    if arguments.output:
        result = {
            "benchmark": "word_error_rate",
            **environment(),
            "at_once": arguments.at_once,
            "first_seed": arguments.first_seed,
            "voice": arguments.voice,
            **scores.pop("whisper"),
            **scores,
        }
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
