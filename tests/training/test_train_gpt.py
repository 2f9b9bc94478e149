"""A training may begin with the weights of another voice, even if its tokens are others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from training.train_gpt import begin_with


def model(num_tokens: int, value: float) -> nn.Module:
    made = nn.ModuleDict({"embedding": nn.Embedding(num_tokens, 4), "layer": nn.Linear(4, 4)})
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.fill_(value)
    return made


@pytest.mark.parametrize(("num_tokens", "embedding"), [(8, 2.0), (7, 1.0), (9, 1.0)])
def test_layers_are_kept_and_embeddings_only_of_as_many_tokens(num_tokens: int, embedding: float) -> None:
    """Every weight is the other model's, but those whose number of tokens differs stay as they were."""
    ours = model(8, 1.0)
    begin_with(ours, model(num_tokens, 2.0))
    assert {float(value) for value in ours.state_dict()["layer.weight"].flatten()} == {2.0}
    assert {float(value) for value in ours.state_dict()["embedding.weight"].flatten()} == {embedding}
