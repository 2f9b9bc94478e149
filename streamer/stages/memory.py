"""How much memory the stages of a model will hold, computed before any of it is allocated."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from streamer.errors import ConfigError
from streamer.models.files.checkpoint import LoadedModel
from streamer.process_memory import max_resident_bytes, resident_bytes
from streamer.stages.text_path import PathMaker
from streamer.stages.windows_ahead import slots_per_sentence

MAX_SLOTS = 128
"""The most slots that are chosen for a GPU: with more of them its steps would take too long."""
CPU_SLOTS = 16
"""The slots that are chosen for a CPU, which allocates their memory only when they are used."""
SPARE = 0.15
"""The part of a GPU's memory that is kept free for running steps and for recorded ones."""
INTEGER_BYTES = 8


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """The bytes of the weights, and of everything that exists once per slot; `is_on_gpu` says where they are."""

    weights_bytes: int
    slot_bytes: int
    num_slots: int
    is_on_gpu: bool = False

    def __str__(self) -> str:
        slots_bytes = self.num_slots * self.slot_bytes
        return (
            f"{_readable(self.weights_bytes)} of weights and {self.num_slots} slots of "
            f"{_readable(self.slot_bytes)}: {_readable(self.weights_bytes + slots_bytes)}"
        )

    def process_needs(self) -> str:
        """The main memory of the whole process: what it holds now, and the most that it can, with all slots in use.

        That includes the interpreter and the libraries. Called after the warm-up, which has used few of the slots: on a
        CPU a slot takes its memory when it is first used.
        """
        resident = resident_bytes()
        slots_bytes = 0 if self.is_on_gpu else self.num_slots * self.slot_bytes
        most = max(max_resident_bytes(), resident + slots_bytes)
        return f"{_readable(resident)} of main memory now, {_readable(most)} at most"


def plan_memory(
    model: LoadedModel,
    num_slots: int | None,
    free_bytes: int | None,
    total_bytes: int = 0,
    *,
    has_stream: bool = False,
) -> MemoryPlan:
    """Plan for `num_slots`, or for as many as fit (None). `has_stream`: whether a thread beside the engine's helps it.

    `free_bytes` of `total_bytes` is what the GPU has beside the weights; None for a CPU. Raises `ConfigError` if the
    slots do not fit.
    """
    networks = (model.semantic, model.coarse, model.fine, model.codec)
    weights_bytes = sum(weight.nbytes for network in networks for weight in network.parameters())
    weights_bytes += sum(network.decode_step.nbytes for network in (model.semantic, model.coarse))
    slot_bytes = _slot_bytes(model, has_stream=has_stream)
    if free_bytes is None:
        return MemoryPlan(weights_bytes, slot_bytes, CPU_SLOTS if num_slots is None else num_slots)
    # One more slot is needed to pad recorded steps with.
    num_fitting = int((free_bytes - SPARE * total_bytes) // slot_bytes) - 1
    if num_fitting < 1 or (num_slots or 1) > num_fitting:
        remedy = (
            f"lower num_slots to {num_fitting} or less" if num_fitting > 0 else "use a smaller model or dtype"
        )
        raise ConfigError(
            f"{num_slots or 1} slots of {_readable(slot_bytes)} do not fit into the {_readable(free_bytes)} that are "
            f"free on the GPU beside the weights, {SPARE:.0%} of its memory left spare: {remedy}",
            param="num_slots",
        )
    return MemoryPlan(weights_bytes, slot_bytes, num_slots or min(MAX_SLOTS, num_fitting), is_on_gpu=True)


def free_memory(device: torch.device) -> tuple[int | None, int]:
    """Return the free and the total bytes of a GPU; None and 0 for a CPU, whose memory is not planned."""
    if device.type != "cuda":
        return None, 0
    free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    return free_bytes, total_bytes


def _slot_bytes(model: LoadedModel, *, has_stream: bool) -> int:
    config = model.config
    codec_bytes = model.codec.initial_state(1).nbytes
    frames = int(config.semantic.max_tokens * config.codec.frame_rate_hz / config.semantic.rate_hz)
    codes_bytes = config.fine.num_codebooks * frames * INTEGER_BYTES
    path_bytes = 0 if config.path is None else PathMaker(config, config.path).slot_bytes
    caches_bytes = model.semantic.new_cache(1).nbytes
    num_slots = slots_per_sentence(model.coarse, has_stream=has_stream)
    caches_bytes += model.coarse.new_cache(num_slots).nbytes
    return caches_bytes + codec_bytes + codes_bytes + path_bytes


def _readable(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
