"""The messages of ElevenLabs' speech API as bounded, typed structs: a client's, and the frames that answer it."""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType, field

from streamer.errors import (
    AudioEncodeError,
    AuthenticationError,
    EngineError,
    IdleTimeoutError,
    InternalError,
    InvalidMessageError,
    StreamerError,
)
from streamer.server.ending import StoppedError
from streamer.server.http import Answer, Request, json_answer
from streamer.server.json_messages import check_text, decoded

POLICY: Final = 1008
"""The close code, and the code in errors, for what a client does wrong and for what it may not have."""
GOING_AWAY: Final = 1001
SERVER_FAILED: Final = 1011
_ERROR_NAMES: Final[dict[type[StreamerError], str]] = {
    InvalidMessageError: "invalid_input_message",
    IdleTimeoutError: "input_timeout_exceeded",
    AuthenticationError: "invalid_api_key",
}
"""ElevenLabs' names of errors; others keep ours."""

Text = Annotated[str, Meta(max_length=1_048_576)]
ContextId = Annotated[str, Meta(max_length=128)]
Key = Annotated[str, Meta(max_length=1024)]


class VoiceSettings(Struct, frozen=True):
    """How a voice is to sound. Bark can change only the speed; what else there is is ignored."""

    speed: float | None = None


class GenerationConfig(Struct, frozen=True):
    """When a text is generated."""

    chunk_length_schedule: (
        Annotated[list[Annotated[float, Meta(ge=1, le=100_000)]], Meta(max_length=64)] | None
    ) = None


class ContextName(Struct, frozen=True, kw_only=True):
    """The context that a message is about, in either spelling."""

    snake_case_id: ContextId | None = field(default=None, name="context_id")
    camel_case_id: ContextId | None = field(default=None, name="contextId")

    @property
    def context_id(self) -> str | None:
        return self.snake_case_id or self.camel_case_id


class ClientMessage(ContextName, frozen=True, kw_only=True):
    """A message of a client. What it wants shows in the fields that it has; null is the same as none."""

    text: Text | None = None
    flush: bool | None = None
    try_trigger_generation: bool | None = None
    close_context: bool | None = None
    close_socket: bool | None = None
    voice_settings: VoiceSettings | None = None
    generation_config: GenerationConfig | None = None
    hyphenated_key: Key | None = field(default=None, name="xi-api-key")
    xi_api_key: Key | None = None
    authorization: Key | None = None

    @property
    def key(self) -> str | None:
        """The key, which may come in the first message."""
        key = self.hyphenated_key or self.xi_api_key or self.authorization
        return without_scheme(key) if key else None


class SpeechRequest(Struct, frozen=True, kw_only=True):
    """The body of a request over HTTP. Unknown fields are ignored, and null is the same as none."""

    text: Text
    voice_settings: VoiceSettings | None = None
    language_code: Annotated[str, Meta(max_length=64)] | None = None
    apply_text_normalization: Annotated[str, Meta(max_length=64)] | None = None
    seed: Annotated[int, Meta(ge=0, le=2**32 - 1)] | None = None


class Alignment(Struct, frozen=True, rename="camel"):
    """When characters are heard, in ms."""

    chars: list[str]
    char_start_times_ms: list[int]
    char_durations_ms: list[int]


class AudioFrame(Struct, frozen=True, rename="camel"):
    """A piece of the sound, in base64; it is empty for words that come after the last one."""

    audio: bytes
    normalized_alignment: Alignment | None
    alignment: Alignment | None
    is_final: None = None
    context_id: str | UnsetType = UNSET


class FinalFrame(Struct, frozen=True, rename="camel"):
    """The end of a connection's only text."""

    audio: None = None
    is_final: bool = True
    normalized_alignment: None = None
    alignment: None = None


class ContextFinalFrame(Struct, frozen=True, rename="camel"):
    """The end of one context among many."""

    context_id: str
    is_final: bool = True


class ErrorFrame(Struct, frozen=True, rename="camel"):
    """What went wrong, and the end of the context that it names.

    No other frame has a `message`: ElevenLabs' own client takes for an error whatever has one.
    """

    message: str
    error: str
    code: int
    context_id: str | UnsetType = UNSET
    is_final: bool | UnsetType = UNSET


_ids_decoder: Final = msgspec.json.Decoder(ContextName)
_message_decoder: Final = msgspec.json.Decoder(ClientMessage)
_request_decoder: Final = msgspec.json.Decoder(SpeechRequest)
_encoder: Final = msgspec.json.Encoder()


def read_message(text: str) -> ClientMessage:
    """Decode a client's frame. Raises `InvalidMessageError` for what is no JSON, else `InvalidParameterError`."""
    return decoded(_message_decoder, text)


def read_context_id(text: str) -> str | None:
    """Return the context that a frame names, even if something else is wrong with it. Raises as `read_message` does."""
    return decoded(_ids_decoder, text).context_id


def read_request(body: bytes, max_chars: int) -> SpeechRequest:
    """Decode a request's body. Raises as `read_message` does, and `TextTooLongError`."""
    request = decoded(_request_decoder, body)
    check_text(request.text, "text", max_chars)
    return request


def encode(frame: Struct) -> str:
    """Return a frame as text."""
    return _encoder.encode(frame).decode()


def error_frame(
    error: StreamerError, context_id: str | UnsetType = UNSET, *, is_final: bool = True
) -> ErrorFrame:
    """Return the frame that reports an error, of one context or of the whole connection."""
    name = next((name for kind, name in _ERROR_NAMES.items() if isinstance(error, kind)), error.code)
    ends_context = True if is_final and context_id is not UNSET else UNSET
    return ErrorFrame(error.message, name, close_code(error), context_id, ends_context)


def close_code(error: StreamerError) -> int:
    """Return the code with which a connection ends because of an error."""
    if isinstance(error, StoppedError):
        return GOING_AWAY
    return SERVER_FAILED if isinstance(error, EngineError | InternalError | AudioEncodeError) else POLICY


def without_scheme(key: str) -> str:
    """Return a key without the `Bearer` that may stand before it."""
    return re.sub(r"(?i)^bearer +", "", key.strip())


def shape_error(_request: Request, answer: Answer) -> Answer:
    """Return an error's answer as ElevenLabs' clients read it."""
    error = json.loads(answer.body)["error"]
    status = HTTPStatus.NOT_FOUND if error["code"] == "voice_not_found" else answer.status
    name = "invalid_api_key" if status is HTTPStatus.UNAUTHORIZED else error["code"]
    detail = {"status": name, "message": error["message"]}
    if "param" in error:
        detail["param"] = error["param"]
    return json_answer(status, {"detail": detail}, answer.headers)
