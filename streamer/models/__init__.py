"""Bark's networks and their weights: pure torch modules with explicit state, no generation logic."""
