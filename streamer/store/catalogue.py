"""What is known about Bark's weights before they are downloaded: their addresses, sizes and licences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CODEC_FILE: Final = "encodec_24khz-d7cc33bc.th"
CODEC_ADDRESS: Final = f"https://dl.fbaipublicfiles.com/encodec/v0/{CODEC_FILE}"
CODEC_SHA256_PREFIX: Final = "d7cc33bc"
"""The beginning of the SHA-256 of EnCodec's official checkpoint, also in its name. Suno's files contain no codec."""
ORIGINAL_FILES: Final = {
    "large": ("text_2.pt", "coarse_2.pt", "fine_2.pt"),
    "small": ("text.pt", "coarse.pt", "fine.pt"),
}
VOICES: Final = ("en_speaker_6", "v2/en_speaker_6")
"""The voices that are installed with a model: its default, and the one that its published tokens were made with."""


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that `models list` shows before it is installed.

    `download_bytes` is the approximate size of Hugging Face's weights, and `memory_bytes` what the model needs in
    bfloat16 for one sentence at a time.
    """

    download_bytes: int
    memory_bytes: int
    licence: str
    description: str


KNOWN: Final = {
    "suno/bark": KnownModel(
        4_490_000_000, 2_700_000_000, "mit", "Bark, large: 24 layers, 13 languages, music and sounds"
    ),
    "suno/bark-small": KnownModel(
        1_680_000_000, 1_100_000_000, "mit", "Bark, small: 12 layers, the same languages and sounds"
    ),
}
