"""Which language a piece of text is in."""

from __future__ import annotations

import subprocess
import sys

import pytest

from streamer.text.language_detection import language_detector
from tests.text.sentences import LANGUAGES, SENTENCES


def test_sentences_of_13_languages() -> None:
    """At most one in a hundred is taken for another language, with no sentence before it."""
    detector = language_detector(LANGUAGES)
    wrong = [text for language, text in SENTENCES if detector.find(text, "") != language]
    assert len(wrong) <= 2, wrong


@pytest.mark.parametrize(
    ("text", "before", "language"),
    [
        ("Berlin", "de", "de"),
        ("ok", "pt", "pt"),
        ("[laughs] 3.14", "fr", "fr"),
        ("東京", "ja", "ja"),
        ("東京", "zh", "zh"),
        ("今天早上我们带着孩子们去海边", "ja", "zh"),
        ("Berlin", "ko", "en"),
        ("Ich mag 東京 und den Fuji sehr gern", "ja", "de"),
        ("我在用Huawei的耳机听音乐", "en", "zh"),
        ("MAN: [laughs] Добрый день", "en", "ru"),
        ("ﾊﾛｰ", "en", "ja"),
        ("ΑΒΓ", "de", "de"),
        ("", "tr", "tr"),
    ],
)
def test_what_does_not_say_is_as_before(text: str, before: str, language: str) -> None:
    """Names, numbers and tags go with the sentence before; letters decide, by how much of the sound they are."""
    assert language_detector(LANGUAGES).find(text, before) == language


def test_only_the_models_languages_are_found() -> None:
    """A language that the model does not have is never the answer."""
    assert language_detector(("en", "de")).find("Où est la bibliothèque ?", "de") in ("en", "de")
    assert language_detector(("de", "ko")).find("Where is the library?", "ko") == "de"
    assert language_detector(("en", "ru")).find("圖書館在哪裡？", "ru") == "ru"


def test_one_latin_language_loads_no_tables() -> None:
    """The library is imported only if words have to be told apart."""
    code = (
        "import sys; from streamer.text.language_detection import language_detector; "
        "language_detector(('en', 'ru', 'ja')); sys.exit('py3langid' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
