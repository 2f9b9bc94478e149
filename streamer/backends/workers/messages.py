"""The messages between a front end and its workers: bounded, typed structs, each one binary frame of MessagePack.

A connection begins with `Hello` and `Welcome`. With the role `watch` the worker then describes its model, if the front
end does not know it, tells its `Voices` at once and whenever they change, and sends a `Status` several times a second.
With the role `speak` the front end sends one `Speak` after the other, and the worker answers each with `Chunk`s or
`Failed`. Closing the connection cancels the sentence.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Annotated, Final, Literal, TypeVar

import msgspec
import numpy as np
from msgspec import Meta, Struct

from streamer.errors import InvalidMessageError
from streamer.models.config import TokenizerConfig
from streamer.sampling import SamplingParams, sampling_params
from streamer.synthesis import TOLD_LATE_S, ModelInfo, PcmChunk, Room, SaidWord, SentenceRequest
from streamer.text.tokens.tokenizer import TokenizerFile
from streamer.voices.voice import Codes, Voice

PROTOCOL: Final = 2
"""The version of these messages; a front end and its workers must have the same one."""
MAX_REQUEST_BYTES: Final = 4 << 20
"""The longest frame that a worker reads."""
MAX_ANSWER_BYTES: Final = 32 << 20
"""The longest frame that a front end reads: a model's tokenizer, or a minute of sound."""
WINDOW_CHUNKS: Final = 2
"""How many chunks a worker sends before the reader of the sentence has taken the first of them."""
STATUS_INTERVAL_S: Final = TOLD_LATE_S
"""How often a worker tells its status."""
ENGINE_FAILED: Final = 1011
NO_ROOM: Final = 1013
"""The close code of a worker without room; its reason says when to come back."""
BAD_MESSAGE: Final = 4400
BAD_TOKEN: Final = 4401
MAX_REASON_BYTES: Final = 123
"""The longest reason that a closing frame can carry (RFC 6455, section 5.5)."""

_CODES: Final = "<i8"
_SAMPLES: Final = "<f4"
_RETRY: Final = "retry_after_s="
_Message = TypeVar("_Message")
Name = Annotated[str, Meta(max_length=256)]
_Seconds = Annotated[float, Meta(ge=0, le=3600)]
_Line = Annotated[str, Meta(max_length=4096)]
_Tokens = Annotated[bytes, Meta(max_length=1 << 20)]
_NumCodebooks = Annotated[int, Meta(ge=1, le=64)]


class Message(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    """A message of either side. Fields that a reader does not know are ignored."""


class History(Struct, frozen=True, kw_only=True):
    """A `Voice` by value: little-endian 64-bit tokens, row by row."""

    semantic: _Tokens
    coarse: _Tokens
    fine: _Tokens
    num_coarse_codebooks: _NumCodebooks
    num_fine_codebooks: _NumCodebooks


class Hello(Message, frozen=True, tag="hello"):
    """The front end's first message. `fingerprint`: that of the model it knows; empty if it knows none yet."""

    protocol: Annotated[int, Meta(ge=0, le=1 << 31)]
    version: Name
    role: Literal["watch", "speak"]
    token: Annotated[str, Meta(max_length=4096)] = ""
    fingerprint: Name = ""


class Speak(Message, frozen=True, tag="speak"):
    """A `SentenceRequest`; the voice goes by its name, and what the sentence continues by value."""

    request_id: Name
    text: Annotated[str, Meta(max_length=16_384)]
    voice: Name
    params: SamplingParams
    sentence_index: Annotated[int, Meta(ge=0, le=1 << 31)] = 0
    speed: Annotated[float, Meta(ge=0.01, le=100)] = 1.0
    utterance_id: Name = ""
    history: History | None = None
    keeps_voice: bool = False
    wants_history: bool = False
    is_preferred: bool = False
    traceparent: Name = ""


class Consumed(Message, frozen=True, tag="consumed"):
    """The sentence's reader has taken one more chunk, which is not the last."""


class Welcome(Message, frozen=True, tag="welcome"):
    """The worker's answer to `Hello`. `fingerprint` stands for its model and all that its sound depends on, except for
    its voices."""

    protocol: int
    version: Name
    worker_id: Name
    fingerprint: Name


class Model(Message, frozen=True, tag="model"):
    """What the worker speaks with."""

    info: ModelInfo
    tokenizer: TokenizerConfig
    tokenizer_data: Annotated[bytes, Meta(max_length=24 << 20)]


class Voices(Message, frozen=True, tag="voices"):
    """The voices that the worker has, by name, each with a digest of its tokens; `default` is one of them."""

    default: Name
    digests: Annotated[dict[Name, Annotated[bytes, Meta(max_length=32)]], Meta(max_length=65_536)]


class Status(Message, frozen=True, tag="status"):
    """How the worker is; `reason` says why it is not ready. The numbers are those of `Health`."""

    is_ready: bool
    is_draining: bool = False
    reason: _Line | None = None
    room: Room | None = None
    expected_speed: float | None = None
    num_slots: Annotated[int, Meta(ge=0, le=1 << 31)] | None = None
    step_age_s: float = 0.0

    @property
    def num_places(self) -> int | None:
        """How many listeners it can serve at once; None if that is not known."""
        if self.room is None:
            return self.num_slots
        return max(1, min(self.room.max_listeners, self.num_slots or self.room.max_listeners))


class Chunk(Message, frozen=True, tag="chunk"):
    """A `PcmChunk`: little-endian 32-bit floats, as the engine made them."""

    samples: bytes
    is_last: bool = False
    truncated: bool = False
    history: History | None = None
    words: Annotated[tuple[SaidWord, ...], Meta(max_length=4096)] | None = None
    unspoken: _Line = ""


class Failed(Message, frozen=True, tag="failed"):
    """The sentence failed, by the code of a `StreamerError`; the connection can take another one."""

    code: Annotated[str, Meta(max_length=64)]
    message: _Line
    param: Name | None = None
    retry_after_s: _Seconds | None = None


FromFrontEnd = Hello | Speak | Consumed
FromWorker = Welcome | Model | Voices | Status | Chunk | Failed

_encoder: Final = msgspec.msgpack.Encoder()
_requests: Final[msgspec.msgpack.Decoder[FromFrontEnd]] = msgspec.msgpack.Decoder(FromFrontEnd)
_answers: Final[msgspec.msgpack.Decoder[FromWorker]] = msgspec.msgpack.Decoder(FromWorker)


def encode(message: Message) -> bytes:
    """Return the message as one binary frame."""
    return _encoder.encode(message)


def decode_request(frame: bytes) -> FromFrontEnd:
    """Return a front end's message. Raises `InvalidMessageError`."""
    return _decoded(_requests, frame)


def decode_answer(frame: bytes) -> FromWorker:
    """Return a worker's message. Raises `InvalidMessageError`."""
    return _decoded(_answers, frame)


def _decoded(decoder: msgspec.msgpack.Decoder[_Message], frame: bytes) -> _Message:
    try:
        return decoder.decode(frame)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InvalidMessageError(f"this is no message of protocol {PROTOCOL}: {error}"[:200]) from None


def speak_message(request: SentenceRequest) -> Speak:
    """Return the message that asks for a sentence."""
    fields = {name: getattr(request, name) for name in Speak.__struct_fields__}
    return Speak(**fields | {"history": _history(request.history)})


def request_of(message: Speak, info: ModelInfo) -> SentenceRequest:
    """Return the request of a message. Raises `InvalidParameterError` and `InvalidMessageError`."""
    defaults = asdict(info.default_params)  # a model's own may lie outside of what clients may ask for
    asked = {name: value for name, value in asdict(message.params).items() if value != defaults[name]}
    params = sampling_params(asked, info.default_params, info.coarse_limits)
    fields = {name: getattr(message, name) for name in Speak.__struct_fields__}
    return SentenceRequest(**fields | {"params": params, "history": _voice(message.history)})


def chunk_message(chunk: PcmChunk) -> Chunk:
    """Return the message that brings a chunk."""
    return Chunk(
        samples=chunk.samples.astype(_SAMPLES, copy=False).tobytes(),
        is_last=chunk.is_last,
        truncated=chunk.truncated,
        history=_history(chunk.history),
        words=chunk.words,
        unspoken=chunk.unspoken[:4096],
    )


def chunk_of(message: Chunk) -> PcmChunk:
    """Return the chunk of a message. Raises `InvalidMessageError`."""
    return PcmChunk(
        _array(message.samples, _SAMPLES).astype(np.float32),
        message.is_last,
        message.truncated,
        _voice(message.history),
        message.words,
        message.unspoken,
    )


def model_message(info: ModelInfo, tokenizer: TokenizerFile) -> Model:
    """Return the message that describes a model."""
    return Model(info=info, tokenizer=tokenizer.config, tokenizer_data=tokenizer.data)


def model_of(message: Model) -> tuple[ModelInfo, TokenizerFile]:
    """Return the model's description and its tokenizer."""
    info = message.info
    info = replace(
        info,
        voices=tuple(info.voices),
        languages=tuple(info.languages),
        tags=tuple(info.tags),
        phones=tuple(info.phones),
    )
    return info, TokenizerFile(message.tokenizer, message.tokenizer_data)


def retry_reason(retry_after_s: float) -> str:
    """Return the reason of a connection that is closed with `NO_ROOM`."""
    return f"{_RETRY}{retry_after_s:.3f}"


def retry_after_s(reason: str) -> float | None:
    """Return what `retry_reason` wrote, None if the reason is another."""
    try:
        seconds = float(reason.removeprefix(_RETRY)) if reason.startswith(_RETRY) else None
    except ValueError:
        return None
    return seconds if seconds is not None and 0 <= seconds <= 3600 else None


def _history(voice: Voice | None) -> History | None:
    if voice is None:
        return None
    return History(
        semantic=voice.semantic.astype(_CODES).tobytes(),
        coarse=voice.coarse.astype(_CODES).tobytes(),
        fine=voice.fine.astype(_CODES).tobytes(),
        num_coarse_codebooks=len(voice.coarse),
        num_fine_codebooks=len(voice.fine),
    )


def _voice(history: History | None) -> Voice | None:
    if history is None:
        return None

    def rows(data: bytes, num_rows: int) -> Codes:
        codes = _array(data, _CODES)
        if len(codes) % num_rows:
            raise InvalidMessageError(f"{len(codes)} tokens are not {num_rows} rows")
        return codes.astype(np.int64).reshape(num_rows, -1)

    semantic = _array(history.semantic, _CODES).astype(np.int64)
    coarse = rows(history.coarse, history.num_coarse_codebooks)
    return Voice(semantic, coarse, rows(history.fine, history.num_fine_codebooks))


def _array(data: bytes, kind: str) -> np.ndarray[tuple[int], np.dtype[np.generic]]:
    item_bytes = np.dtype(kind).itemsize
    if len(data) % item_bytes:
        raise InvalidMessageError(f"{len(data)} bytes are no whole numbers of {item_bytes} bytes")
    return np.frombuffer(data, kind)
