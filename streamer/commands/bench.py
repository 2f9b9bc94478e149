# ruff: noqa: RUF009  (_flag() is dataclasses.field() with the help text and the range)
"""The command `streamer bench`: loads a server as its users would, and shows what they hear; `cli` adds it."""

from __future__ import annotations

import argparse
import asyncio
import math
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table

from streamer.loadtest.client import BenchError, Target, probe
from streamer.loadtest.environment import environment, write_result
from streamer.loadtest.load import TEXTS, Load, apply_load
from streamer.loadtest.playout import ENCODINGS
from streamer.loadtest.summary import Summary, Tally, find_capacity, summarize

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    Commands = _SubParsersAction[argparse.ArgumentParser]

MAX_RATE_HZ: Final = 1000.0
MAX_TEXT_CHARS: Final = 2000


def _flag(default: object, help_text: str, allowed: tuple[float, float] | None = None) -> Any:
    return field(default=default, metadata={"help": help_text, "range": allowed})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One load test; the command's flags are derived from these fields, whose defaults and ranges stand here alone."""

    url: str
    rate: float = _flag(0.5, "utterances per second", (0.01, MAX_RATE_HZ))
    search: bool = _flag(False, "search for the highest good rate, from --rate on")
    seconds: float = _flag(30.0, "shortest time that is measured at a rate", (1, 3600))
    utterances: int = _flag(100, "fewest utterances that are measured at a rate", (1, 100_000))
    warm_up: float = _flag(5.0, "seconds at a rate before it is measured", (0, 600))
    seed: int = _flag(0, "the same seed gives the same arrivals and texts", (0, 2**31))
    encoding: str = _flag(ENCODINGS[0], f"what is asked for: {' or '.join(ENCODINGS)}")
    texts: Path | None = _flag(None, "file with one text per line")
    api_key_file: Path | None = _flag(None, "file with the key that the server demands")
    count_silence: bool = _flag(False, "time the first sample even if it is inaudible: for random weights")

    def check(self) -> None:
        """Raise `BenchError` for a number out of its range or an unknown encoding."""
        for declared in _FLAGS:
            if allowed := declared.metadata["range"]:
                value, (low, high) = getattr(self, declared.name), allowed
                if not math.isfinite(value) or not low <= value <= high:
                    flag = _name_of_flag(declared.name)
                    raise BenchError(
                        f"{flag} {value:g}: it must be from {low:g} to {high:g}", param=declared.name
                    )
        if self.encoding not in ENCODINGS:
            raise BenchError(
                f"--encoding {self.encoding!r}: use one of {', '.join(ENCODINGS)}", param="encoding"
            )

    def step_s(self, rate_hz: float) -> float:
        """Estimate how long one rate takes; the last utterances may take some seconds more."""
        return self.warm_up + max(self.seconds, self.utterances / rate_hz)

    def read_texts(self) -> tuple[str, ...]:
        """Return the texts to speak. Raises `BenchError` for a file that has none, or too long ones."""
        if self.texts is None:
            return TEXTS
        lines = [line.strip() for line in _read(self.texts).splitlines() if line.strip()]
        if not lines or any(len(line) > MAX_TEXT_CHARS for line in lines):
            raise BenchError(
                f"{self.texts}: give one text per line, of at most {MAX_TEXT_CHARS} characters each"
            )
        return tuple(lines)

    def target(self) -> Target:
        """Return the server to load. Raises `BenchError` for a file that is not one key."""
        if self.api_key_file is None:
            return Target(self.url, self.encoding)
        key = _read(self.api_key_file).strip()
        if not key.isprintable() or not key.isascii() or " " in key or not key:
            raise BenchError(
                f"{self.api_key_file}: it must contain one key and nothing else", param="api_key_file"
            )
        return Target(self.url, self.encoding, key)


def add_bench_command(commands: Commands) -> None:
    """Add `bench` to the commands."""
    parser = commands.add_parser("bench", help="load a running server and measure what its clients hear")
    parser.add_argument("url", help="ws://host:port/v1/stream")
    add_plan_flags(parser)
    parser.set_defaults(run=lambda parsed: bench(read_plan(parsed, parsed.url), parsed.output))


def add_plan_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each field of `Plan` but the server's address, and `--output`."""
    for declared in _FLAGS:
        flag, default, help_text = _name_of_flag(declared.name), declared.default, declared.metadata["help"]
        if isinstance(default, bool):
            parser.add_argument(flag, action="store_true", help=help_text)
        elif default is None:
            parser.add_argument(flag, type=Path, help=help_text)
        else:
            shown = f"{help_text} (default: {default})"
            parser.add_argument(flag, type=type(default), default=default, help=shown)
    parser.add_argument("--output", type=Path, help="JSON file to write")


def read_plan(parsed: argparse.Namespace, url: str) -> Plan:
    """Return the plan that the flags of `add_plan_flags` describe."""
    return Plan(url=url, **{declared.name: getattr(parsed, declared.name) for declared in _FLAGS})


_FLAGS = fields(Plan)[1:]


def _name_of_flag(name: str) -> str:
    return "--" + name.replace("_", "-")


async def run(plan: Plan, on_step: Callable[[dict[str, Any]], None] = lambda _result: None) -> dict[str, Any]:
    """Run the test and return its result for JSON; `on_step` is given the result so far after each rate.

    Raises `BenchError` if the test cannot be run.
    """
    plan.check()
    target, texts = plan.target(), plan.read_texts()
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
        _say(f"{rate_hz:.3g} per second: {_duration(plan.step_s(rate_hz))}")
        load = Load(rate_hz, plan.seconds, plan.warm_up, plan.seed, texts, plan.utterances)
        if plan.search:  # A single rate is measured to its end, however bad it is.
            session = await apply_load(target, load, Tally(counts_silence=plan.count_silence).is_hopeless)
        else:
            session = await apply_load(target, load)
        summary = summarize(session, counts_silence=plan.count_silence)
        result["rows"].append(summary.as_row())
        on_step(result)
        return summary

    if plan.search:
        _say(_forecast(plan))
        result["capacity_hz"] = await find_capacity(measure, plan.rate, MAX_RATE_HZ)
    else:
        await measure(plan.rate)
    result["is_complete"] = True
    return result


def _forecast(plan: Plan) -> str:
    # Steps at doubled rates take half as long each, down to `seconds`; about four are that short.
    usual_s = 2 * plan.step_s(plan.rate) + 4 * (plan.warm_up + plan.seconds)
    return (
        f"searching: about {_duration(usual_s)} if the server carries {plan.rate:g} per second, and longer if not, "
        "because lower rates take longer; a clearly bad rate ends early"
    )


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def show(result: dict[str, Any]) -> None:
    """Print the result as a table."""
    table = Table(title=f"{result['model']} at {result['url']}")
    columns = {
        "per second": "rate_hz",
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
        print(f"capacity: {result['capacity_hz']:.2f} utterances per second")


def _cell(field: str, value: float | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field.endswith("share"):
        return f"{value:.1%}"
    return f"{value:.0f}" if field.endswith("_ms") or isinstance(value, int) else f"{value:.2f}"


def bench(plan: Plan, output: Path | None) -> int:
    """Run the test, show it, and write what there is after each rate; returns the exit status."""
    if output is not None and (
        output.is_dir() or not output.parent.is_dir()
    ):  # before the work, not after it
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
