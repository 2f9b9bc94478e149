"""Bark's transformers on a CPU: int8 weights and compiled kernels."""
