"""What a text asks for that a model cannot do."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamer.text.capabilities import Unsupported, find_unsupported
from tests.text.sentences import LANGUAGES, SENTENCES


def test_tags_and_scripts_are_found() -> None:
    """Each once; bare or bracketed, tags are the same."""
    text = "[laughs] Hi [sighs] Привет [laughs] ♪ la ♪ 字"
    assert find_unsupported(text, ["en"], ["sighs"]) == Unsupported(("[laughs]", "♪"), ("CYRILLIC", "CJK"))


def test_what_the_model_can_do_is_not_named() -> None:
    """Its languages' scripts, Latin letters in any, and its tags."""
    assert find_unsupported("See [the docs](http://a.b).", ["en"], []) == Unsupported()
    text = "[laughter] Привет Anna, 你好, こんにちは"
    languages = ["ru", "ja"]
    assert find_unsupported(text, languages, ["[laughter]"]) == Unsupported()


def test_words_of_another_language_are_noticed() -> None:
    """In most sentences of five words and more; and an utterance has several."""
    latin = [
        (language, text)
        for language, text in SENTENCES
        if language in ("de", "es", "fr", "it", "pl", "pt", "tr")
    ]
    found = [find_unsupported(text, ["en"], []).language for _, text in latin]
    assert sum(language is not None for language in found) > len(latin) / 2
    assert sum(language not in (None, known) for language, (known, _) in zip(found, latin, strict=True)) <= 5
    dutch = "Ik weet niet wat je van het weer vindt, maar het is koud."
    assert find_unsupported(dutch, LANGUAGES, []).language == "nl"


@pytest.mark.parametrize(
    "text",
    [
        *(text for language, text in SENTENCES if language == "en"),
        *("Schadenfreude, doch!", "Nein, danke.", "Rio de Janeiro", "Die Zeit", "Anna de la Cruz y Ramón"),
        "The Deutsche Bank is in Frankfurt and Die Welt is a newspaper.",
        *("Ha ha ha ha ha!", "la la la la la la", "he said ha ha ha, ha ha ha, and no more of that"),
        "He whispered: Ich weiß nicht, was soll es bedeuten.",
    ],
)
def test_names_and_short_texts_are_no_alarm(text: str) -> None:
    """English with foreign names, quoted words, laughs and tunes, and a word or two of any language."""
    assert (
        find_unsupported(text, ["en"], ["[laughter]", "[laughs]", "[clears throat]", "music"])
        == Unsupported()
    )


def test_a_models_own_languages_are_no_alarm() -> None:
    """Nothing in the sentences of its languages, nor in our own English pages."""
    assert [text for _, text in SENTENCES if find_unsupported(text, LANGUAGES, []).language] == []
    for page in (Path(__file__).parents[2] / "docs").glob("*.md"):
        for line in page.read_text(encoding="utf-8").splitlines():
            assert find_unsupported(line, ["en"], []).language is None, line
