"""Int8 weights for decoding on a CPU: one token a row reads every weight once, so bytes are what it costs.

Weights are symmetric int8 with one scale per output (weight only: activations stay as they are, so a row does
not depend on its neighbours). Passes over many positions multiply with the same weights turned to float32.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

LARGEST = 127


class Int8Linear(nn.Module):
    """A linear layer without bias; `weight` int8 [out, in], `scale` bfloat16 [out]."""

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight = linear.weight.detach().float()
        scale = (weight.abs().amax(dim=1) / LARGEST).clamp(min=1e-12).bfloat16()
        quantized = (weight / scale.float()[:, None]).round().clamp(-LARGEST, LARGEST)
        self.register_buffer("weight", quantized.to(torch.int8))
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        """[rows, in] or [rows, 1, in]: the fast product; [rows, length, in]: the wide one. Same type out."""
        if x.dim() == 2 or x.shape[1] == 1:
            rows = x.reshape(-1, x.shape[-1]).bfloat16()
            product = torch._weight_int8pack_mm(rows, self.weight, self.scale)
            return product.to(x.dtype).view(*x.shape[:-1], -1)
        return functional.linear(x, self.weight.to(x.dtype) * self.scale.to(x.dtype)[:, None])


def quantize(module: nn.Module) -> None:
    """Replace every linear layer inside `module` by an `Int8Linear`, in place."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear(child))
        else:
            quantize(child)
