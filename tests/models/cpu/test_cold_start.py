"""A process that compiles its functions makes what one makes that finds them compiled, to the last bit.

Each compiled function holds copies of those that it calls, and the compiler may round otherwise in another copy. Which
one is run depends on what a process has compiled and what it has loaded.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from streamer.models.config import TransformerConfig
from streamer.models.cpu.int8_forward import MIN_WIDTH
from streamer.models.cpu.int8_gpt import use_int8
from streamer.models.gpt import CausalGpt
from streamer.sampling import SamplingParams
from streamer.stages.token_steps import Choice, TokenSteps


def test_what_is_made_does_not_depend_on_who_compiled_it(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, __file__]
    cold, warm = (
        subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert cold == warm and len(cold.split()) == 3


def _digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def main() -> None:
    """Print what a prefill, decode steps one by one, and steps in a row leave behind."""
    torch.manual_seed(0)
    network = CausalGpt(TransformerConfig(2, 4, MIN_WIDTH, 96, 60, 60)).eval()
    use_int8(network)
    cache, slot = network.new_cache(1), torch.tensor([0])
    with torch.inference_mode():
        embeddings = network.embed(torch.arange(50)[None])
        logits = [network.prefill(embeddings, cache, slot)]
        print(_digest(logits[0].numpy(), *cache.packed))
        logits += [
            network.decode(torch.tensor([number]), torch.tensor([50 + number]), cache, slot)
            for number in range(30)
        ]
        print(_digest(*(each.numpy() for each in logits), *cache.packed))
        steps = TokenSteps(network, network.new_cache(1), Choice(0, 60))
        steps.begin(0, 3, 0.9, SamplingParams(0))
        drawn = [steps.prefill(embeddings, [(0, 0)], [SamplingParams(0)])]
        drawn += steps.decode([(0, 50, 1)], [SamplingParams(0)], 40)
        print(_digest(*(each.numpy() for each in drawn), *steps._cache.packed))


if __name__ == "__main__":
    main()
