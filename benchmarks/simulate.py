"""How many listeners would the scheduler keep supplied? The real engine over stages that only take time.

No model runs: each stage moves its rows on and adds what such a step costs to a simulated clock, so that a
policy, chunk borders or a machine can be judged in seconds. The costs are a machine's: read from what
`benchmarks/stages.py` measured there (`--times`), or the built-in estimate of an H100 with the large model.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from streamer.bench.surroundings import surroundings, write_result
from streamer.engine.engine import Engine
from streamer.engine.request import Request
from streamer.errors import OverloadedError, StreamerError
from streamer.models.vocabulary import LARGE, FineConfig, ModelConfig
from streamer.stages.coarse_windows import CoarseWindows
from streamer.stages.fine_chunks import chunk_end
from streamer.synthesis import PcmChunk, Samples

SAMPLE_RATE_HZ = 100
"""Sound is only counted here: a sample stands for 10 ms."""
GAP_S = 0.1
MAX_SLOTS = 1024
MEAN_UTTERANCE_S = 2.5 * 5.5


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Milliseconds: `*_step` for a decode step whatever its rows, `*_row` more for each row, and so on."""

    causal_step: float = 0.45
    causal_row: float = 0.03
    semantic_prefill_row: float = 0.6
    coarse_prefill_row: float = 2.0
    fine_chunk_row: float = 10.0
    codec_step: float = 1.0
    codec_row: float = 0.2
    tick: float = 0.1
    """The engine's own work around every step."""


@dataclass
class Clock:
    now_s: float = 0.0
    busy_s: float = 0.0

    def spend(self, milliseconds: float) -> None:
        self.now_s += milliseconds / 1000
        self.busy_s += milliseconds / 1000


@dataclass
class Sentence:
    """A sentence's progress in numbers: the engine's `Work`."""

    config: ModelConfig
    windows: CoarseWindows
    num_semantic_in_all: int
    index: int = 0
    """Its place in its utterance."""
    num_semantic: int = 0
    num_coarse: int = 0
    num_fine: int = 0
    num_decoded: int = 0
    num_taken: int = 0
    slot: int = -1
    failure: StreamerError | None = None
    is_truncated: bool = False

    @property
    def num_history(self) -> int:
        return self.windows.max_semantic_history

    @property
    def is_semantic_finished(self) -> bool:
        return self.num_semantic == self.num_semantic_in_all

    @property
    def is_coarse_finished(self) -> bool:
        return self.is_semantic_finished and self.num_coarse == self.windows.num_steps(self.num_semantic)

    @property
    def num_coarse_frames(self) -> int:
        return self.num_coarse // self.config.coarse.num_codebooks

    @property
    def is_finished(self) -> bool:
        return self.is_coarse_finished and self.num_coarse_frames == self.num_decoded

    def take_audio(self) -> Samples:
        frames, self.num_taken = self.num_decoded - self.num_taken, self.num_decoded
        count = round(frames / self.config.codec.frame_rate_hz * SAMPLE_RATE_HZ)
        return np.zeros(count, np.float32)


@dataclass
class SimulatedStage:
    """Beginning is free; a step costs what `times` say."""

    config: ModelConfig
    times: StepTimes
    clock: Clock
    max_rows: int

    def begin(self, work: Sentence) -> None:
        """Nothing to clear."""

    def is_heavy(self, _: Sentence) -> bool:
        return False

    def spend_causal(self, num_fresh: int, num_running: int, prefill_row_ms: float) -> None:
        """A step in which some rows begin with a prefill and the others decode one token."""
        self.clock.spend(self.times.tick + num_fresh * prefill_row_ms)
        if num_running:
            self.clock.spend(self.times.causal_step + num_running * self.times.causal_row)


class Semantic(SimulatedStage):
    name = "semantic"

    def is_heavy(self, work: Sentence) -> bool:
        return work.num_semantic == 0

    def is_ready(self, work: Sentence) -> bool:
        return not work.is_semantic_finished

    def step(self, batch: Sequence[Sentence]) -> None:
        fresh = sum(work.num_semantic == 0 for work in batch)
        self.spend_causal(fresh, len(batch) - fresh, self.times.semantic_prefill_row)
        for work in batch:
            work.num_semantic += 1


class Coarse(SimulatedStage):
    name = "coarse"

    def is_heavy(self, work: Sentence) -> bool:
        return work.num_coarse % self.config.coarse.window == 0

    def is_ready(self, work: Sentence) -> bool:
        if work.num_coarse >= work.windows.num_steps(work.num_semantic):
            return False
        if work.num_coarse % self.config.coarse.window or work.is_semantic_finished:
            return True
        return work.num_semantic >= work.windows.tokens_needed(work.num_coarse, work.num_history)

    def step(self, batch: Sequence[Sentence]) -> None:
        fresh = sum(work.num_coarse % self.config.coarse.window == 0 for work in batch)
        self.spend_causal(fresh, len(batch) - fresh, self.times.coarse_prefill_row)
        for work in batch:
            work.num_coarse += 1


@dataclass
class Fine(SimulatedStage):
    num_chunks: int = 0
    name = "fine"

    def is_heavy(self, _: Sentence) -> bool:
        return True

    def is_ready(self, work: Sentence) -> bool:
        if work.is_coarse_finished:
            return work.num_coarse_frames > work.num_fine
        return work.num_coarse_frames >= chunk_end(work.num_fine, work.index, self.config.fine)

    def step(self, batch: Sequence[Sentence]) -> None:
        self.clock.spend(self.times.tick + len(batch) * self.times.fine_chunk_row)
        self.num_chunks += len(batch)
        for work in batch:
            work.num_fine = min(
                chunk_end(work.num_fine, work.index, self.config.fine), work.num_coarse_frames
            )


class Codec(SimulatedStage):
    name = "codec"

    def is_ready(self, work: Sentence) -> bool:
        return work.num_decoded < work.num_fine

    def step(self, batch: Sequence[Sentence]) -> None:
        self.clock.spend(self.times.tick + self.times.codec_step + len(batch) * self.times.codec_row)
        for work in batch:
            work.num_decoded = work.num_fine


@dataclass
class Listening:
    """One utterance and what its listener went through: an `Outlet` for each of its sentences."""

    name: str
    start_s: float
    durations_s: list[float]
    clock: Clock
    lead_s: float
    first_s: float | None = None
    delivered_s: float = 0.0
    silent_s: float = 0.0
    longest_gap_s: float = 0.0
    num_asked: int = 0
    num_ended: int = 0
    is_refused: bool = False
    untaken: dict[str, float] = field(default_factory=dict)

    def hear(self, request_id: str, duration_s: float) -> None:
        now_s = self.clock.now_s
        if self.first_s is None and duration_s:
            self.first_s = now_s
        elif self.first_s is not None:
            gap_s = now_s - (self.first_s + self.silent_s + self.delivered_s)
            if gap_s > 0:
                self.silent_s += gap_s
                self.longest_gap_s = max(self.longest_gap_s, gap_s)
        self.delivered_s += duration_s
        self.untaken[request_id] = self.untaken.get(request_id, 0.0) + duration_s

    def read(self, engine: Engine[Sentence]) -> None:
        """Take what may be sent by now: `lead_s` ahead of what is being played."""
        if self.first_s is None:
            return
        allowed_s = self.clock.now_s - self.first_s - self.silent_s + self.lead_s
        taken_s = self.delivered_s - sum(self.untaken.values())
        for request_id in list(self.untaken):
            part_s = min(self.untaken[request_id], allowed_s - taken_s)
            if part_s <= 0:
                return
            self.untaken[request_id] -= part_s
            taken_s += part_s
            engine.consumed(request_id, round(part_s * SAMPLE_RATE_HZ))
            if not self.untaken[request_id]:
                del self.untaken[request_id]

    @property
    def is_over(self) -> bool:
        return self.num_ended == len(self.durations_s)

    @property
    def heard_all_s(self) -> float:
        return (self.first_s or self.start_s) + self.silent_s + self.delivered_s


@dataclass
class Ear:
    """The outlet of one sentence."""

    listening: Listening
    request_id: str

    def deliver(self, chunk: PcmChunk) -> None:
        self.listening.hear(self.request_id, len(chunk.samples) / SAMPLE_RATE_HZ)
        if chunk.is_last:
            self.listening.num_ended += 1

    def fail(self, error: StreamerError) -> None:
        raise error


@dataclass(frozen=True)
class Case:
    """What is simulated: `streams` listeners.

    `arrivals` closed: each asks anew some time after he has heard the last of it; poisson: so many on average,
    coming by chance; burst: all in one moment, and nobody after.
    """

    streams: int
    seconds: float
    seed: int
    lead_s: float
    generate_ahead_s: float
    chunk_frames: tuple[int, ...]
    later_chunk_frames: tuple[int, ...]
    sentences_ahead: int = 2
    pause_s: float = 1.0
    arrivals: str = "closed"
    max_load: float | None = None


class Crowd:
    """Who listens when: always so many, so many on average by chance, or all of them at once."""

    def __init__(self, case: Case, clock: Clock) -> None:
        self._case = case
        self._clock = clock
        self._chance = random.Random(case.seed)
        self.made: list[Listening] = []
        if case.arrivals == "closed":
            starts = [self._chance.uniform(0, 10) for _ in range(case.streams)]
        elif case.arrivals == "burst":
            starts = [1.0] * case.streams
        else:
            rate_hz, starts = case.streams / MEAN_UTTERANCE_S, [0.0]
            while starts[-1] < case.seconds:
                starts.append(starts[-1] + self._chance.expovariate(rate_hz))
        self._present: list[Listening] = []
        self._coming = sorted((self._utterance(start_s) for start_s in starts), key=lambda item: item.start_s)

    def present(self) -> list[Listening]:
        """Everybody who has come and not heard everything yet."""
        now_s, case = self._clock.now_s, self._case
        left = [item for item in self._present if item.is_over and item.heard_all_s <= now_s]
        for listening in left:
            self._present.remove(listening)
            if case.arrivals == "closed":
                pause_s = self._chance.uniform(0, 2 * case.pause_s)
                self._coming.append(self._utterance(now_s + pause_s))
        come = [item for item in self._coming if item.start_s <= now_s]
        if come:
            self._coming = [item for item in self._coming if item.start_s > now_s]
            self._present += come
            self.made += come
        return self._present

    def _utterance(self, start_s: float) -> Listening:
        durations = [self._chance.uniform(2.0, 9.0) for _ in range(self._chance.randint(1, 4))]
        name = f"{start_s:.6f}.{self._chance.random()}"
        return Listening(name, start_s, durations, self._clock, self._case.lead_s)


def ask(
    listening: Listening,
    engine: Engine[Sentence],
    config: ModelConfig,
    windows: CoarseWindows,
    sentences_ahead: int,
) -> None:
    """Have the next sentences made, as far ahead as a client's pipeline does."""
    while listening.num_asked < min(len(listening.durations_s), listening.num_ended + sentences_ahead):
        number = listening.num_asked
        request_id = f"{listening.name}.{number}"
        num_semantic = round(listening.durations_s[number] * config.semantic.rate_hz)
        sentence = Sentence(config, windows, num_semantic, number)
        try:
            engine.submit(Request(request_id, sentence, Ear(listening, request_id), listening.name, number))
        except OverloadedError:
            listening.is_refused = True
            listening.num_asked = listening.num_ended = len(listening.durations_s)
            return
        listening.num_asked += 1


def _fine(config: ModelConfig, case: Case) -> FineConfig:
    return replace(config.fine, chunk_frames=case.chunk_frames, later_chunk_frames=case.later_chunk_frames)


def simulate(case: Case, config: ModelConfig, times: StepTimes) -> dict[str, float]:
    """Percentiles of first audio and of gaps, and how busy the machine was."""
    clock = Clock()
    config = replace(config, fine=_fine(config, case))
    windows = CoarseWindows.from_config(config)
    num_slots = min(MAX_SLOTS, 2 * case.streams * case.sentences_ahead)
    fine = Fine(config, times, clock, 8)
    engine = Engine[Sentence](
        (
            Semantic(config, times, clock, 64),
            Coarse(config, times, clock, 64),
            fine,
            Codec(config, times, clock, 64),
        ),
        num_slots=num_slots,
        sample_rate_hz=SAMPLE_RATE_HZ,
        generate_ahead_s=case.generate_ahead_s,
        max_waiting=100_000,
        max_load=case.max_load,
        clock=lambda: clock.now_s,
    )
    crowd = Crowd(case, clock)
    read_s = 0.0
    while clock.now_s < case.seconds:
        present = crowd.present()
        for listening in present:
            ask(listening, engine, config, windows, case.sentences_ahead)
        if clock.now_s >= read_s:
            for listening in present:
                listening.read(engine)
            read_s = clock.now_s + 0.02
        if not engine.step():
            clock.now_s += 0.005
    made = crowd.made
    heard = [item for item in made if item.first_s is not None]
    first_ms = [1000 * (item.first_s - item.start_s) for item in heard if item.first_s is not None]
    p50, p95, p99 = np.percentile(first_ms, [50, 95, 99]).tolist() if first_ms else [None] * 3
    return {
        "streams": case.streams,
        "utterances": len(heard),
        "refused_share": float(np.mean([item.is_refused for item in made])) if made else 0.0,
        "first_audio_p50_ms": p50,
        "first_audio_p95_ms": p95,
        "first_audio_p99_ms": p99,
        "share_with_gap": float(np.mean([item.longest_gap_s > GAP_S for item in heard])) if heard else 1.0,
        "silence_per_sound": sum(item.silent_s for item in heard)
        / max(1e-9, sum(item.delivered_s for item in heard)),
        "fine_chunks_per_s": fine.num_chunks / max(1e-9, sum(item.delivered_s for item in made)),
        "busy": clock.busy_s / clock.now_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 8, 32, 64, 128, 256])
    parser.add_argument("--seconds", type=float, default=40.0, help="simulated time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lead-s", type=float, default=2.0)
    parser.add_argument("--generate-ahead-s", type=float, default=8.0)
    parser.add_argument("--chunk-frames", type=int, nargs="+", default=list(LARGE.fine.chunk_frames))
    parser.add_argument(
        "--later-chunk-frames", type=int, nargs="+", default=list(LARGE.fine.later_chunk_frames)
    )
    parser.add_argument("--arrivals", choices=("closed", "poisson", "burst"), default="closed")
    parser.add_argument("--max-load", type=float, help="refuse new listeners beyond; none: never")
    parser.add_argument("--times", type=Path, help="JSON file with the milliseconds of `StepTimes`")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    times = StepTimes(**json.loads(arguments.times.read_text())) if arguments.times else StepTimes()
    rows = []
    for streams in track(arguments.streams, "simulating"):
        case = Case(
            streams,
            arguments.seconds,
            arguments.seed,
            arguments.lead_s,
            arguments.generate_ahead_s,
            tuple(arguments.chunk_frames),
            tuple(arguments.later_chunk_frames),
            arrivals=arguments.arrivals,
            max_load=arguments.max_load,
        )
        rows.append(simulate(case, LARGE, times))
    table = Table(title="first audio in ms, gaps above 100 ms")
    for name in (
        "streams",
        "utterances",
        "p50",
        "p95",
        "p99",
        "with gaps",
        "silence/sound",
        "busy",
        "fine/s",
    ):
        table.add_column(name, justify="right")
    for row in rows:
        figures = [row[f"first_audio_{name}_ms"] for name in ("p50", "p95", "p99")]
        first = ["–" if figure is None else f"{figure:.0f}" for figure in figures]
        shares = [
            f"{row[name]:.1%}" for name in ("share_with_gap", "silence_per_sound", "busy", "refused_share")
        ]
        table.add_row(
            str(row["streams"]), str(row["utterances"]), *first, *shares, f"{row['fine_chunks_per_s']:.2f}"
        )
    Console().print(table)
    if arguments.output:
        given = {
            name: str(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()
        }
        result = {
            "benchmark": "simulate",
            **surroundings(),
            "times": asdict(times),
            "arguments": given,
            "rows": rows,
        }
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
