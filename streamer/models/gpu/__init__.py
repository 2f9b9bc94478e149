"""Bark's transformers on a GPU: fused steps and Triton kernels."""
