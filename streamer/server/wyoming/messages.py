"""The events of the Wyoming protocol: those of clients as bounded, typed structs, ours as bytes.

An event is a line of JSON; behind it stand more data in JSON and a payload, if the line says how many bytes they have.
What the server sends is made by Home Assistant's own package, `wyoming`, whose reading of events has no bounds.
"""

from __future__ import annotations

import json
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct
from wyoming.error import Error
from wyoming.event import Event

from streamer.errors import InvalidMessageError, StreamerError
from streamer.server.json_messages import decoded

Length = Annotated[int, Meta(ge=0)]
Name = Annotated[str, Meta(max_length=128)]
NO_DATA: Final = b"{}"


class Header(Struct, frozen=True):
    """The line that an event begins with."""

    type: Name
    data: Raw = Raw(NO_DATA)
    data_length: Length | None = None
    payload_length: Length | None = None


class Voice(Struct, frozen=True):
    """What a client wishes to hear: a voice by name, or any voice of a language."""

    name: Name | None = None
    language: Name | None = None
    speaker: Name | None = None


class Synthesize(Struct, frozen=True):
    """Speak this text."""

    text: str
    voice: Voice | None = None
    text_format: Name | None = None


class SynthesizeStart(Struct, frozen=True):
    """Speak the text of the chunks that follow."""

    voice: Voice | None = None
    text_format: Name | None = None


class SynthesizeChunk(Struct, frozen=True):
    """A piece of the text."""

    text: str


class Ping(Struct, frozen=True):
    """Asks for a `pong` with the same text."""

    text: Annotated[str, Meta(max_length=1024)] | None = None


_Data = TypeVar("_Data")
_header_decoder = msgspec.json.Decoder(Header)
_raw_decoder = msgspec.json.Decoder(dict[str, Raw])


def split(frame: str | bytes) -> tuple[Header, bytes]:
    """Return the header of an event, and the data behind its line."""
    line, _, behind = (frame.encode() if isinstance(frame, str) else frame).partition(b"\n")
    return read_header(line), behind


def read_header(line: bytes) -> Header:
    """Return the header that a line holds. Raises `StreamerError`."""
    return decoded(_header_decoder, line)


def read_data(header: Header, behind: bytes, kind: type[_Data]) -> _Data:
    """Return an event's data, typed. Of what stands both in the line and behind it, the latter counts."""
    data = bytes(header.data)
    if behind and data not in (NO_DATA, b"null"):
        merged = decoded(_raw_decoder, data) | decoded(_raw_decoder, behind)
        data = msgspec.json.encode(merged)
    elif behind:
        data = behind
    return decoded(msgspec.json.Decoder(kind), data)


def encode(event: Event) -> bytes:
    """Return an event as it is sent."""
    data = json.dumps(event.data, ensure_ascii=False).encode() if event.data else b""
    payload = event.payload or b""
    header: dict[str, object] = {"type": event.type}
    if data:
        header["data_length"] = len(data)
    if payload:
        header["payload_length"] = len(payload)
    return json.dumps(header).encode() + b"\n" + data + payload


def error_event(error: StreamerError) -> bytes:
    """Return the event that reports an error."""
    return encode(Error(text=error.message, code=error.code).event())


def invalid(message: str) -> InvalidMessageError:
    """Return the error of an event that cannot be read, so that nothing behind it can, either."""
    return InvalidMessageError(f"{message}; the connection ends here")
