"""Does a long text play without a gap, at steady memory, with the right pauses and no click at a join?

The built-in voice runs in this process, and its sound is taken at the pace of playback, two seconds ahead.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
from rich.console import Console
from rich.table import Table

from streamer.assembly import build_synthesizer
from streamer.audio.formats import AudioFormat
from streamer.audio.packets import Packet, create_encoder
from streamer.config import EngineConfig
from streamer.loadtest.environment import environment, write_result
from streamer.sampling import SamplingParams
from streamer.speech.events import SentenceEnded, SentenceStarted, SpeechEnded, SpeechWarning
from streamer.speech.pipeline import speak
from streamer.speech.settings import Continuity, SpeechSettings
from streamer.speech.text_feed import TextFeed

RATE_HZ = 24_000
LEAD_S = 2.0
STOP_S = 0.02
"""A packet that is later than this, in seconds, leaves a gap that can be heard."""
MEMORY_EVERY_S = 20.0
PARAGRAPHS = (
    "It was late in the year, and the first snow lay on the hills. Nobody had used the road for days. "
    "In the village below, a light was burning in one window only: the window of the old clockmaker.",
    "He had been at work since noon. The clock before him was older than he was, and it had never been wrong; "
    "now it had stopped, and he did not know why. Was it the cold? Was it the dust of a hundred years?",
    "Alice: Have you found it, father?\nFather: Not yet, my dear. Give me one more hour.\n"
    "Alice: You said that an hour ago!",
    "[voice: {voice}] She put another log on the fire, sat down by the window, and looked out. Far away, between the "
    "trees, a lantern was moving. It came nearer, it stopped, and then it went out.",
)


async def measure(minutes: float, continuity: Continuity) -> dict[str, Any]:
    """Speak the text for this many minutes."""
    synthesizer = build_synthesizer(EngineConfig(chunk_schedule="latency"))
    await synthesizer.start()
    try:
        voices = synthesizer.info.voices
        settings = SpeechSettings(
            voices[0],
            SamplingParams(seed=1),
            max_audio_s=60 * minutes,
            continuity=continuity,
            speakers={"Alice": voices[-1], "Father": voices[0]},
        )
        text = "\n\n".join(PARAGRAPHS).format(voice=voices[0]) + "\n\n"
        feed = TextFeed(
            text * (1 + round(minutes * 1000 / len(text)))
        )  # no voice says 1,000 letters a minute
        return {"minutes": minutes, "continuity": continuity} | await _listen(feed, synthesizer, settings)
    finally:
        await synthesizer.close()


async def _listen(feed: TextFeed, synthesizer: Any, settings: SpeechSettings) -> dict[str, Any]:
    pieces: list[np.ndarray[Any, np.dtype[np.float32]]] = []
    starts: list[SentenceStarted] = []
    ends_ms: list[int] = []
    stops: list[dict[str, Any]] = []
    memory_mib: list[float] = []
    warnings: list[str] = []
    plays_from_s = 0.0
    async for event in speak(feed, synthesizer, settings, create_encoder(AudioFormat("pcm_f32le")), "long"):
        now_s = time.monotonic()
        if isinstance(event, SentenceStarted):
            starts.append(event)
        elif isinstance(event, SentenceEnded):
            ends_ms.append(event.end_ms)
        elif isinstance(event, SpeechWarning):
            warnings.append(event.message)
        elif isinstance(event, SpeechEnded):
            ended = event
        elif isinstance(event, Packet):
            pieces.append(np.frombuffer(event.payload, "<f4"))
            at_s = event.timestamp / 48_000
            plays_from_s = plays_from_s or now_s
            late_s = now_s - plays_from_s - at_s
            if late_s > STOP_S:
                stops.append({"at_s": at_s, "late_s": late_s, "is_at_border": event.is_first})
                plays_from_s += late_s
            if at_s >= MEMORY_EVERY_S * len(memory_mib):
                memory_mib.append(_resident_mib())
            await asyncio.sleep(max(0.0, plays_from_s + at_s - LEAD_S - now_s))
    sound = np.concatenate(pieces)
    return {
        "audio_s": len(sound) / RATE_HZ,
        "sentences": len(starts),
        "real_time_factor": ended.generation_s / max(1.0, len(sound) / RATE_HZ),
        "stops": stops,
        "warnings": warnings,
        "resident_mib": memory_mib,
        "pauses_s": _pauses(sound, feed.text, starts, ends_ms),
        **_jumps(sound, starts, ends_ms),
    }


def _pauses(
    sound: np.ndarray[Any, np.dtype[np.float32]], text: str, starts: list[SentenceStarted], ends_ms: list[int]
) -> dict[str, list[float]]:
    """Return the least, median and greatest silence (-45 dBFS, 10 ms) by what stands between two sentences."""
    block = RATE_HZ // 100
    is_silent = np.abs(sound[: len(sound) // block * block].reshape(-1, block)).max(axis=1) < 0.0056
    found: dict[str, list[float]] = {}
    for end_ms, (before, after) in zip(ends_ms, pairwise(starts), strict=False):
        between = text[before.char_end : after.char_start]
        turn = "turn" if before.voice != after.voice or between.strip() else None
        kind = turn or ("paragraph" if "\n\n" in between else f"after {before.text[-1]!r}")
        first = last = (end_ms + after.start_ms) // 20  # the middle of the pause
        while first > 0 and is_silent[first - 1]:
            first -= 1
        while last < len(is_silent) and is_silent[last]:
            last += 1
        found.setdefault(kind, []).append((last - first) / 100)
    return {kind: [min(items), float(np.median(items)), max(items)] for kind, items in found.items()}


def _jumps(
    sound: np.ndarray[Any, np.dtype[np.float32]], starts: list[SentenceStarted], ends_ms: list[int]
) -> dict[str, float]:
    """Return the largest step between two samples: within 100 ms of a join, and anywhere else."""
    steps = np.abs(np.diff(sound))
    is_join = np.zeros(len(steps), bool)
    for moment_ms in (*ends_ms, *(start.start_ms for start in starts)):
        middle = moment_ms * RATE_HZ // 1000
        is_join[max(0, middle - RATE_HZ // 10) : middle + RATE_HZ // 10] = True
    return {"steepest_at_joins": float(steps[is_join].max()), "steepest_inside": float(steps[~is_join].max())}


def _resident_mib() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def show(result: dict[str, Any]) -> None:
    table = Table(
        title=f"{result['audio_s']:.0f} s in {result['sentences']} sentences, {result['continuity']}"
    )
    table.add_column("figure")
    table.add_column("value")
    late_s = [stop["late_s"] for stop in result["stops"]]
    table.add_row("stops over 20 ms", f"{len(late_s)}, longest {max(late_s, default=0.0):.2f} s")
    table.add_row("of them at sentence borders", str(sum(stop["is_at_border"] for stop in result["stops"])))
    table.add_row("real-time factor", f"{result['real_time_factor']:.2f}")
    table.add_row(
        f"resident MiB, every {MEMORY_EVERY_S:.0f} s", " ".join(f"{m:.0f}" for m in result["resident_mib"])
    )
    for kind, (least, median, most) in result["pauses_s"].items():
        table.add_row(f"silence, {kind}", f"{least:.2f} to {most:.2f} s, median {median:.2f}")
    table.add_row("steepest step at joins", f"{result['steepest_at_joins']:.3f}")
    table.add_row("steepest step inside", f"{result['steepest_inside']:.3f}")
    table.add_row("warnings", "; ".join(result["warnings"]) or "none")
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--continuity", choices=get_args(Continuity), default="preset")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    result = {"benchmark": "long_text", **environment()} | asyncio.run(
        measure(arguments.minutes, arguments.continuity)
    )
    show(result)
    if arguments.output:
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
