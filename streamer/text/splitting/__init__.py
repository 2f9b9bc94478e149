"""Cuts a text into sentences, while it is still being written."""
