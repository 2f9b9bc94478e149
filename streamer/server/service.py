"""What the sessions of a server share."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from streamer.audio.packets import PacketEncoder
from streamer.config import Config
from streamer.sampling import draw_seed, sampling_params
from streamer.server.admission import Admission, Permit
from streamer.server.client_address import TrustedProxies
from streamer.server.keys import ApiKeys
from streamer.server.pronunciation import Pronunciation
from streamer.server.reloading import Reloadables
from streamer.server.tickets import Tickets
from streamer.server.voice_choice import check_default_voice, default_voice
from streamer.speech.events import SpeechEvent
from streamer.speech.pipeline import speak
from streamer.speech.settings import SpeechSettings
from streamer.speech.text_feed import TextFeed
from streamer.synthesis import Synthesizer
from streamer.telemetry.metrics import Metrics
from streamer.telemetry.traces import NO_TRACER, Tracer
from streamer.telemetry.utterances import UtteranceRecord
from streamer.text.reading import AS_IT_IS, TextOptions


@dataclass(frozen=True, slots=True)
class Service:
    """There is one per server; every session and every route is given it."""

    config: Config
    synthesizer: Synthesizer
    admission: Admission
    keys: ApiKeys
    metrics: Metrics
    pronunciation: Pronunciation = field(default_factory=Pronunciation)
    tickets: Tickets = field(default_factory=Tickets)
    reloadables: Reloadables = field(default_factory=Reloadables)
    tracer: Tracer = NO_TRACER
    proxies: TrustedProxies = field(default_factory=TrustedProxies)
    created_s: int = field(default_factory=lambda: int(time.time()))
    """When the server was made, in seconds since 1970: for protocols that ask when a model was."""

    @classmethod
    def of(cls, config: Config, synthesizer: Synthesizer, metrics: Metrics, tracer: Tracer) -> Service:
        """Read what the configuration names, now and whenever it is to be read again. Raises `ConfigError`."""
        service = cls(
            config,
            synthesizer,
            Admission(config.limits, lambda: synthesizer.health().room),
            ApiKeys.read(config.server.api_keys_file, config.limits.max_wrong_keys_per_min),
            metrics,
            Pronunciation(config.speech.lexicon),
            Tickets.read(config.server.ticket_secret_file),
            tracer=tracer,
            proxies=TrustedProxies(config.server.trusted_proxies),
        )
        for name, file, reload in (
            ("API keys", config.server.api_keys_file, service.keys.reload),
            ("pronunciation", config.speech.lexicon, service.pronunciation.reload),
            ("ticket secret", config.server.ticket_secret_file, service.tickets.reload),
        ):
            if file is not None:
                service.reloadables.add(name, reload)
        return service

    @property
    def default_voice(self) -> str:
        """The voice of a client that asks for none."""
        return default_voice(self.synthesizer.info, self.config.speech)

    def check_model(self) -> None:
        """Raise `ConfigError` if the model lacks the default voice, or phones that the lexicon has."""
        info = self.synthesizer.info
        check_default_voice(self.config.speech, info.voices)
        self.pronunciation.check(info.phones)

    def settings(
        self, voice: str, *, speed: float = 1.0, reading: TextOptions = AS_IT_IS, seed: int | None = None
    ) -> SpeechSettings:
        """Return how an utterance is spoken for a protocol that leaves the sampling to the server.

        Its seed is drawn if none is given. Raises `InvalidParameterError`.
        """
        info = self.synthesizer.info
        params = {"seed": draw_seed() if seed is None else seed}
        return SpeechSettings(
            voice=voice,
            params=sampling_params(params, info.default_params, info.coarse_limits),
            reading=reading,
            max_buffer_ms=self.config.speech.max_buffer_ms,
            max_audio_s=self.config.limits.max_audio_s,
            speed=speed,
        )

    def admit(self, key_name: str | None, address: str) -> Permit:
        """Return the permit for one more utterance of a key's owner, or of an address. Raises as `Admission.admit`."""
        client = self.keys.name(key_name) if key_name else address
        return self.admission.admit(client, self.keys.share(key_name))

    def record(self, key_name: str | None, protocol: str, voice: str, ids: dict[str, str]) -> UtteranceRecord:
        """Return the record of an utterance that begins now; see `UtteranceRecord`."""
        return UtteranceRecord(
            self.metrics,
            ids,
            owner=self.keys.owner(key_name),
            protocol=protocol,
            model=self.synthesizer.info.name,
            voice=voice,
        )

    def speak(
        self,
        feed: TextFeed,
        settings: SpeechSettings,
        encoder: PacketEncoder,
        utterance_id: str,
        synthesizer: Synthesizer,
    ) -> AsyncGenerator[SpeechEvent, None]:
        """Speak by `pipeline.speak`, with the operator's lexicon. `synthesizer` is what `Permit.queued` returns."""
        if (lexicon := self.pronunciation.lexicon) is not None:
            settings = replace(settings, reading=replace(settings.reading, lexicon=lexicon))
        return speak(feed, synthesizer, settings, encoder, utterance_id)


@cache
def package_version() -> str:
    """The version of the installed distribution; its metadata is a file, which is read once."""
    try:
        return version("bark-streamer")
    except PackageNotFoundError:
        return "0"
