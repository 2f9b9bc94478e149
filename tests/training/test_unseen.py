"""Sentences to judge by are none that a training used."""

import json
from pathlib import Path

from training.unseen import trained_texts, unseen


def test_a_sentence_that_any_training_used_is_not_unseen(tmp_path: Path) -> None:
    """Neither one by itself, nor one that was joined to others, nor one that was only thought and not spoken."""
    for folder, text in (
        ("speech", "The cat purred."),
        ("speech", "We ate, and the lid slammed shut."),
        ("prosody", "Rain fell!"),
        ("own", "Snow lay."),
    ):
        path = tmp_path / folder / f"{len(text):05d}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps([{"text": text}]))
    sentences = ["The cat purred.", "The lid slammed shut.", "Rain fell.", "Snow lay!", "A lid slammed."]
    assert unseen(sentences, trained_texts(tmp_path)) == ["A lid slammed."]
