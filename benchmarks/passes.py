"""How long do whole passes and decode steps take beside another checkout's? Processor time, by turns.

Each checkout measures in a process of its own, with its own packages on the path, and the processes take turns, so that
whatever else the machine does meets both. One thread and its processor time tell the same on a busy machine as on an
idle one, more or less; the least of the calls counts. The networks have the small Bark's shape with random weights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

ROWS_OF_PASSES = (1, 4)
ROWS_OF_STEPS = (1, 4, 8)
LENGTHS = {"semantic": (257, 507), "coarse": (887, 917)}
"""The positions of a prefill, and the position of a decode step."""


def least_ms(call: Callable[[], object], num_calls: int) -> float:
    """Return the least processor time of a call in milliseconds."""
    call()
    times: list[float] = []
    for _ in range(num_calls):
        start_s = time.process_time()
        call()
        times.append(time.process_time() - start_s)
    return 1000 * min(times)


def converted(network: Any) -> Any:
    """Return `network` in int8, also in a checkout of before the folders `cpu` and `gpu`."""
    try:
        from streamer.models.cpu.int8_gpt import use_int8
    except ImportError:
        from streamer.models import gpt, int8, wide  # type: ignore[attr-defined]

        dtype = int8.fastest_wide_dtype()
        if hasattr(network, "prefill"):
            return int8.Int8Gpt(network, wide_dtype=dtype)
        network.blocks = wide.fastest_blocks(network.blocks, dtype)
        gpt.set_dtype(network, dtype)
        return network
    use_int8(network)
    return network


def small_config() -> Any:
    """Return the small Bark's config, whose module had another name before."""
    try:
        from streamer.models.config import SMALL
    except ImportError:
        from streamer.models.vocabulary import SMALL  # type: ignore[import-not-found, no-redef]
    return SMALL


def times_of(name: str, gpt: Any, length: int, position: int) -> dict[str, float]:
    """Return the milliseconds of a causal network's prefills of `length` and its steps at `position`."""
    from streamer.models.kv_cache import KvCache

    num_rows, found = max(ROWS_OF_STEPS), dict[str, float]()
    if hasattr(gpt, "new_cache"):
        cache: Any = gpt.new_cache(num_rows)
    else:  # in an earlier version
        cache = KvCache(gpt.config, num_rows, gpt.cache_dtype)
    for rows in ROWS_OF_PASSES:
        embeddings = gpt.embed(torch.zeros(rows, length, dtype=torch.long))
        prefill = partial(gpt.prefill, embeddings, cache, torch.arange(rows))
        found[f"{name} prefill of {length}, {rows} rows"] = least_ms(prefill, 6 // rows + 1)
    for rows in ROWS_OF_STEPS:
        slots = torch.arange(rows)
        step = partial(gpt.decode, torch.zeros_like(slots), torch.full_like(slots, position), cache, slots)
        found[f"{name} step at {position}, {rows} rows"] = least_ms(step, 30)
    return found


@torch.inference_mode()
def measure(num_layers: int) -> dict[str, float]:
    """Return the milliseconds of each pass and step of the checkout on the path."""
    from streamer.models.fine_gpt import FineGpt
    from streamer.models.gpt import CausalGpt

    torch.set_num_threads(1)
    torch.manual_seed(0)
    config, found = small_config(), dict[str, float]()
    for name, (length, position) in LENGTHS.items():
        size = replace(getattr(config, name).transformer, num_layers=num_layers)
        gpt = converted(CausalGpt(size).eval().requires_grad_(False))
        found |= times_of(name, gpt, length, position)
    fine_size = replace(config.fine.transformer, num_layers=num_layers)
    fine = converted(FineGpt(fine_size, 8, 1).eval().requires_grad_(False))
    for rows in ROWS_OF_PASSES:
        codes = torch.zeros(rows, 8, config.fine.context, dtype=torch.long)
        found[f"fine pass of {config.fine.context}, {rows} rows"] = least_ms(
            partial(fine, 4, codes), 4 // rows + 1
        )
    return found


def measured_in(checkout: Path, num_layers: int, compiled: str) -> dict[str, float]:
    """Have `checkout` measure, in a process of its own; `compiled` is a folder for what numba compiles."""
    command = [sys.executable, "-B", __file__, "--measure", "--layers", str(num_layers)]
    path = {"PYTHONPATH": str(checkout), "NUMBA_CACHE_DIR": compiled}
    done = subprocess.run(
        command, cwd=checkout, env=os.environ | path, check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def commit_of(checkout: Path) -> str:
    """Return the commit that `checkout` is at."""
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def compare(baseline: Path, num_layers: int, repeats: int) -> dict[str, Any]:
    """Measure this checkout and `baseline` by turns; a row's ratio is the median over the turns."""
    from streamer.loadtest.environment import environment

    here = Path(__file__).parent.parent
    with TemporaryDirectory() as theirs, TemporaryDirectory() as ours:
        turns = [
            (measured_in(baseline, num_layers, theirs), measured_in(here, num_layers, ours))
            for _ in range(repeats)
        ]
    rows = []
    for name in turns[0][0]:
        times = np.array([[turn[name] for turn in pair] for pair in turns])
        rows.append(
            {
                "step": name,
                "baseline_ms": float(times[:, 0].min()),
                "ms": float(times[:, 1].min()),
                "ratio": float(np.median(times[:, 1] / times[:, 0])),
            }
        )
    return {
        "benchmark": "passes",
        **environment(),
        "baseline_commit": commit_of(baseline),
        "layers": num_layers,
        "repeats": repeats,
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--baseline", type=Path, help="another checkout")
    parser.add_argument("--layers", type=int, default=12, help="fewer are quicker to measure")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.layers)))
        return
    if arguments.baseline is None:
        parser.error("--baseline is missing: name the other checkout's folder")
    result = compare(arguments.baseline, arguments.layers, arguments.repeats)
    table = Table(title=f"processor ms of one thread beside {result['baseline_commit']}")
    for name in ("step", "baseline", "here", "ratio"):
        table.add_column(name)
    for row in result["rows"]:
        table.add_row(row["step"], f"{row['baseline_ms']:.1f}", f"{row['ms']:.1f}", f"{row['ratio']:.2f}")
    Console(width=100).print(table)
    if arguments.output:
        from streamer.loadtest.environment import write_result

        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
