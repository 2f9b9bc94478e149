"""What a text asks for that a model cannot do."""

from __future__ import annotations

from streamer.text.capabilities import Unsupported, find_unsupported


def test_tags_and_scripts_are_found() -> None:
    """Each once; bare or bracketed, tags are the same."""
    text = "[laughs] Hi [sighs] Привет [laughs] ♪ la ♪ 字"
    assert find_unsupported(text, ["en"], ["sighs"]) == Unsupported(("[laughs]", "♪"), ("CYRILLIC", "CJK"))


def test_what_the_model_can_do_is_not_named() -> None:
    """Its languages' scripts, Latin letters in any, and its tags."""
    text = "[laughter] Привет Anna, 你好, こんにちは"
    languages = ["ru", "ja"]
    assert find_unsupported(text, languages, ["[laughter]"]) == Unsupported()
