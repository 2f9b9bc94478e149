"""Turns a sentence into the tokens that a model reads."""
