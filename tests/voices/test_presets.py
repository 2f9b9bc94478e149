"""The names of Bark's voices, and the language a name tells."""

from __future__ import annotations

import pytest

from streamer.models.config import LARGE, SMALL
from streamer.voices.presets import LANGUAGES, PRESETS, language_of


def test_there_are_261_of_them() -> None:
    """The announcer, and ten of each language in two sets; not Suno's ten files without a language."""
    assert len(PRESETS) == len(set(PRESETS)) == 261
    assert {"announcer", "en_speaker_0", "v2/zh_speaker_9"} <= set(PRESETS)
    assert "speaker_0" not in PRESETS
    assert {language_of(name, LANGUAGES) for name in PRESETS} == set(LANGUAGES)
    assert SMALL.languages == LARGE.languages == LANGUAGES


@pytest.mark.parametrize(
    ("name", "spoken", "expected"),
    [
        ("v2/de_speaker_3", LANGUAGES, "de"),
        ("announcer", LANGUAGES, "en"),
        ("mine/fr_marie", LANGUAGES, "fr"),
        ("marie", LANGUAGES, None),
        ("de_speaker_3", ("en", "fr"), None),
        ("joe", ("en",), "en"),
        ("random", (), None),
    ],
)
def test_a_name_begins_with_its_language(name: str, spoken: tuple[str, ...], expected: str | None) -> None:
    """As far as the model speaks it; a model of one language needs no telling."""
    assert language_of(name, spoken) == expected
