"""What the utterances of a session get: the server's defaults, changed by the query, `configure` and `start`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from msgspec import UNSET

from streamer.audio.formats import AudioFormat, default_rate_hz
from streamer.config import SpeechConfig
from streamer.errors import VoiceNotFoundError
from streamer.sampling import SamplingParams, sampling_params
from streamer.server.native.messages import Params, Settings
from streamer.server.voice_choice import default_voice
from streamer.speech.settings import Continuity, SpeechSettings
from streamer.synthesis import ModelInfo
from streamer.text.reading import AS_IT_IS, TextOptions
from streamer.text.splitting.dialogue import check_speakers


@dataclass(frozen=True, slots=True)
class StreamDefaults:
    """The settings of an utterance as far as they are known. `params` holds what a client has set, by Bark's names."""

    read_info: Callable[[], ModelInfo]
    """Tells of the model, whose voices may change during a session."""
    speech: SpeechConfig
    lead_ms: int | None
    max_buffer_ms: int | None
    bitrate: int
    voice: str | None = None
    """None: the server's default voice, whichever that is when an utterance starts."""
    encoding: str = "opus"
    sample_rate_hz: int | None = None
    frame_ms: int = 20
    start: str = "early"
    reading: TextOptions = AS_IT_IS
    continuity: Continuity = "preset"
    speakers: Mapping[str, str] = field(default_factory=dict)
    speed: float = 1.0
    params: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of_server(cls, read_info: Callable[[], ModelInfo], speech: SpeechConfig) -> StreamDefaults:
        """What a client gets that sets nothing."""
        return cls(
            read_info=read_info,
            speech=speech,
            lead_ms=speech.lead_ms,
            max_buffer_ms=speech.max_buffer_ms,
            bitrate=speech.bitrate,
            start=speech.start,
        )

    @property
    def info(self) -> ModelInfo:
        """The model, with the voices that there are now."""
        return self.read_info()

    def merged(self, given: Settings) -> StreamDefaults:
        """New defaults with what the client gave; raises `VoiceNotFoundError` or `InvalidParameterError`."""
        _check_voices(given.voice, given.speakers or {}, self.info)
        reading = TextOptions(
            given.language or self.reading.language,
            self.reading.normalizes if given.normalize is UNSET else given.normalize,
            given.text_format or self.reading.text_format,
            self.reading.markup if given.markup is None else given.markup,
        )
        reading.check(self.info)
        params = self.params | _given_params(given.params)
        self._sampling_params(params | {"seed": 0})
        return replace(
            self,
            voice=given.voice or self.voice,
            lead_ms=self.lead_ms if given.lead_ms is UNSET else given.lead_ms,
            max_buffer_ms=self.max_buffer_ms if given.max_buffer_ms is UNSET else given.max_buffer_ms,
            bitrate=given.bitrate or self.bitrate,
            encoding=given.encoding or self.encoding,
            sample_rate_hz=given.sample_rate or self.sample_rate_hz,
            frame_ms=given.frame_ms or self.frame_ms,
            start=given.start or self.start,
            reading=reading,
            continuity=given.continuity or self.continuity,
            speakers=self.speakers if given.speakers is None else given.speakers,
            speed=given.speed or self.speed,
            params=params,
        )

    def audio_format(self) -> AudioFormat:
        """How an utterance is encoded."""
        rate_hz = self.sample_rate_hz or default_rate_hz(self.encoding)
        return AudioFormat(self.encoding, rate_hz, self.frame_ms, self.bitrate)

    def settings(self, max_audio_s: float, draw_seed: Callable[[], int]) -> SpeechSettings:
        """An utterance's settings; the seed is drawn if none was given.

        Raises `InvalidParameterError` for params that this model cannot follow, and `VoiceNotFoundError` for a voice
        that was removed after the session had asked for it.
        """
        info = self.info
        _check_voices(self.voice, self.speakers, info)
        params = self.params
        if params.get("seed") is None:
            params = params | {"seed": draw_seed()}
        return SpeechSettings(
            voice=self.voice or default_voice(info, self.speech),
            params=self._sampling_params(params),
            max_buffer_ms=self.max_buffer_ms,
            max_audio_s=max_audio_s,
            reading=self.reading,
            continuity=self.continuity,
            speakers=self.speakers,
            speed=self.speed,
        )

    def _sampling_params(self, params: dict[str, Any]) -> SamplingParams:
        """Return the model's own with these, which have a seed; raises `InvalidParameterError`."""
        info = self.info
        return sampling_params(params, info.default_params, info.coarse_limits)


def _check_voices(voice: str | None, speakers: Mapping[str, str], info: ModelInfo) -> None:
    """Raise `VoiceNotFoundError` for a voice that is not there, and `InvalidParameterError` for wrong labels."""
    if voice is not None and voice not in info.voices:
        raise VoiceNotFoundError(f"no voice is named {voice!r}; /v1/voices lists them", param="voice")
    check_speakers(speakers, info.voices)


def _given_params(params: Params | None) -> dict[str, Any]:
    if params is None:
        return {}
    values = {name: getattr(params, name) for name in params.__struct_fields__}
    return {name: value for name, value in values.items() if value is not UNSET}
