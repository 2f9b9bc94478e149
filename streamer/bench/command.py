"""`streamer bench`: loads a server as its users would, and says what they hear."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from streamer.bench.client import BenchError, Target, probe
from streamer.bench.load import TEXTS, Load, apply_load
from streamer.bench.sound import ENCODINGS
from streamer.bench.summary import Summary, find_capacity, summarize

MAX_RATE_HZ = 1000.0
MAX_TEXT_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Plan:
    """One load test. `search`: look for the highest good rate from `rate_hz` on."""

    url: str
    rate_hz: float = 0.5
    search: bool = False
    seconds: float = 30.0
    warm_up_s: float = 5.0
    seed: int = 0
    encoding: str = "opus"
    counts_silence: bool = False
    texts_file: Path | None = None
    api_key_file: Path | None = None

    def check(self) -> None:
        """Raises `BenchError` for a number out of range, an unknown encoding, or a file without use."""
        for name, low, high in (("rate_hz", 0.01, MAX_RATE_HZ), ("seconds", 1, 3600), ("warm_up_s", 0, 600)):
            value = getattr(self, name)
            if not math.isfinite(value) or not low <= value <= high:
                raise BenchError(f"{name} {value:g} is not from {low:g} to {high:g}", param=name)
        if self.encoding not in ENCODINGS:
            raise BenchError(
                f"encoding {self.encoding!r} is none of {', '.join(ENCODINGS)}", param="encoding"
            )

    def texts(self) -> tuple[str, ...]:
        if self.texts_file is None:
            return TEXTS
        lines = [line.strip() for line in _read(self.texts_file).splitlines() if line.strip()]
        if not lines or any(len(line) > MAX_TEXT_CHARS for line in lines):
            raise BenchError(
                f"{self.texts_file}: one text a line, each of at most {MAX_TEXT_CHARS} characters"
            )
        return tuple(lines)

    def target(self) -> Target:
        key = None if self.api_key_file is None else _read(self.api_key_file).strip()
        return Target(self.url, self.encoding, key or None)


async def run(plan: Plan) -> dict[str, Any]:
    """The result as JSON has it. Raises `BenchError` saying why there can be no test."""
    plan.check()
    target, texts = plan.target(), plan.texts()
    session = await probe(target)

    async def measure(rate_hz: float) -> Summary:
        load = Load(rate_hz, plan.seconds, plan.warm_up_s, plan.seed, texts)
        return summarize(await apply_load(target, load), counts_silence=plan.counts_silence)

    if plan.search:
        capacity_hz, rows = await find_capacity(measure, plan.rate_hz, MAX_RATE_HZ)
    else:
        rows = [await measure(plan.rate_hz)]
        capacity_hz = plan.rate_hz if rows[0].is_good else 0.0
    return {
        "url": plan.url,
        "model": session.get("model"),
        "server": session.get("server"),
        "seconds": plan.seconds,
        "seed": plan.seed,
        "capacity_hz": capacity_hz if plan.search else None,
        "rows": [row.as_row() for row in rows],
    }


def show(result: dict[str, Any]) -> None:
    """A table for people."""
    table = Table(title=f"{result['model']} at {result['url']}")
    columns = {
        "a second": "rate_hz",
        "audible ms p50": "audible_p50_ms",
        "p95": "audible_p95_ms",
        "p99": "audible_p99_ms",
        "gaps > 100 ms": "underrun_share",
        "refused": "refused_share",
        "failed": "failed_share",
        "in flight": "mean_in_flight",
        "client lag ms": "client_lag_p99_ms",
        "good": "is_good",
    }
    for name in columns:
        table.add_column(name, justify="right")
    for row in result["rows"]:
        cells = []
        for field in columns.values():
            value = row[field]
            if isinstance(value, bool):
                cells.append("yes" if value else "no")
            elif field.endswith("share"):
                cells.append(f"{value:.1%}")
            else:
                cells.append(f"{value:.0f}" if field.endswith("_ms") else f"{value:.2f}")
        table.add_row(*cells)
    Console(width=130).print(table)
    if result["capacity_hz"] is not None:
        print(f"capacity: {result['capacity_hz']:.2f} utterances a second")


def bench(plan: Plan, output: Path | None) -> int:
    """Run, show, and write; the command's exit status."""
    if output is not None and not output.parent.is_dir():  # said before the work, not after it
        raise BenchError(f"{str(output)!r}: there is no such directory", param="output")
    result = asyncio.run(run(plan))
    show(result)
    if output is not None:
        output.write_text(json.dumps(result, indent=1) + "\n")
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: {error}") from error
