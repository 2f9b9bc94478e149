"""Other vendors' clients find the model's voices under names that they can send."""

from __future__ import annotations

import pytest

from streamer.config import SpeechConfig
from streamer.errors import VoiceNotFoundError
from streamer.server.voice_choice import find_voice, stand_in
from tests.fakes.synthesizer import FakeSynthesizer

INFO = FakeSynthesizer(
    voices=("v2/en_speaker_6", "v2/de_speaker_0", "joe", "odd_name"), languages=("en", "de")
).info


@pytest.mark.parametrize(
    ("asked", "voice"),
    [
        ("v2/en_speaker_6", "v2/en_speaker_6"),
        ("v2_en_speaker_6", "v2/en_speaker_6"),
        ("en_speaker_6", "v2/en_speaker_6"),
        ("de_speaker_0", "v2/de_speaker_0"),
        ("joe", "joe"),
        ("odd_name", "odd_name"),
        (None, "v2/en_speaker_6"),
    ],
)
def test_a_voice_is_found(asked: str | None, voice: str) -> None:
    """By its name, by its name without a slash, and the default one without a name."""
    assert find_voice(asked, INFO, SpeechConfig()) == voice


@pytest.mark.parametrize("asked", ["", "nobody", "V2/EN_SPEAKER_6", "../joe", "joe ", "v2//en_speaker_6"])
def test_an_unknown_voice_is_named(asked: str) -> None:
    """The error says where the names are listed."""
    with pytest.raises(VoiceNotFoundError, match=r"/v1/voices") as caught:
        find_voice(asked, INFO, SpeechConfig())
    assert repr(asked) in caught.value.message


@pytest.mark.parametrize(
    ("default", "language", "voice"),
    [
        (None, "en", "v2/en_speaker_6"),
        (None, "de", "v2/de_speaker_0"),
        (None, "fr", "v2/en_speaker_6"),
        (None, None, "v2/en_speaker_6"),
        ("joe", None, "joe"),
        ("joe", "de", "v2/de_speaker_0"),
        ("v2/de_speaker_0", "de", "v2/de_speaker_0"),
    ],
)
def test_a_stand_in_speaks_the_language(default: str | None, language: str | None, voice: str) -> None:
    """The default voice stands in, unless another one knows the language better."""
    assert stand_in(INFO, SpeechConfig(voice=default), language) == voice
