"""How close is each stage to what the machine allows? Milliseconds per step, beside its memory or arithmetic floor.

The floor of a decode step is the time to read weights and cache once at the memory bandwidth measured beside it; the
floor of a whole pass (prefill, fine) is the time of its multiplications at the speed of a large product of its type.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from streamer.assembly import BUILTIN_MODEL, choose_device, choose_dtype
from streamer.engine.device.cuda_graphs import CudaRecorder
from streamer.loadtest.environment import environment, write_result
from streamer.models.codec import CodecDecoder
from streamer.models.config import LARGE, SMALL, ModelConfig, suno_config
from streamer.models.cpu.compiled_codec import compile_codec
from streamer.models.cpu.int8_forward import fastest_forward_dtype
from streamer.models.cpu.int8_gpt import use_int8
from streamer.models.files.config_file import read_config
from streamer.models.fine_gpt import FineGpt
from streamer.models.gpt import CausalGpt, set_dtype
from streamer.models.gpu.fused_gpt import fuse_if_it_agrees

ROWS = (1, 4, 8, 16)
MEMORY_BYTES = 1 << 28
PRODUCT_SIZE = 2048
SPENT_S = 0.3
"""The time in seconds that is spent on each figure, which is the median over the calls in it."""


class Machine:
    """A device with a number format, and how fast it reads and multiplies."""

    def __init__(self, device: str, dtype: str) -> None:
        self.device = device
        self.dtype = dtype
        self.forward_dtype = fastest_forward_dtype() if dtype == "int8" else getattr(torch, dtype)
        self._memory = torch.ones(MEMORY_BYTES // 4, device=device)
        self.bytes_per_ms = self.read_speed()
        factor = torch.ones(PRODUCT_SIZE, PRODUCT_SIZE, dtype=self.forward_dtype, device=device)
        self.operations_per_ms = 2 * PRODUCT_SIZE**3 / self.milliseconds(lambda: factor @ factor)

    def read_speed(self) -> float:
        """Return the memory bandwidth right now in bytes per millisecond; on shared machines it varies."""
        return MEMORY_BYTES / self.milliseconds(self._memory.sum)

    def milliseconds(self, call: Callable[[], object]) -> float:
        """Return the median time of a call in milliseconds, including all work that it started on the device."""
        times: list[float] = []
        call()
        while sum(times) < SPENT_S or len(times) < 3:
            self._wait()
            begin = time.perf_counter()
            call()
            self._wait()
            times.append(time.perf_counter() - begin)
        return 1000 * float(np.median(times))

    def _wait(self) -> None:
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()


def causal_rows(
    name: str, config: Any, machine: Machine, lengths: tuple[int, int]
) -> Iterator[dict[str, Any]]:
    """Return rows for decode steps at the end of a block and for a prefill; `lengths`: (prefill, position)."""
    prefill, position = lengths
    gpt = CausalGpt(config)
    num_weights = sum(
        weight.numel()
        for key, weight in gpt.named_parameters()
        if weight.dim() == 2 and "transformer.w" not in key
    )
    if machine.dtype == "int8":
        use_int8(gpt)
    else:
        set_dtype(gpt, machine.forward_dtype)
    gpt.to(machine.device).eval()
    is_gpu = machine.device.startswith("cuda")
    if is_gpu:
        fuse_if_it_agrees(gpt)
    weight_bytes = num_weights * (1 if machine.dtype == "int8" else machine.forward_dtype.itemsize)
    cache = gpt.new_cache(max(ROWS), machine.device)
    for rows in ROWS:
        slots = torch.arange(rows, device=machine.device)
        tokens, places = torch.zeros_like(slots), torch.full_like(slots, position)
        step: Callable[[], Any] = partial(gpt.decode, tokens, places, cache, slots, length=position + 1)
        if is_gpu:  # the stages launch it in the same way
            step = CudaRecorder()(step)
        speed_before = machine.read_speed()
        took = machine.milliseconds(step)
        bytes_per_ms = (speed_before + machine.read_speed()) / 2
        cache_bytes = cache.nbytes / cache.num_slots * position / cache.block_size * rows
        floor = (weight_bytes + cache_bytes) / bytes_per_ms
        yield {
            "step": f"{name} decode at {position}",
            "rows": rows,
            "ms": took,
            "floor_ms": floor,
            "bytes_per_ms": bytes_per_ms,
        }
    embeddings = gpt.embed(torch.zeros(1, prefill, dtype=torch.long, device=machine.device))
    took = machine.milliseconds(
        lambda: gpt.prefill(embeddings, cache, torch.zeros(1, dtype=torch.long, device=machine.device))
    )
    floor = 2 * num_weights * prefill / machine.operations_per_ms
    yield {"step": f"{name} prefill of {prefill}", "rows": 1, "ms": took, "floor_ms": floor}


def fine_rows(config: ModelConfig, machine: Machine) -> Iterator[dict[str, Any]]:
    """Return rows for a chunk: one pass for each codebook to be filled in."""
    fine = FineGpt(config.fine.transformer, config.fine.num_codebooks, config.fine.num_codebooks_given)
    num_weights = sum(weight.numel() for key, weight in fine.named_parameters() if ".h." in key)
    if machine.dtype == "int8":
        use_int8(fine)
    else:
        set_dtype(fine, machine.forward_dtype)
    fine.to(machine.device).eval()
    given = config.coarse.num_codebooks
    codes = torch.zeros(
        1, config.fine.num_codebooks, config.fine.context, dtype=torch.long, device=machine.device
    )
    floor = (
        2
        * num_weights
        * config.fine.context
        * (config.fine.num_codebooks - given)
        / machine.operations_per_ms
    )
    took = machine.milliseconds(
        lambda: [fine(book, codes) for book in range(given, config.fine.num_codebooks)]
    )
    yield {"step": "fine chunk", "rows": 1, "ms": took, "floor_ms": floor}


def codec_rows(config: ModelConfig, machine: Machine) -> Iterator[dict[str, Any]]:
    """Return rows for decoding a chunk in the middle of a sentence."""
    codec = CodecDecoder(config.codec)
    if machine.dtype == "int8":
        compile_codec(codec)
    codec.to(machine.device).eval()
    state = codec.initial_state(1)
    slots = torch.zeros(1, dtype=torch.long, device=machine.device)
    for frames in (15, 60):
        codes = torch.zeros(1, config.fine.num_codebooks, frames, dtype=torch.long, device=machine.device)
        codec.decode_chunk(codes, state, slots, first=True)
        took = machine.milliseconds(partial(codec.decode_chunk, codes, state, slots, first=False))
        yield {"step": f"codec, {frames} frames", "rows": 1, "ms": took, "floor_ms": None}


def measure(config: ModelConfig, machine: Machine) -> Iterator[dict[str, Any]]:
    """Yield a row for each step, as soon as it was measured."""
    semantic, coarse = config.semantic, config.coarse
    prompt = semantic.text_context + 1
    window = coarse.semantic_context + 1 + coarse.max_history
    with torch.inference_mode():
        yield from causal_rows("semantic", semantic.transformer, machine, (prompt, prompt + 250))
        yield from causal_rows("coarse", coarse.transformer, machine, (window, window + coarse.window // 2))
        yield from fine_rows(config, machine)
        yield from codec_rows(config, machine)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=("builtin", "tiny", "small", "large"), default="builtin")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    tiny = suno_config("tiny", num_layers=1, num_heads=1, width=64)
    sizes = {"tiny": tiny, "small": SMALL, "large": LARGE}
    config = sizes.get(arguments.size) or read_config(BUILTIN_MODEL / "config.json")
    machine = Machine(device, choose_dtype(arguments.dtype, device))
    rows: list[dict[str, Any]] = []
    result = {
        "benchmark": "stages",
        **environment(),
        "size": arguments.size,
        "dtype": machine.dtype,
        "threads": arguments.threads,
        "bytes_per_ms": machine.bytes_per_ms,
        "operations_per_ms": machine.operations_per_ms,
        "rows": rows,
    }
    for row in measure(config, machine):
        rows.append(row)
        if arguments.output:
            write_result(arguments.output, result)
    speed = f"{machine.bytes_per_ms / 1e6:.0f} GB/s, {machine.operations_per_ms / 1e9:.2f} TFLOP/s"
    table = Table(title=f"{arguments.size}, {machine.dtype} on {device}: {speed}")
    for name in ("step", "rows", "ms", "floor ms", "times its floor"):
        table.add_column(name, justify="right")
    for row in rows:
        floor = row["floor_ms"]
        bounds = (f"{floor:.2f}", f"{row['ms'] / floor:.1f}") if floor else ("", "")
        table.add_row(row["step"], str(row["rows"]), f"{row['ms']:.2f}", *bounds)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
