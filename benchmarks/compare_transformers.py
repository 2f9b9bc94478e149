"""How much sooner and faster than transformers' Bark? The same random weights, text, voice and length of speech.

Each implementation runs in a process of its own, one after the other on this machine, with the same directory of
weights and the same number of threads, after a short sentence that is not counted. transformers makes a whole
sentence at once, so its first audio is its last.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from streamer.loadtest.environment import environment, write_result

SIZES = {"tiny": (1, 1, 64), "small": (12, 12, 768), "large": (24, 16, 1024)}
"""The numbers of layers and heads, and the width, of all three transformers."""
SEMANTIC_HZ, FRAME_HZ = 49.9, 75
RUNS = (
    "transformers float32",
    "transformers bfloat16",
    "streamer float32",
    "streamer bfloat16",
    "streamer int8",
)
CPU_RUNS = ("transformers float32", "transformers bfloat16", "streamer float32", "streamer int8")
GPU_RUNS = ("transformers bfloat16", "streamer bfloat16")
NUM_TEXT_TOKENS, NUM_HISTORY = 30, 256
NUM_WARM_UP = 40
"""The semantic tokens of the sentence that is not counted: the first steps of a process allocate and compile."""


def history() -> dict[str, np.ndarray]:
    """Return a random voice that fills all histories, as Bark's presets do."""
    chance = np.random.default_rng(0)
    semantic = chance.integers(0, 10_000, NUM_HISTORY)
    fine = chance.integers(0, 1024, (8, round(NUM_HISTORY * FRAME_HZ / SEMANTIC_HZ)))
    return {"semantic_prompt": semantic, "coarse_prompt": fine[:2], "fine_prompt": fine}


def make_weights(size: str, directory: Path) -> None:
    """Write a Bark with random weights in Hugging Face's layout."""
    from transformers import BarkConfig, BarkModel

    layers, heads, width = SIZES[size]
    shape = {"num_layers": layers, "num_heads": heads, "hidden_size": width, "bias": False, "dropout": 0.0}
    vocabularies = {"semantic": (129_600, 10_048), "coarse_acoustics": (12_096, 12_096)}
    parts: dict[str, Any] = {
        f"{name}_config": {**shape, "input_vocab_size": inputs, "output_vocab_size": outputs}
        for name, (inputs, outputs) in vocabularies.items()
    }
    parts["fine_acoustics_config"] = {**shape, "input_vocab_size": 1056, "output_vocab_size": 1056}
    codec = {"model_type": "encodec", "target_bandwidths": [6.0], "codebook_size": 1024}
    torch.manual_seed(0)
    BarkModel(BarkConfig(**parts, codec_config=codec)).save_pretrained(directory)
    (directory / "vocab.txt").write_text("[UNK]\n")  # required, but no text is read here


def make_voice(directory: Path) -> None:
    """Write `history` as the only voice of the model, for a server with these weights."""
    (directory / "voices").mkdir()
    np.savez(directory / "voices" / "prompt.npz", **history())  # type: ignore[arg-type]


def run_transformers(directory: Path, dtype: str, device: str, num_semantic: int) -> dict[str, float]:
    from transformers import BarkModel
    from transformers.models.bark import generation_configuration_bark as generation

    model = BarkModel.from_pretrained(directory, dtype=getattr(torch, dtype)).to(device).eval()
    model.codec_model.float()
    prompt = {name: torch.from_numpy(codes).to(device) for name, codes in history().items()}
    semantic_config = generation.BarkSemanticGenerationConfig(do_sample=True, temperature=0.7)
    coarse_config = generation.BarkCoarseGenerationConfig(do_sample=True, temperature=0.7)
    fine_config = generation.BarkFineGenerationConfig(temperature=0.5)
    text = torch.arange(256, device=device)[None]
    is_text = (text < NUM_TEXT_TOKENS).long()

    @torch.inference_mode()
    def speak(num_semantic: int) -> tuple[list[float], torch.Tensor]:
        semantic_config.max_new_tokens = semantic_config.min_new_tokens = num_semantic
        marks = [time.perf_counter()]
        semantic = model.semantic.generate(
            text, semantic_config, history_prompt=prompt, attention_mask=is_text
        )
        marks.append(time.perf_counter())
        coarse = model.coarse_acoustics.generate(
            semantic, semantic_config, coarse_config, codebook_size=1024, history_prompt=prompt
        )
        marks.append(time.perf_counter())
        fine = model.fine_acoustics.generate(
            coarse, semantic_config, coarse_config, fine_config, codebook_size=1024, history_prompt=prompt
        )
        marks.append(time.perf_counter())
        samples = model.codec_decode(fine).cpu()
        marks.append(time.perf_counter())
        return marks, samples

    speak(NUM_WARM_UP)
    marks, samples = speak(num_semantic)
    stages = dict(zip(("semantic", "coarse", "fine", "codec"), np.diff(marks).tolist(), strict=True))
    audio_s = samples.shape[-1] / 24_000
    return {
        "audio_s": audio_s,
        "first_audio_s": marks[-1] - marks[0],
        "total_s": marks[-1] - marks[0],
        **stages,
    }


def run_streamer(
    directory: Path,
    dtype: str,
    device: str,
    num_semantic: int,
    *,
    schedule: str,
    chunk_frames: tuple[int, ...],
) -> dict[str, float]:
    from dataclasses import replace

    from streamer.config import EngineConfig
    from streamer.engine.device.cuda_graphs import CudaRecorder
    from streamer.engine.engine import Engine
    from streamer.engine.request import Request
    from streamer.errors import StreamerError
    from streamer.models.files.checkpoint import load_model
    from streamer.sampling import SamplingParams
    from streamer.stages.chain import build_stages
    from streamer.stages.fine_windows import scheduled
    from streamer.stages.sentence import SentenceWork
    from streamer.synthesis import PcmChunk
    from streamer.voices.voice import Voice

    model = load_model(directory, dtype=dtype, device=device)
    config = model.config
    fine = scheduled(config.fine, schedule)
    if chunk_frames:
        fine = replace(fine, chunk_frames=chunk_frames, later_chunk_frames=chunk_frames)
    config = replace(config, fine=fine)
    model = replace(model, config=config)
    voice = Voice(*(history()[f"{name}_prompt"] for name in ("semantic", "coarse", "fine")))
    record = CudaRecorder() if device.startswith("cuda") else None
    stages = build_stages(model, num_slots=1, record=record)
    for stage in stages[:3]:
        stage.record(lambda: None)
    spent = dict.fromkeys((stage.name for stage in stages), 0.0)
    for stage in stages:
        timed(stage, spent)
    engine = Engine[SentenceWork](stages, EngineConfig(max_load=None), num_slots=1, sample_rate_hz=24_000)
    heard: list[tuple[float, int]] = []

    def speak(seed: int, length: int) -> float:
        heard.clear()
        params = SamplingParams(seed, min_eos_p=1.0)
        text = tuple(range(NUM_TEXT_TOKENS))
        work = SentenceWork(config, text, voice, params, max_semantic_tokens=length)

        def hear(chunk: PcmChunk | StreamerError) -> None:
            if isinstance(chunk, StreamerError):
                raise chunk
            heard.append((time.perf_counter(), len(chunk.samples)))
            engine.consumed(request, len(chunk.samples))

        request = Request("sentence", work, hear)
        engine.submit(request)
        start = time.perf_counter()
        while engine.num_open:
            engine.step()
        return start

    speak(0, NUM_WARM_UP)
    for seed in range(1, 20):
        spent.update(dict.fromkeys(spent, 0.0))
        start = speak(seed, num_semantic)
        num_samples = sum(count for _, count in heard)
        if (
            num_samples >= 0.98 * num_semantic / SEMANTIC_HZ * 24_000
        ):  # otherwise random weights ended it early
            break
    first_s = next(moment for moment, count in heard if count) - start
    return {
        "audio_s": num_samples / 24_000,
        "first_audio_s": first_s,
        "total_s": heard[-1][0] - start,
        **spent,
    }


def timed(stage: Any, spent: dict[str, float]) -> None:
    """Have every step of `stage` add its time to `spent`."""
    step = stage.step

    def measured(batch: Any) -> Any:
        begin = time.perf_counter()
        pending = step(batch)
        spent[stage.name] += time.perf_counter() - begin
        return pending

    stage.step = measured


def child(arguments: argparse.Namespace) -> None:
    """Run one implementation and print its figures."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(arguments.threads)
    name, dtype = arguments.run.split()
    num_semantic = round(arguments.seconds * SEMANTIC_HZ)
    if name == "transformers":
        result = run_transformers(arguments.directory, dtype, arguments.device, num_semantic)
    else:
        result = run_streamer(
            arguments.directory,
            dtype,
            arguments.device,
            num_semantic,
            schedule=arguments.schedule,
            chunk_frames=tuple(arguments.chunk_frames),
        )
    result["peak_memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))


def show(rows: list[dict[str, Any]]) -> None:
    """Print the figures, and how many times sooner and faster they are than each of transformers' formats that ran."""
    references = [row for row in rows if row["run"].startswith("transformers")]
    table = Table(title="the same sentence")
    for name in ("", "first audio s", "real-time factor", "memory MB", "stages s"):
        table.add_column(name)
    for reference in references:
        table.add_column(f"than {reference['run']}")
    for row in rows:
        stages = " ".join(f"{name} {row[name]:.1f}" for name in ("semantic", "coarse", "fine", "codec"))
        ratios = [
            f"{reference['first_audio_s'] / row['first_audio_s']:.1f}x sooner, "
            f"{reference['real_time_factor'] / row['real_time_factor']:.1f}x faster"
            for reference in references
        ]
        figures = (
            f"{row['first_audio_s']:.2f}",
            f"{row['real_time_factor']:.2f}",
            f"{row['peak_memory_mb']:.0f}",
        )
        table.add_row(row["run"], *figures, stages, *ratios)
    Console(width=180).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=tuple(SIZES), default="small")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", nargs="+", choices=RUNS, help="default: what is usual on the device")
    parser.add_argument(
        "--chunk-frames",
        type=int,
        nargs="+",
        default=[],
        help="of the streamer's fine stage; default: the model's",
    )
    parser.add_argument("--output", type=Path, help="JSON file to write")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--schedule", default="latency", help=argparse.SUPPRESS)
    parser.add_argument("--directory", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        return child(arguments)
    usual = GPU_RUNS if arguments.device.startswith("cuda") else CPU_RUNS
    runs = arguments.runs or usual
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        make_weights(arguments.size, Path(folder))
        wanted = [(run, []) for run in runs]
        if runs[-1].startswith("streamer"):
            wanted.append((runs[-1], ["--schedule", "throughput"]))
        for run, more in wanted:
            command = [sys.executable, "-m", "benchmarks.compare_transformers", "--run", run, *more]
            command += ["--directory", folder, "--seconds", str(arguments.seconds)]
            command += ["--threads", str(arguments.threads), "--device", arguments.device]
            if arguments.chunk_frames:
                command += ["--chunk-frames", *map(str, arguments.chunk_frames)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{run} ended with {done.returncode}: {done.stderr[-2000:]}")
            row = json.loads(done.stdout.splitlines()[-1])
            row["run"] = run + (", throughput" if more else "")
            row["real_time_factor"] = row["total_s"] / row["audio_s"]
            rows.append(row)
            print(f"{row['run']}: {row['total_s']:.1f} s for {row['audio_s']:.1f} s of sound", flush=True)
    show(rows)
    if arguments.output:
        result = {"benchmark": "compare_transformers", **environment(), "size": arguments.size, "rows": rows}
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
