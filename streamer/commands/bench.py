"""`streamer bench`: loads a server as its users would, and says what they hear."""

from __future__ import annotations

import asyncio
import math
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from streamer.loadtest.client import BenchError, Target, probe
from streamer.loadtest.environment import environment, write_result
from streamer.loadtest.load import TEXTS, Load, apply_load
from streamer.loadtest.playout import ENCODINGS
from streamer.loadtest.summary import Summary, Tally, find_capacity, summarize

MAX_RATE_HZ = 1000.0
MAX_TEXT_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Plan:
    """One load test. `search`: look for the highest good rate from `rate_hz` on.

    A rate is measured for `seconds`, and for at least `num_utterances`: of fewer, 1 of 100 cannot be told.
    """

    url: str
    rate_hz: float = 0.5
    search: bool = False
    seconds: float = 30.0
    num_utterances: int = 100
    warm_up_s: float = 5.0
    seed: int = 0
    encoding: str = "opus"
    counts_silence: bool = False
    texts_file: Path | None = None
    api_key_file: Path | None = None

    def check(self) -> None:
        """Raises `BenchError` for a number out of range, an unknown encoding, or a file without use."""
        ranges = (
            ("rate_hz", 0.01, MAX_RATE_HZ),
            ("seconds", 1, 3600),
            ("num_utterances", 1, 100_000),
            ("warm_up_s", 0, 600),
            ("seed", 0, 2**31),
        )
        for name, low, high in ranges:
            value = getattr(self, name)
            if not math.isfinite(value) or not low <= value <= high:
                raise BenchError(f"{name} {value:g} is not from {low:g} to {high:g}", param=name)
        if self.encoding not in ENCODINGS:
            raise BenchError(
                f"encoding {self.encoding!r} is none of {', '.join(ENCODINGS)}", param="encoding"
            )

    def step_s(self, rate_hz: float) -> float:
        """About how long one rate takes; what is said last may take some seconds more."""
        return self.warm_up_s + max(self.seconds, self.num_utterances / rate_hz)

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
        if self.api_key_file is None:
            return Target(self.url, self.encoding)
        key = _read(self.api_key_file).strip()
        if not key.isprintable() or not key.isascii() or " " in key or not key:
            raise BenchError(
                f"{self.api_key_file}: it must hold one key and nothing else", param="api_key_file"
            )
        return Target(self.url, self.encoding, key)


async def run(plan: Plan, on_step: Callable[[dict[str, Any]], None] = lambda _result: None) -> dict[str, Any]:
    """The result as JSON has it; after each rate `on_step` is given what there is of it.

    Raises `BenchError` saying why there can be no test.
    """
    plan.check()
    target, texts = plan.target(), plan.texts()
    greeting = await probe(target)
    result: dict[str, Any] = {
        **environment(),
        "url": plan.url,
        "model": greeting.get("model"),
        "server": greeting.get("server"),
        "seconds": plan.seconds,
        "seed": plan.seed,
        "capacity_hz": None,
        "is_complete": False,
        "rows": [],
    }

    async def measure(rate_hz: float) -> Summary:
        _say(f"{rate_hz:.3g} a second: {_duration(plan.step_s(rate_hz))}")
        load = Load(rate_hz, plan.seconds, plan.warm_up_s, plan.seed, texts, plan.num_utterances)
        if plan.search:  # who wants one rate wants all its figures, however bad
            session = await apply_load(target, load, Tally(counts_silence=plan.counts_silence).is_hopeless)
        else:
            session = await apply_load(target, load)
        summary = summarize(session, counts_silence=plan.counts_silence)
        result["rows"].append(summary.as_row())
        on_step(result)
        return summary

    if plan.search:
        _say(_forecast(plan))
        result["capacity_hz"] = await find_capacity(measure, plan.rate_hz, MAX_RATE_HZ)
    else:
        await measure(plan.rate_hz)
    result["is_complete"] = True
    return result


def _forecast(plan: Plan) -> str:
    # Steps at doubled rates take half as long each, down to `seconds`; some four are as short as that.
    usual_s = 2 * plan.step_s(plan.rate_hz) + 4 * (plan.warm_up_s + plan.seconds)
    return (
        f"searching: some {_duration(usual_s)} where {plan.rate_hz:g} a second is carried, and longer where it is "
        "not: a lower rate takes longer. A clearly bad one ends early"
    )


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def show(result: dict[str, Any]) -> None:
    """A table for people."""
    table = Table(title=f"{result['model']} at {result['url']}")
    columns = {
        "a second": "rate_hz",
        "utterances": "num_utterances",
        "audible ms p50": "audible_p50_ms",
        "p95": "audible_p95_ms",
        "p99": "audible_p99_ms",
        "late": "late_share",
        "underruns": "underrun_share",
        "gaps > 100 ms": "gaps_over_100_ms_share",
        "refused": "refused_share",
        "failed": "failed_share",
        "in flight": "mean_in_flight",
        "client lag ms": "client_lag_p99_ms",
        "good": "is_good",
    }
    for name in columns:
        table.add_column(name, justify="right")
    for row in result["rows"]:
        cells = [_cell(field, row[field]) for field in columns.values()]
        if row["is_cut_short"]:
            cells[-1] = "no, cut short"
        table.add_row(*cells)
    Console(width=150).print(table)
    reasons = sum((Counter(row["reasons"]) for row in result["rows"]), Counter())
    for reason, count in reasons.most_common():
        print(f"{count} not served: {reason}")
    if result["capacity_hz"] is not None:
        print(f"capacity: {result['capacity_hz']:.2f} utterances a second")


def _cell(field: str, value: float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field.endswith("share"):
        return f"{value:.1%}"
    return f"{value:.0f}" if field.endswith("_ms") or isinstance(value, int) else f"{value:.2f}"


def bench(plan: Plan, output: Path | None) -> int:
    """Run, show, and write, what there is after every rate; the command's exit status."""
    if output is not None and (output.is_dir() or not output.parent.is_dir()):  # said before the work
        raise BenchError(f"{str(output)!r}: no file can be written there", param="output")

    def write(result: dict[str, Any]) -> None:
        if output is not None:
            write_result(output, {"benchmark": "load", **result})

    result = asyncio.run(run(plan, write))
    show(result)
    write(result)
    return 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BenchError(f"{path}: {error}") from error
