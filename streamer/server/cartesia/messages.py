"""The messages of Cartesia's text to speech: the client's as bounded, typed structs, the server's as JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct, field

from streamer.audio.formats import MAX_GAIN
from streamer.errors import InvalidMessageError
from streamer.server.json_messages import check_size, check_text, decoded
from streamer.speech.events import WordTime
from streamer.speech.settings import MAX_TEMPO, MIN_TEMPO

MAX_DELAY_MS: Final = 5000
"""The longest `max_buffer_delay_ms`."""
_PARTIAL: Final = HTTPStatus.PARTIAL_CONTENT.value

Name = Annotated[str, Meta(max_length=256)]


class Voice(Struct, frozen=True):
    """A voice by its id. `mode` is `id`; the voices that are given by an `embedding` belong to Cartesia's models."""

    id: Name | None = None
    mode: Name | None = None
    embedding: Any = None


class OutputFormat(Struct, frozen=True):
    """How the sound is encoded. `encoding` belongs to the containers `raw` and `wav`, `bit_rate` to `mp3`."""

    container: Name = "raw"
    encoding: Name | None = None
    sample_rate: int | None = None
    bit_rate: int | None = None


class GenerationConfig(Struct, frozen=True):
    """How the voice is to sound. The model follows no `emotion`, which is left out here."""

    speed: Annotated[float, Meta(ge=MIN_TEMPO, le=MAX_TEMPO)] | None = None
    volume: Annotated[float, Meta(ge=0.0, le=MAX_GAIN)] | None = None


class GenerationRequest(Struct, frozen=True, kw_only=True):
    """A text to be spoken, over WebSocket and HTTP; null is the same as none, and unknown fields are ignored.

    Over a WebSocket it belongs to a context, and `cancel` ends that. `speed` is that of older versions: a word.
    """

    transcript: Annotated[str, Meta(max_length=1_048_576)] | None = None
    context_id: Name | None = None
    cancel: bool | None = None
    continues: bool | None = field(default=None, name="continue")
    flush: bool | None = None
    voice: Voice | Name | None = None
    output_format: OutputFormat | None = None
    language: Name | None = None
    locale: Name | None = None
    normalization: Name | None = None
    generation_config: GenerationConfig | None = None
    speed: Name | float | None = None
    max_buffer_delay_ms: Annotated[int, Meta(ge=0, le=MAX_DELAY_MS)] | None = None
    add_timestamps: bool | None = None
    add_phoneme_timestamps: bool | None = None


class _Addressed(Struct, frozen=True):
    """What has to be known of a message that is wrong."""

    context_id: Any = None


_requests = msgspec.json.Decoder(GenerationRequest)
_addressed = msgspec.json.Decoder(_Addressed)


def read_message(frame: str | bytes, max_bytes: int) -> GenerationRequest:
    """Decode a client's frame. Raises `InvalidMessageError` or `InvalidParameterError`."""
    if isinstance(frame, bytes):
        raise InvalidMessageError("a binary frame; the messages of this protocol are JSON text")
    check_size(frame, max_bytes)
    return decoded(_requests, frame)


def read_request(body: bytes, max_chars: int) -> tuple[GenerationRequest, str]:
    """Return a request and its text. Raises `InvalidMessageError`, `InvalidParameterError` or `TextTooLongError`."""
    request = decoded(_requests, body)
    return request, check_text(request.transcript, "transcript", max_chars)


def context_of(frame: str | bytes) -> str:
    """Return the context that a wrong message names; empty if it names none."""
    try:
        context_id = _addressed.decode(frame).context_id
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return ""
    return context_id[:256] if isinstance(context_id, str) else ""


def chunk(payload: bytes, step_ms: float, **names: Any) -> str:
    """Return a piece of the sound. `step_ms`: the time since the piece before. `names`: of its context and flush."""
    return _message("chunk", _PARTIAL, data=base64.b64encode(payload).decode(), step_time=step_ms, **names)


def timestamps(words: Sequence[WordTime], **names: Any) -> str:
    """Return when words are heard, in seconds of the context's sound."""
    times = {
        "words": [word.text for word in words],
        "start": [round(word.start_ms / 1000, 3) for word in words],
        "end": [round(word.end_ms / 1000, 3) for word in words],
    }
    return _message("timestamps", _PARTIAL, word_timestamps=times, **names)


def flush_done(flush_id: int, **names: Any) -> str:
    """Return that everything before a flush has been sent."""
    return _message("flush_done", _PARTIAL, flush_done=True, flush_id=flush_id, **names)


def done(**names: Any) -> str:
    """Return that everything has been sent."""
    return _message("done", HTTPStatus.OK.value, is_last=True, **names)


def _message(kind: str, status: int, *, is_last: bool = False, **fields: Any) -> str:
    return json.dumps({"type": kind, "done": is_last, "status_code": status, **fields})
