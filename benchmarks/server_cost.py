"""What does everything but the model cost? The real server runs over a synthesizer that only hands out due sound.

Server and clients are separate processes. Added latency is the time from the synthesizer handing over a
sentence's first sound to the client's receipt of its first packet, both on the machine's one clock.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import AsyncGenerator, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from streamer.config import Config, LimitsConfig, ServerConfig
from streamer.loadtest.client import Recording, Target, speak
from streamer.loadtest.environment import environment, write_result
from streamer.loadtest.playout import packets_of, play
from streamer.loadtest.summary import JITTER_S, LONG_GAP_S
from streamer.server.app import Server
from streamer.synthesis import Health, ModelInfo, PcmChunk, SentenceRequest

SAMPLE_RATE_HZ, FRAME_HZ = 24_000, 75
CHUNK_FRAMES = (8, 24, 72, 216, 512)
SENTENCE_S = 8.0
SPEED = 4.0
"""Seconds of sound made per second for each utterance."""
TEXT = "This is what is said, at some length, while sixty-three others hear something else."


class Metronome:
    """A synthesizer that computes nothing: chunks of the usual sizes, each when an engine of `SPEED` would have it."""

    def __init__(self, sentence_s: float = SENTENCE_S) -> None:
        self.first_sounds: list[float] = []
        seconds = np.arange(int(sentence_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        # The encoder gets speech-like work: a gliding tone with harmonics and some noise.
        tone = sum(np.sin(2 * np.pi * k * (120 * seconds + 20 * np.sin(seconds))) / k for k in range(1, 12))
        noise = np.random.default_rng(0).standard_normal(len(seconds))
        self._sound = (0.1 * tone + 0.01 * noise).astype(np.float32)

    @property
    def info(self) -> ModelInfo:
        return ModelInfo("metronome", SAMPLE_RATE_HZ, "one", ("one",), ("en",), (), 256)

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def health(self) -> Health:
        return Health(alive=True, ready=True, expected_speed=SPEED)

    async def start(self) -> None:
        """Return at once: there is nothing to load."""

    async def close(self) -> None:
        """Return at once: there is nothing to release."""

    async def synthesize(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]:
        start_s, end = time.monotonic(), 0
        for begin, end in self._borders():
            due_s = start_s + end / SAMPLE_RATE_HZ / SPEED
            await asyncio.sleep(due_s - time.monotonic())
            if begin == 0 and request.sentence_index == 0:
                self.first_sounds.append(time.monotonic())
            yield PcmChunk(self._sound[begin:end], is_last=end == len(self._sound))

    def _borders(self) -> Iterator[tuple[int, int]]:
        begin = 0
        sizes = iter(CHUNK_FRAMES)
        while begin < len(self._sound):
            frames = next(sizes, CHUNK_FRAMES[-1])
            end = min(len(self._sound), begin + frames * SAMPLE_RATE_HZ // FRAME_HZ)
            yield begin, end
            begin = end


def serve(pipe: Connection, num_streams: int) -> None:
    """Run the server's process: it reports its port and then, when asked, the CPU time that it used."""

    async def run() -> None:
        many = num_streams + 8
        limits = LimitsConfig(
            max_connections_per_address=many, max_utterances_per_key=many, max_starts_per_s=10_000
        )
        metronome = Metronome()
        server = Server(Config(server=ServerConfig(port=0), limits=limits), metronome)
        await server.start()
        lags: list[float] = []

        async def watch() -> None:
            while True:
                asleep_s = time.monotonic()
                await asyncio.sleep(0.01)
                lags.append(time.monotonic() - asleep_s - 0.01)

        pipe.send(server.port)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(watch())
            running = tasks.create_task(server.run_until_stopped())
            cpu_s, wall_s = time.process_time(), time.monotonic()
            await asyncio.to_thread(pipe.recv)
            used = (time.process_time() - cpu_s) / (time.monotonic() - wall_s)
            watching.cancel()
            server.stop()
            await running
        pipe.send((metronome.first_sounds, used, float(np.percentile(lags, 99))))

    asyncio.run(run())


async def listen_to(port: int, num_streams: int, lead_ms: int) -> list[Recording]:
    """Listen to `num_streams` utterances that begin within one second."""
    target = Target(f"ws://127.0.0.1:{port}/v1/stream", settings={"lead_ms": lead_ms})
    now_s = asyncio.get_running_loop().time()
    recordings = [Recording(now_s + 1 + index / num_streams) for index in range(num_streams)]
    async with asyncio.TaskGroup() as tasks:
        for index, recording in enumerate(recordings):
            tasks.create_task(speak(target, TEXT, index, recording))
    return recordings


def measure(num_streams: int, lead_ms: int) -> dict[str, Any]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, num_streams), daemon=True)
    process.start()
    with contextlib.closing(ours):
        port = ours.recv()
        recordings = asyncio.run(listen_to(port, num_streams, lead_ms))
        ours.send("enough")
        first_sounds, used, lag_s = ours.recv()
    process.join(10)
    served = [packets_of(recording) for recording in recordings if recording.outcome == "served"]
    playouts = [play(packets) for packets in served if packets]
    # Sounds and packets both come in the order in which the utterances began, at least half a frame apart.
    added_ms = 1000 * (np.sort([item.first_s for item in playouts]) - np.sort(first_sounds)[: len(playouts)])
    return {
        "streams": num_streams,
        "lead_ms": lead_ms,
        "served": len(playouts),
        **{f"added_p{percent}_ms": float(np.percentile(added_ms, percent)) for percent in (50, 95, 99)},
        "underrun_share": float(np.mean([item.stopped_s > JITTER_S for item in playouts])),
        "gaps_over_100_ms_share": float(np.mean([item.longest_gap_s > LONG_GAP_S for item in playouts])),
        "cpu_share": used,
        "loop_lag_p99_ms": 1000 * lag_s,
        "packets": sum(map(len, served)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 16, 64, 128])
    parser.add_argument("--lead-ms", type=int, nargs="+", default=[2000])
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    rows = [measure(streams, lead_ms) for lead_ms in arguments.lead_ms for streams in arguments.streams]
    table = Table(title="the server without a model")
    for name in (
        "streams",
        "lead ms",
        "added ms p50",
        "p95",
        "p99",
        "underruns",
        "gaps > 100 ms",
        "of a core",
        "loop lag p99 ms",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        added = [f"{row[f'added_p{percent}_ms']:.1f}" for percent in (50, 95, 99)]
        shares = [f"{row[name]:.1%}" for name in ("underrun_share", "gaps_over_100_ms_share", "cpu_share")]
        table.add_row(
            str(row["streams"]), str(row["lead_ms"]), *added, *shares, f"{row['loop_lag_p99_ms']:.1f}"
        )
    Console(width=120).print(table)
    if arguments.output:
        result = {"benchmark": "server_cost", **environment(), "rows": rows}
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
