"""Keeps what rows draw to automata: at each step a row may only draw outputs whose class leads to a further state.

The states live on the device and move with the tokens that are drawn there, so the host neither waits nor is asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from streamer.engine.device.transfer import upload

FORBIDDEN: Final = -1e30
"""The logit of an output that must not be drawn: finite, because infinity would read as a failure of the model."""


@dataclass(frozen=True, slots=True)
class Automaton:
    """A row's automaton, which begins in state 0.

    `successors` int16 [2, states, classes] are the states to which outputs of each class lead, -1 where they must not
    be drawn. `limits` int16 [states] says for how many tokens in a row a state may be kept; from then on
    `successors[1]` holds instead of `successors[0]`. Every state must have a successor in both.
    """

    successors: npt.NDArray[np.int16]
    limits: npt.NDArray[np.int16]


class Automata:
    """The automaton of each slot and the state that it is in; a slot whose automaton was not set may draw anything.

    `class_of_output` int64 [outputs] tells the class of each output that can be drawn.
    """

    def __init__(self, num_slots: int, max_states: int, class_of_output: Tensor) -> None:
        device = class_of_output.device
        num_classes = 1 + int(class_of_output.max())
        self.class_of_output = class_of_output
        self.successors = torch.zeros(num_slots, 2, max_states, num_classes, dtype=torch.int16, device=device)
        self.limits = torch.zeros(num_slots, max_states, dtype=torch.int16, device=device)
        self.states = torch.zeros(num_slots, dtype=torch.long, device=device)
        self.held = torch.zeros(num_slots, dtype=torch.long, device=device)
        """For how many tokens each slot has been in its state."""

    def begin(self, slot: int, automaton: Automaton) -> None:
        """Put `slot` at the beginning of `automaton`, of at most `max_states` states."""
        count = len(automaton.limits)
        device = self.states.device
        self.successors[slot, :, :count] = upload(automaton.successors, device, torch.int16)
        self.limits[slot, :count] = upload(automaton.limits, device, torch.int16)
        self.states[slot] = 0
        self.held[slot] = 0

    def masked(self, logits: Tensor, slots: Tensor) -> Tensor:
        """Return `logits` [rows, outputs] in float32 with `FORBIDDEN` where an output must not be drawn."""
        is_forbidden = (self._successors(slots) < 0)[:, self.class_of_output]
        return logits.float().masked_fill(is_forbidden, FORBIDDEN)

    def advance(self, slots: Tensor, outputs: Tensor) -> None:
        """Move the slots on by the outputs [rows] that were drawn."""
        before = self.states[slots]
        drawn = self.class_of_output[outputs][:, None]
        after = self._successors(slots).gather(1, drawn)[:, 0].long()
        after = torch.where(after < 0, before, after)  # only of a row that is not finite
        self.held[slots] = torch.where(after == before, self.held[slots] + 1, 1)
        self.states[slots] = after

    def _successors(self, slots: Tensor) -> Tensor:
        """The successors of the slots' states, [rows, classes]."""
        states = self.states[slots]
        is_at_limit = self.held[slots] >= self.limits[slots, states]
        return self.successors[slots, is_at_limit.long(), states]
