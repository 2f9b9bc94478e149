"""The native protocol's answers to a client: the greeting, `started`, errors and warnings."""

from __future__ import annotations

from typing import Final

from streamer.audio.formats import ENCODINGS, SAMPLE_RATES_HZ
from streamer.config import Config
from streamer.errors import StreamerError
from streamer.sampling import coarse_ranges
from streamer.server.native import messages
from streamer.server.service import package_version
from streamer.server.utterance import Utterance
from streamer.server.voice_choice import default_voice
from streamer.synthesis import ModelInfo

ANNOUNCED_LIMITS: Final = (
    "max_utterances_per_session",
    "max_utterances_per_key",
    "max_starts_per_s",
    "max_start_wait_s",
    "max_message_bytes",
    "max_bytes_per_s",
    "max_text_chars",
    "max_buffered_chars",
    "max_audio_s",
    "auth_timeout_s",
    "idle_timeout_s",
    "session_timeout_s",
    "write_timeout_s",
)
"""The fields of `LimitsConfig` that `session` announces; the others concern no well-behaved client."""


def greeting(session_id: str, info: ModelInfo, config: Config) -> messages.Session:
    """The first message of a session: what is spoken here, and how much one client may use."""
    return messages.Session(
        protocol=messages.PROTOCOL,
        session_id=session_id,
        server=f"streamer/{package_version()}",
        model=info.name,
        default_voice=default_voice(info, config.speech),
        capabilities=messages.Capabilities(
            encodings=ENCODINGS,
            sample_rates=SAMPLE_RATES_HZ,
            languages=tuple(info.languages),
            tags=tuple(info.tags),
            word_times="model" if info.tells_words else "estimated",
            phones=tuple(info.phones),
            params=coarse_ranges(info.coarse_limits),
        ),
        limits={name: getattr(config.limits, name) for name in ANNOUNCED_LIMITS},
        chunk_schedule=info.chunk_schedule,
    )


def started(utterance: Utterance, stream: int, ref: str | None) -> messages.Started:
    """The answer to a `start` that was accepted."""
    settings, audio_format = utterance.settings, utterance.audio_format
    return messages.Started(
        ref=ref,
        id=utterance.id,
        stream=stream,
        voice=settings.voice,
        encoding=audio_format.encoding,
        sample_rate=audio_format.sample_rate_hz,
        frame_ms=audio_format.frame_ms,
        pre_skip=utterance.pre_skip,
        lead_ms=utterance.clock.lead_ms,
        seed=settings.params.seed,
        start="safe" if utterance.starts_safely else "early",
        continuity=settings.continuity,
        speed=settings.speed,
    )


def error_message(
    error: StreamerError, scope: messages.Scope, utterance_id: object = None, ref: object = None
) -> messages.Error:
    """The `error` that answers a client's message with this id and this `ref`, which may be anything."""
    return messages.Error(
        code=error.code,
        message=error.message,
        scope=scope,
        param=error.param,
        id=echoed(utterance_id),
        ref=echoed(ref),
        retryable=error.retryable,
        retry_after_s=error.retry_after_s,
    )


def unknown_field(name: str, utterance_id: object = None, ref: str | None = None) -> messages.WarningMessage:
    """The warning about a field that this version does not know."""
    message = f"unknown field {name!r} was ignored"
    return messages.WarningMessage(
        code="unknown_field", message=message, param=name, id=echoed(utterance_id), ref=ref
    )


def echoed(value: object) -> str | None:
    """A client's id or `ref`, if it is fit to be echoed."""
    return value if isinstance(value, str) and len(value) <= messages.MAX_ID_CHARS else None
