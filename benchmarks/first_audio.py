"""How is the time to the first audio spent? Queue, semantic, coarse, fine, codec, Opus and sending, one by one.

The real server runs in this process with clocks around every step, and a client connects over a real socket. While
others speak, all time outside of the watched sentence's own steps is spent waiting for theirs.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.first_packet import SENTENCES
from benchmarks.speaking import LIFTED_LIMITS, speak
from streamer.assembly import build_synthesizer
from streamer.backends.local import LocalSynthesizer
from streamer.config import Config, load_config
from streamer.loadtest.environment import environment, write_result
from streamer.server.app import Server
from streamer.server.flow_control import Outbox

PARTS = ("intake", "queue", "semantic", "coarse", "fine", "codec", "waiting", "opus", "send")


@dataclass
class Clocks:
    """Notes what happens to the watched sentence, in seconds on one clock."""

    is_watching: bool = False
    work: Any = None
    submitted_s: float = 0.0
    begun_s: float | None = None
    spent_s: dict[str, float] = field(default_factory=dict)
    sounded_s: float | None = None
    packed_s: float | None = None

    def begin(self) -> None:
        self.__init__(is_watching=True)  # type: ignore[misc]

    def watch(self, synthesizer: LocalSynthesizer) -> None:
        """Put the clocks around an engine's submit and steps, and around the server's outbox."""
        engine = synthesizer._engine
        submit = engine.submit

        def watched_submit(request: Any) -> None:
            if self.is_watching and self.work is None:
                self.work, self.submitted_s = request.work, time.monotonic()
            submit(request)

        engine.submit = watched_submit  # type: ignore[method-assign]
        for stage in synthesizer._stages:
            stage.step = self._watched(stage.name, stage.step)  # type: ignore[method-assign, assignment]
        put = Outbox.put

        async def watched_put(outbox: Outbox, frame: str | bytes) -> None:
            if isinstance(frame, bytes) and self.sounded_s is not None and self.packed_s is None:
                self.packed_s = time.monotonic()
            await put(outbox, frame)

        Outbox.put = watched_put  # type: ignore[method-assign]

    def _watched(self, name: str, step: Any) -> Any:
        def watched(batch: Sequence[Any]) -> Any:
            begin_s = time.monotonic()
            pending = step(batch)
            if self.work is not None and self.sounded_s is None and any(work is self.work for work in batch):
                if pending is not None:
                    pending.finish()
                    pending = None
                end_s = time.monotonic()
                self.begun_s = self.begun_s or begin_s
                self.spent_s[name] = self.spent_s.get(name, 0.0) + end_s - begin_s
                if name == "codec":
                    self.sounded_s = end_s
            return pending

        return watched

    def parts_ms(self, sent_s: float, received_s: float) -> dict[str, float]:
        """Return the parts of the time from sending the text to receiving the first packet, in ms."""
        assert self.begun_s is not None and self.sounded_s is not None and self.packed_s is not None
        own_s = sum(self.spent_s.values())
        parts_s = {
            "intake": self.submitted_s - sent_s,
            "queue": self.begun_s - self.submitted_s,
            **self.spent_s,
            "waiting": self.sounded_s - self.begun_s - own_s,
            "opus": self.packed_s - self.sounded_s,
            "send": received_s - self.packed_s,
        }
        return {name: 1000 * parts_s.get(name, 0.0) for name in PARTS}


async def measure(config: Config, concurrency: Sequence[int], repeats: int) -> list[dict[str, Any]]:
    synthesizer = build_synthesizer(config.engine)
    assert isinstance(synthesizer, LocalSynthesizer)
    clocks = Clocks()
    clocks.watch(synthesizer)
    server = Server(config, synthesizer)
    await server.start()
    url = f"ws://127.0.0.1:{server.port}/v1/stream"
    rows = []
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(server.run_until_stopped())
        for num_others in concurrency:
            others = [tasks.create_task(_keep_speaking(url, index)) for index in range(num_others)]
            await asyncio.sleep(2.0 if others else 0.0)
            for text in SENTENCES:
                made = [await _probe(clocks, url, text, seed) for seed in range(repeats)]
                median = {name: float(np.median([parts[name] for parts in made])) for name in PARTS}
                total = float(np.median([sum(parts.values()) for parts in made]))
                rows.append({"others": num_others, "text": text, "first_audio_ms": total, **median})
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)
        server.stop()
        await running
    return rows


async def _probe(clocks: Clocks, url: str, text: str, seed: int) -> dict[str, float]:
    clocks.begin()
    recording = await speak(url, text, seed=seed)
    clocks.is_watching = False
    assert recording.sent_s is not None
    return clocks.parts_ms(recording.sent_s, recording.frames[0][0])


async def _keep_speaking(url: str, seed: int) -> None:
    while True:
        for text in SENTENCES[1:]:
            await speak(url, text, seed=seed, lead_ms=1000)


def show(rows: list[dict[str, Any]]) -> None:
    table = Table(title="to the first audio at the client, milliseconds (median)")
    for name in ("others", "sentence", "first audio", *PARTS):
        table.add_column(name, justify="right")
    for row in rows:
        figures = [f"{row[name]:.0f}" for name in PARTS]
        table.add_row(str(row["others"]), row["text"][:24], f"{row['first_audio_ms']:.0f}", *figures)
    Console(width=140).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--others", type=int, nargs="+", default=[0, 2], help="other listeners served at the same time"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", help="model directory; none: the built-in voice")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    config = load_config(flags={"model": arguments.model, "port": 0, **LIFTED_LIMITS})
    rows = asyncio.run(measure(config, arguments.others, arguments.repeats))
    show(rows)
    if arguments.output:
        result = {"benchmark": "first_audio", **environment(), "rows": rows}
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
