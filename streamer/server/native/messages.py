"""The messages of the native protocol as bounded, typed structs; `docs/protocol.md` explains each of them.

`decoding` makes a client's messages of text; `encode` makes text of the server's.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from streamer.audio.formats import MAX_BITRATE, MIN_BITRATE, Encoding, FrameLength, SampleRate
from streamer.sampling import RANGES
from streamer.speech.settings import MAX_SPEED, MIN_SPEED, Continuity
from streamer.text.reading import TextFormat
from streamer.text.splitting.dialogue import MAX_SPEAKERS

PROTOCOL = "streamer.v1"

MAX_ID_CHARS = 128
Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=1_048_576)]
Milliseconds = Annotated[float, Meta(ge=0, le=86_400_000)]
WindowLength = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""Coarse tokens. What a model takes, `sampling` checks; this only bounds what is read."""


def _range(name: str) -> Meta:
    return Meta(ge=RANGES[name].smallest, le=RANGES[name].largest)


class Params(Struct, frozen=True, kw_only=True):
    """How the model samples. What is absent stays as it was; null switches a parameter off, or has a seed drawn."""

    seed: Annotated[int, _range("seed")] | UnsetType | None = UNSET
    text_temp: Annotated[float, _range("text_temp")] | UnsetType = UNSET
    waveform_temp: Annotated[float, _range("waveform_temp")] | UnsetType = UNSET
    fine_temp: Annotated[float, _range("fine_temp")] | UnsetType | None = UNSET
    top_k: Annotated[int, _range("top_k")] | UnsetType | None = UNSET
    top_p: Annotated[float, _range("top_p")] | UnsetType | None = UNSET
    min_eos_p: Annotated[float, _range("min_eos_p")] | UnsetType | None = UNSET
    max_gen_duration_s: Annotated[float, _range("max_gen_duration_s")] | UnsetType | None = UNSET
    max_coarse_history: WindowLength | UnsetType | None = UNSET
    sliding_window_len: WindowLength | UnsetType | None = UNSET


class ClientMessage(Struct, frozen=True, kw_only=True, tag_field="type"):
    """A message of the client; each may carry `ref`."""

    ref: Annotated[str, Meta(max_length=MAX_ID_CHARS)] | None = None


class Settings(ClientMessage, frozen=True, kw_only=True):
    """The fields that `configure`, `start` and `speak` share. What is absent is inherited; so is most that is null."""

    voice: Name | None = None
    encoding: Encoding | None = None
    sample_rate: SampleRate | None = None
    frame_ms: FrameLength | None = None
    bitrate: Annotated[int, Meta(ge=MIN_BITRATE, le=MAX_BITRATE)] | None = None
    params: Params | None = None
    lead_ms: Annotated[int, Meta(ge=0, le=3600000)] | UnsetType | None = UNSET
    max_buffer_ms: Annotated[int, Meta(ge=20, le=60000)] | UnsetType | None = UNSET
    start: Literal["early", "safe"] | None = None
    language: Annotated[str, Meta(min_length=1, max_length=16)] | None = None
    normalize: bool | UnsetType | None = UNSET
    text_format: TextFormat | None = None
    continuity: Continuity | None = None
    speakers: Annotated[dict[str, Name], Meta(max_length=MAX_SPEAKERS)] | None = None
    speed: Annotated[float, Meta(ge=MIN_SPEED, le=MAX_SPEED)] | None = None
    markup: bool | None = None


class Auth(ClientMessage, frozen=True, kw_only=True, tag="auth"):
    token: Annotated[str, Meta(max_length=1024)]


class Configure(Settings, frozen=True, kw_only=True, tag="configure"):
    pass


class Start(Settings, frozen=True, kw_only=True, tag="start"):
    id: Id
    after: Id | None = None
    interrupt: bool = False


class Speak(Start, frozen=True, kw_only=True, tag="speak"):
    text: Text


class AppendText(ClientMessage, frozen=True, kw_only=True, tag="text"):
    id: Id
    text: Text


class Flush(ClientMessage, frozen=True, kw_only=True, tag="flush"):
    id: Id


class End(ClientMessage, frozen=True, kw_only=True, tag="end"):
    id: Id


class Cancel(ClientMessage, frozen=True, kw_only=True, tag="cancel"):
    id: Id | None = None
    played_ms: Milliseconds | None = None


class Played(ClientMessage, frozen=True, kw_only=True, tag="played"):
    id: Id
    ms: Milliseconds


class Ping(ClientMessage, frozen=True, kw_only=True, tag="ping"):
    t: (
        Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
        | Annotated[float, Meta(ge=-1e300, le=1e300)]
        | Annotated[str, Meta(max_length=128)]
        | None
    ) = None


CLIENT_MESSAGES: dict[str, type[ClientMessage]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (Auth, Configure, Start, Speak, AppendText, Flush, End, Cancel, Played, Ping)
}


class ServerMessage(Struct, kw_only=True, tag_field="type", omit_defaults=True):
    """A message of the server. A field without a value is absent; `ref` is that of the message it answers."""

    ref: str | None = None


class Capabilities(Struct, kw_only=True):
    encodings: tuple[str, ...]
    sample_rates: tuple[int, ...]
    languages: tuple[str, ...]
    tags: tuple[str, ...]
    word_times: str
    phones: tuple[str, ...]
    params: dict[str, tuple[int, int]]


class Session(ServerMessage, kw_only=True, tag="session"):
    protocol: str
    session_id: str
    server: str
    model: str
    default_voice: str
    capabilities: Capabilities
    limits: dict[str, int | float]
    chunk_schedule: str | None = None


class Started(ServerMessage, kw_only=True, tag="started"):
    id: str
    stream: int
    voice: str
    encoding: str
    sample_rate: int
    frame_ms: int
    pre_skip: int
    lead_ms: int | None
    seed: int
    start: str
    continuity: str
    speed: float


class SentenceStart(ServerMessage, kw_only=True, tag="sentence_start"):
    id: str
    index: int
    text: str
    char_start: int
    char_end: int
    start_ms: int
    voice: str


class SentenceEnd(ServerMessage, kw_only=True, tag="sentence_end"):
    id: str
    index: int
    end_ms: int


class Word(Struct, kw_only=True):
    text: str
    start_ms: int
    end_ms: int
    char_start: int
    char_end: int


class Words(ServerMessage, kw_only=True, tag="words"):
    id: str
    index: int
    items: list[Word]
    estimated: bool


class Flushed(ServerMessage, kw_only=True, tag="flushed"):
    id: str


class Heard(Struct, kw_only=True):
    """What the client has heard before an interruption: the text up to the last whole word."""

    text: str
    char_end: int


class Failure(Struct, kw_only=True, omit_defaults=True):
    code: str
    message: str
    retryable: bool
    retry_after_s: float | None = None


Reason = Literal["completed", "cancelled", "failed", "truncated"]


class Done(ServerMessage, kw_only=True, tag="done"):
    id: str
    reason: Reason
    error: Failure | None = None
    audio_ms: int
    packets: int
    sentences: int
    characters: int
    seed: int
    first_audio_ms: int | None
    real_time_factor: float | None
    heard: Heard | None = None


Scope = Literal["message", "utterance", "session"]


class Error(ServerMessage, kw_only=True, tag="error"):
    code: str
    message: str
    scope: Scope
    param: str | None = None
    id: str | None = None
    retryable: bool
    retry_after_s: float | None = None


class WarningMessage(ServerMessage, kw_only=True, tag="warning"):
    code: str
    message: str
    param: str | None = None
    id: str | None = None
    heard: Heard | None = None
    wait_ms: int | None = None
    place: int | None = None
    index: int | None = None
    seed: int | None = None


class Pong(ServerMessage, kw_only=True, tag="pong"):
    t: int | float | str | None


class GoingAway(ServerMessage, kw_only=True, tag="going_away"):
    deadline_s: float


_encoder = msgspec.json.Encoder()


def encode(message: ServerMessage) -> str:
    """The message as the text of one WebSocket frame."""
    return _encoder.encode(message).decode()
