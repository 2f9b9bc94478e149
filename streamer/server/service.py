"""What the sessions of a server share."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from streamer.audio.packets import PacketEncoder
from streamer.config import Config
from streamer.server.admission import Admission, ApiKeys
from streamer.server.reloading import Reloadables
from streamer.server.tickets import Tickets
from streamer.speech.events import SpeechEvent
from streamer.speech.pipeline import speak
from streamer.speech.settings import SpeechSettings
from streamer.speech.text_feed import TextFeed
from streamer.synthesis import Synthesizer
from streamer.telemetry.metrics import Metrics
from streamer.text.lexicon import Lexicon


@dataclass(frozen=True, slots=True)
class Service:
    """There is one per server; every session and every route is given it."""

    config: Config
    synthesizer: Synthesizer
    admission: Admission
    keys: ApiKeys
    metrics: Metrics
    lexicon: Lexicon | None = None
    """How the operator wants words said, whatever the protocol."""
    tickets: Tickets = field(default_factory=Tickets)
    reloadables: Reloadables = field(default_factory=Reloadables)

    def speak(
        self,
        feed: TextFeed,
        settings: SpeechSettings,
        encoder: PacketEncoder,
        utterance_id: str,
        synthesizer: Synthesizer,
    ) -> AsyncGenerator[SpeechEvent, None]:
        """Speak by `pipeline.speak`, with the operator's lexicon. `synthesizer` is what `Permit.queued` returns."""
        if self.lexicon is not None:
            settings = replace(settings, reading=replace(settings.reading, lexicon=self.lexicon))
        return speak(feed, synthesizer, settings, encoder, utterance_id)


@cache
def package_version() -> str:
    """The version of the installed distribution; its metadata is a file, which is read once."""
    try:
        return version("bark-streamer")
    except PackageNotFoundError:
        return "0"
