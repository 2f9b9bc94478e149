"""The sentences of 13 languages that several tests read: some fifteen each, with numbers, tags, songs and emoji."""

from __future__ import annotations

from pathlib import Path

LANGUAGES = ("en", "de", "es", "fr", "hi", "it", "ja", "ko", "pl", "pt", "ru", "tr", "zh")
_LINES = (Path(__file__).parent / "sentences_13_languages.txt").read_text(encoding="utf-8").splitlines()
SENTENCES: list[tuple[str, str]] = [(line.split("\t")[0], line.split("\t")[1]) for line in _LINES]
"""Language and text."""
