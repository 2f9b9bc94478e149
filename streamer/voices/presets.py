"""The names of Bark's own voices, and the language that a voice's name begins with; used by lists and by the hub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

LANGUAGES: Final = ("en", "de", "es", "fr", "hi", "it", "ja", "ko", "pl", "pt", "ru", "tr", "zh")
"""Of Bark's voices, as of its models (`SUPPORTED_LANGS` of suno-ai/bark)."""
ANNOUNCER: Final = "announcer"
PRESETS: Final = (
    ANNOUNCER,
    *(
        f"{folder}{language}_speaker_{number}"
        for folder in ("v2/", "")
        for language in LANGUAGES
        for number in range(10)
    ),
)
"""The 261 names that suno-ai/bark accepts (`ALLOWED_PROMPTS`), the better second set first."""


def language_of(name: str, spoken: Sequence[str]) -> str | None:
    """Return the language of the voice `name` of a model that speaks the languages `spoken`; None if it is unknown.

    Names begin with it: `v2/de_speaker_3`, `de_anna`.
    """
    if len(spoken) == 1:
        return spoken[0]
    language = "en" if name == ANNOUNCER else name.rpartition("/")[2].partition("_")[0]
    return language if language in spoken else None
