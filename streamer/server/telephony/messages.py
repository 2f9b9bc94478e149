"""The messages of a media stream: those that come in as one bounded, typed struct, and those that go out."""

from __future__ import annotations

import base64
import json
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct, field

from streamer.errors import InvalidMessageError, InvalidParameterError, StreamerError
from streamer.server.json_messages import check_size, decoded

Sid = Annotated[str, Meta(min_length=1, max_length=256)]
Name = Annotated[str, Meta(min_length=1, max_length=256)]
Value = Annotated[str, Meta(max_length=4096)]
Parameters = Annotated[dict[Name, Value], Meta(max_length=64)]
Codec = Literal["mulaw", "alaw"]
_CODECS: Final[dict[str, Codec]] = {"audio/x-mulaw": "mulaw", "pcmu": "mulaw", "pcma": "alaw"}
"""The encodings of both vendors that can be answered in, in lower case."""
_RATE_HZ: Final = 8000


class MediaFormat(Struct, frozen=True):
    """How the telephone's sound is encoded; Twilio and Telnyx spell the rate differently."""

    encoding: Annotated[str, Meta(max_length=64)] = "PCMU"
    sample_rate: int | None = None
    sampleRate: int | None = None


class Start(Struct, frozen=True):
    """What a stream begins with: Twilio's names in camel case, Telnyx's with underscores."""

    streamSid: Sid | None = None
    callSid: Sid | None = None
    customParameters: Parameters = field(default_factory=dict)
    mediaFormat: MediaFormat | None = None
    call_control_id: Sid | None = None
    custom_parameters: Parameters = field(default_factory=dict)
    media_format: MediaFormat | None = None


class Mark(Struct, frozen=True):
    """A place in the sound."""

    name: Name


class Dtmf(Struct, frozen=True):
    """A key that was pressed."""

    digit: Annotated[str, Meta(min_length=1, max_length=8)]


class Message(Struct, frozen=True):
    """Any message of a stream or of the program that drives it; unknown fields are ignored.

    The sound of `media` is not read: nobody listens to it here.
    """

    event: Annotated[str, Meta(max_length=64)]
    stream_id: Sid | None = None
    start: Start | None = None
    mark: Mark | None = None
    dtmf: Dtmf | None = None
    text: str | None = None
    voice: Name | None = None
    last: bool = False


_decoder = msgspec.json.Decoder(Message)


def read_message(frame: str | bytes, max_bytes: int) -> Message:
    """Decode a message. Raises `InvalidMessageError` or `InvalidParameterError`."""
    if isinstance(frame, bytes):
        raise InvalidMessageError("a binary frame; the messages of a media stream are JSON text")
    check_size(frame, max_bytes)
    return decoded(_decoder, frame)


def missing(event: str, name: str) -> InvalidParameterError:
    """Return the error of a message without the field that it is about."""
    return InvalidParameterError(f"a `{event}` needs `{name}`", param=name)


class Call(Struct, frozen=True):
    """What is known of a call from its `start`."""

    vendor: Literal["twilio", "telnyx"]
    stream_sid: str
    call_sid: str | None
    codec: Codec
    parameters: dict[str, str]

    def media(self, payload: bytes) -> str:
        """Return the message with a piece of sound."""
        return self._message("media", {"payload": base64.b64encode(payload).decode()})

    def mark(self, name: str) -> str:
        """Return the message that comes back once the sound before it has been heard."""
        return self._message("mark", {"name": name})

    def clear(self) -> str:
        """Return the message by which the telephone drops what it has not played."""
        return self._message("clear")

    def started(self) -> str:
        """Return the message that tells a program of the call."""
        start = {
            "streamSid": self.stream_sid,
            "callSid": self.call_sid,
            "vendor": self.vendor,
            "customParameters": self.parameters,
            "mediaFormat": {"encoding": self.codec, "sampleRate": _RATE_HZ, "channels": 1},
        }
        return json.dumps({"event": "start", "streamSid": self.stream_sid, "start": start})

    def told(self, event: str, value: object = None) -> str:
        """Return a message to a program that drives the call."""
        return json.dumps(
            {"event": event, "streamSid": self.stream_sid} | ({} if value is None else {event: value})
        )

    def _message(self, event: str, value: object = None) -> str:
        sid = {"streamSid": self.stream_sid} if self.vendor == "twilio" else {}
        return json.dumps({"event": event} | sid | ({} if value is None else {event: value}))


def read_call(message: Message) -> tuple[Call, str | None]:
    """Return what a `start` says of its call, and the key that came with it as a parameter.

    Raises `InvalidMessageError` for a message of neither vendor, `InvalidParameterError` for sound that is not spoken.
    """
    start = message.start
    if start is None:
        raise missing("start", "start")
    vendor: Literal["twilio", "telnyx"] = "twilio" if start.streamSid is not None else "telnyx"
    stream_sid = start.streamSid or message.stream_id
    if stream_sid is None:
        raise InvalidMessageError(
            "this `start` has neither Twilio's `start.streamSid` nor Telnyx's `stream_id`"
        )
    media_format = start.mediaFormat or start.media_format or MediaFormat()
    parameters = {**start.customParameters, **start.custom_parameters}
    encoding = parameters.pop("codec", media_format.encoding)
    codec = _CODECS.get(encoding.lower())
    rate_hz = media_format.sampleRate or media_format.sample_rate or _RATE_HZ
    if codec is None or rate_hz != _RATE_HZ:
        message_text = (
            f"{encoding} of {rate_hz} Hz is not spoken: have the stream use PCMU or PCMA of {_RATE_HZ} Hz"
        )
        raise InvalidParameterError(message_text, param="encoding")
    token = parameters.pop("token", None)
    call = Call(vendor, stream_sid, start.callSid or start.call_control_id, codec, parameters)
    return call, token


def error_message(error: StreamerError) -> str:
    """Return the message that reports an error."""
    about: dict[str, Any] = {"code": error.code, "message": error.message}
    if error.param is not None:
        about["param"] = error.param
    return msgspec.json.encode({"event": "error", "error": about}).decode()
