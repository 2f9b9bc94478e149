"""The messages of OpenAI's speech API: the request as a bounded, typed struct, its events, and its errors."""

from __future__ import annotations

import base64
import json
from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from streamer.server.http import Answer, Request, json_answer
from streamer.server.json_messages import check_text, decoded
from streamer.server.openai_names import ModelNotFoundError
from streamer.speech.settings import MAX_TEMPO, MIN_TEMPO

MAX_INPUT_CHARS: Final = 4096
"""The longest `input`, as OpenAI has it."""
_TOKENS_PER_S: Final = 75
"""Tokens of sound that are reported for a second of it: the frames of Bark's codec."""
_CODES: Final = {
    HTTPStatus.UNAUTHORIZED: "invalid_api_key",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_exceeded",
}
"""OpenAI's codes, where its clients look for them; otherwise the server's own tell more."""

Name = Annotated[str, Meta(min_length=1, max_length=128)]


class VoiceId(Struct, frozen=True):
    """A voice by its id; OpenAI's own voices are asked for by name alone."""

    id: Name


class SpeechRequest(Struct, frozen=True, kw_only=True):
    """The body of `POST /v1/audio/speech`. Unknown fields are ignored, and null is the same as none."""

    input: Annotated[str, Meta(max_length=1_048_576)]
    model: Annotated[str, Meta(max_length=128)] | None = None
    voice: Name | VoiceId | None = None
    instructions: str | None = None
    response_format: Literal["mp3", "opus", "aac", "flac", "wav", "pcm"] | None = None
    speed: Annotated[float, Meta(ge=MIN_TEMPO, le=MAX_TEMPO)] | None = None
    stream_format: Literal["audio", "sse"] | None = None


_decoder = msgspec.json.Decoder(SpeechRequest)


def read_request(body: bytes) -> SpeechRequest:
    """Decode a request. Raises `InvalidMessageError`, `InvalidParameterError` or `TextTooLongError`."""
    request = decoded(_decoder, body)
    check_text(request.input, "input", MAX_INPUT_CHARS)
    return request


def audio_delta(payload: bytes) -> bytes:
    """Return the server-sent event that carries a piece of the sound."""
    return _event({"type": "speech.audio.delta", "audio": base64.b64encode(payload).decode()})


def audio_done(num_text_tokens: int, audio_ms: int) -> bytes:
    """Return the server-sent event that ends a speech, with what it used."""
    num_audio_tokens = round(audio_ms * _TOKENS_PER_S / 1000)
    usage = {
        "input_tokens": num_text_tokens,
        "output_tokens": num_audio_tokens,
        "total_tokens": num_text_tokens + num_audio_tokens,
    }
    return _event({"type": "speech.audio.done", "usage": usage})


def shape_error(_request: Request, answer: Answer) -> Answer:
    """Return an error's answer as OpenAI's clients read it."""
    error = json.loads(answer.body)["error"]
    status = HTTPStatus.NOT_FOUND if error["code"] == ModelNotFoundError.code else answer.status
    kind = "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error"
    if status is HTTPStatus.TOO_MANY_REQUESTS:
        kind = "rate_limit_error"
    shaped = {
        "message": error["message"],
        "type": kind,
        "param": error.get("param"),
        "code": _CODES.get(status, error["code"]),
    }
    return json_answer(status, {"error": shaped}, answer.headers)


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, separators=(",", ":")).encode() + b"\n\n"
