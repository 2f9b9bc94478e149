"""Without a GPU these tests run in Triton's interpreter. It is chosen here, because Triton reads its
environment once, when it is imported."""

import os

import torch

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
