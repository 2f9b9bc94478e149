"""What does it cost to cut 2,000 characters of each kind of text? Processor time, in all and for the longest slice.

A slice is what is done before others have their turn on the event loop. The text is read as by the server, with the
built-in voice's tokens and its numbers written out: at once, or word by word as a language model writes it.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.text_kinds import KINDS, text_of
from streamer.assembly import BUILTIN_MODEL
from streamer.loadtest.environment import environment, write_result
from streamer.models.files.config_file import read_config
from streamer.speech.lookahead import SLICE_CHARS
from streamer.speech.speech_warnings import UnsupportedText
from streamer.synthesis import ModelInfo
from streamer.text.clean import Composer
from streamer.text.reading import TextOptions, create_splitter
from streamer.text.splitting.dialogue import DialogueSplitter
from streamer.text.splitting.sentences import Sentence
from streamer.text.tokens.tokenizer import load_model_tokenizer

TOTAL_AIM_MS, SLICE_AIM_MS = 20.0, 5.0
NUM_RUNS = 5
READINGS = {
    "plain": TextOptions(),
    "chat": TextOptions(text_format="chat"),
    "no markup": TextOptions(markup=False),
}
WRITERS: dict[str, Callable[[str], list[str]]] = {
    "whole": lambda text: [text],
    "words": lambda text: re.findall(r"\s*\S{1,8}|\s+", text),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """One kind of text: the least of several runs."""

    kind: str
    total_ms: float
    longest_slice_ms: float


class Cutter:
    """Cuts texts as `lookahead` does for the built-in voice."""

    def __init__(self, reading: TextOptions) -> None:
        config = read_config(BUILTIN_MODEL / "config.json")
        self._tokenizer = load_model_tokenizer(config, BUILTIN_MODEL)
        self._reading = reading
        self._info = ModelInfo(
            name=config.name,
            sample_rate_hz=config.codec.sample_rate_hz,
            default_voice="joe",
            voices=("joe", "jane"),
            languages=config.languages,
            tags=config.tags,
            max_text_tokens=config.max_piece_tokens,
            normalizes_text=config.normalize_text,
            phones=self._tokenizer.phones,
        )

    def count_tokens(self, text: str) -> int:
        return len(self._tokenizer.encode(" ".join(text.split())))

    def slices_of(self, pieces: list[str]) -> Iterator[None]:
        """Cut the text that comes in these pieces; each step is one slice."""
        splitter = DialogueSplitter(
            create_splitter(self._info, self.count_tokens, self._reading), self._info.voices, {}
        )
        unsupported, composer = UnsupportedText(self._info), Composer()
        for piece in (*pieces, None):
            text = composer.finish() if piece is None else composer.push(piece)
            yield
            for start in range(0, len(text), SLICE_CHARS):
                for item in splitter.feed(text[start : start + SLICE_CHARS]):
                    if isinstance(item, Sentence):
                        list(unsupported.warnings(item.words))
                    yield
                yield
        for _ in splitter.end():
            yield


def measure(cutter: Cutter, kind: str, cut: Callable[[str], list[str]]) -> Cost:
    """Cut one kind of text several times; drawn texts are others each time."""
    totals_ms, slices_ms = [], []
    for seed in range(NUM_RUNS):
        pieces = cut(text_of(kind, seed=seed))
        gc.collect()
        gc.disable()
        times_s = [time.thread_time()]
        times_s += [time.thread_time() for _ in cutter.slices_of(pieces)]
        times_s.append(time.thread_time())
        gc.enable()
        totals_ms.append(1000 * (times_s[-1] - times_s[0]))
        slices_ms.append(1000 * max(end - start for start, end in itertools.pairwise(times_s)))
    return Cost(kind, min(totals_ms), min(slices_ms))


def show(costs: list[Cost], title: str, before: dict[str, Any] | None) -> None:
    table = Table(title=title)
    for name in (
        "kind",
        "ms in all",
        "longest slice, ms",
        *(("before, ms", "slice before, ms") if before else ()),
    ):
        table.add_column(name, justify="left" if name == "kind" else "right")
    earlier = {cost["kind"]: cost for cost in before["costs"]} if before else {}
    for cost in costs:
        figures = [cost.total_ms, cost.longest_slice_ms]
        if cost.kind in earlier:
            figures += [earlier[cost.kind]["total_ms"], earlier[cost.kind]["longest_slice_ms"]]
        table.add_row(cost.kind, *(f"{figure:.1f}" for figure in figures))
    Console().print(table)
    over = sum(cost.total_ms > TOTAL_AIM_MS or cost.longest_slice_ms > SLICE_AIM_MS for cost in costs)
    Console().print(
        f"{over} of {len(costs)} over the aim of {TOTAL_AIM_MS:g} ms, and {SLICE_AIM_MS:g} ms in a slice"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reading", choices=READINGS, default="plain")
    parser.add_argument("--written", choices=WRITERS, default="whole")
    parser.add_argument("--before", type=Path, help="JSON file of an earlier run, to stand beside this one")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    before = json.loads(arguments.before.read_text(encoding="utf-8")) if arguments.before else None
    cutter = Cutter(READINGS[arguments.reading])
    measure(cutter, KINDS[0], WRITERS[arguments.written])  # reads what is read once
    costs = [measure(cutter, kind, WRITERS[arguments.written]) for kind in KINDS]
    costs.sort(key=lambda cost: -cost.total_ms)
    show(costs, f"{arguments.reading}, {arguments.written}", before)
    if arguments.output:
        result = {"benchmark": "text_cost", **environment(), "reading": arguments.reading}
        rows = [{name: getattr(cost, name) for name in Cost.__slots__} for cost in costs]
        write_result(arguments.output, result | {"written": arguments.written, "costs": rows})


if __name__ == "__main__":
    main()
