"""Reads the voices again while the server runs, and warns of voices that the settings name and that are gone.

`assembly` adds it to what the server reloads.
"""

from __future__ import annotations

import logging
from typing import Protocol

from streamer.config import SpeechConfig
from streamer.server.openai_names import read_mapping
from streamer.synthesis import Health, ModelInfo

logger = logging.getLogger(__name__)


class HasVoices(Protocol):
    """A synthesizer that reads its voices again: whatever has to be, or what has changed."""

    @property
    def info(self) -> ModelInfo: ...
    def health(self) -> Health: ...
    def reload_voices(self) -> None: ...
    def refresh_voices(self) -> bool: ...


class ReloadableVoices:
    """The voices of a server; both methods are called in a thread, one at a time."""

    def __init__(self, synthesizer: HasVoices, speech: SpeechConfig) -> None:
        self._synthesizer = synthesizer
        self._mapping = read_mapping(speech.openai_voices)
        self._default = speech.voice
        self._missing: tuple[str, ...] = ()

    def reload(self) -> None:
        """Read the voices again. Raises what the synthesizer raises."""
        self._synthesizer.reload_voices()
        self._warn()

    def refresh(self) -> bool:
        """Read the voices again if they have changed, and return whether they have."""
        has_changed = self._synthesizer.refresh_voices()
        if has_changed:
            self._warn()
        return has_changed

    def _warn(self) -> None:
        """Log which voices of the settings are gone, if these are others than the last time."""
        if not self._synthesizer.health().is_loaded:
            return
        voices = self._synthesizer.info.voices
        named = {f"openai_voices {name}": voice for name, voice in self._mapping.items()}
        if self._default is not None:
            named["voice"] = self._default
        missing = tuple(f"{option}={voice}" for option, voice in named.items() if voice not in voices)
        if missing and missing != self._missing:
            message = "voices of the settings are gone: until they are back, others speak instead"
            logger.warning(message, extra={"settings": ", ".join(missing)})
        self._missing = missing
