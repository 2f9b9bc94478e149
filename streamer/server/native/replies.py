"""How the server's answers are made of what happened: errors, events and states become messages."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from streamer.config import Config
from streamer.errors import StreamerError
from streamer.server.native import messages
from streamer.server.utterance import Utterance
from streamer.speech.events import (
    Flushed,
    PlaybackDelayed,
    SentenceEnded,
    SentenceStarted,
    SpeechWarning,
    WordTimes,
)
from streamer.synthesis import ModelInfo

ANNOUNCED_LIMITS = (
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
"""The names of `LimitsConfig` that `session` tells; the others concern no well-behaved client."""


def greeting(session_id: str, info: ModelInfo, config: Config) -> messages.Session:
    """The first message of a session: what is spoken here, and what one client may use."""
    return messages.Session(
        protocol=messages.PROTOCOL,
        session_id=session_id,
        server=f"streamer/{package_version()}",
        model=info.name,
        default_voice=config.speech.voice or info.default_voice,
        capabilities=messages.Capabilities(
            encodings=messages.ENCODINGS,
            sample_rates=messages.SAMPLE_RATES_HZ,
            languages=tuple(info.languages),
            tags=tuple(info.tags),
            word_times="estimated",
        ),
        limits={name: getattr(config.limits, name) for name in ANNOUNCED_LIMITS},
    )


def package_version() -> str:
    """The installed distribution's version."""
    try:
        return version("bark-streamer")
    except PackageNotFoundError:
        return "0"


def unknown_field(name: str, ref: str | None = None, utterance_id: str | None = None) -> messages.Warning:
    """The warning about a field that this version does not know."""
    return messages.Warning(
        code="unknown_field",
        message=f"unknown field {name!r} was ignored",
        param=name,
        ref=ref,
        id=utterance_id,
    )


def error_message(error: StreamerError, scope: messages.Scope, fields: dict[str, Any]) -> messages.Error:
    """The `error` that answers a client's message with these fields."""
    return messages.Error(
        code=error.code,
        message=error.message,
        scope=scope,
        param=error.param,
        id=short(fields.get("id")),
        ref=short(fields.get("ref")),
        retryable=error.retryable,
        retry_after_s=error.retry_after_s,
    )


def short(value: object) -> str | None:
    """A client's id or ref if it is fit to be echoed."""
    return value if isinstance(value, str) and len(value) <= 128 else None


def started(utterance: Utterance, pre_skip: int, lead_ms: int | None) -> messages.Started:
    """The answer to a `start` that was accepted."""
    settings = utterance.settings
    return messages.Started(
        ref=utterance.ref,
        id=utterance.id,
        stream=utterance.stream,
        voice=settings.voice,
        encoding=settings.encoding,
        sample_rate=settings.sample_rate_hz,
        frame_ms=settings.frame_ms,
        pre_skip=pre_skip,
        lead_ms=lead_ms,
        seed=settings.params.seed,
        start="safe" if settings.starts_safely else "early",
        continuity=settings.continuity,
    )


def held_back(utterance_id: str, event: PlaybackDelayed) -> messages.Warning:
    """Why a client that asked for a safe start hears nothing yet."""
    return messages.Warning(
        code="held_back",
        message=f"speech is made more slowly than it plays: it begins in about {event.wait_ms} ms",
        id=utterance_id,
        wait_ms=event.wait_ms,
    )


def failure(error: StreamerError) -> messages.Failure:
    """An error as `done` carries it."""
    return messages.Failure(
        code=error.code, message=error.message, retryable=error.retryable, retry_after_s=error.retry_after_s
    )


def event_message(
    utterance_id: str, event: SentenceStarted | SentenceEnded | WordTimes | Flushed | SpeechWarning
) -> messages.ServerMessage:
    """An event of the pipeline as the client hears of it."""
    if isinstance(event, SentenceStarted):
        return messages.SentenceStart(
            id=utterance_id,
            index=event.index,
            text=event.text,
            char_start=event.char_start,
            char_end=event.char_end,
            start_ms=event.start_ms,
            voice=event.voice,
        )
    if isinstance(event, SentenceEnded):
        return messages.SentenceEnd(id=utterance_id, index=event.index, end_ms=event.end_ms)
    if isinstance(event, SpeechWarning):
        return messages.Warning(
            code=event.code,
            message=event.message,
            param=event.param,
            id=utterance_id,
            index=event.index,
            seed=event.seed,
        )
    if isinstance(event, Flushed):
        return messages.Flushed(id=utterance_id, ref=event.ref)
    words = [
        messages.Word(
            text=word.text,
            start_ms=word.start_ms,
            end_ms=word.end_ms,
            char_start=word.char_start,
            char_end=word.char_end,
        )
        for word in event.words
    ]
    return messages.Words(id=utterance_id, index=event.index, items=words, estimated=event.is_estimated)
