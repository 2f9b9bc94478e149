"""Voices: history prompts that a model continues, and the library that finds them at start-up."""
