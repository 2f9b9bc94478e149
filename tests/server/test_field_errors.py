"""An error about a field of a client's message names the place, what stands there, and what may stand there."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import UNSET, Meta, Struct, UnsetType

from streamer.errors import InvalidParameterError, StreamerError
from streamer.server.json_messages import decoded
from streamer.server.native.decoding import read_message, read_query

Short = Annotated[str, Meta(min_length=1, max_length=8)]


class Inner(Struct):
    speed: Annotated[float, Meta(ge=0.5, le=2.0)] | UnsetType | None = UNSET
    when: Annotated[int, Meta(ge=0)] | None = None


class Speak(Struct, tag_field="type", tag="Speak"):
    text: Annotated[str, Meta(max_length=8)]
    kind: Literal["plain", "chat"] | None = None
    voice: Short | Inner | None = None
    inner: Inner | None = None
    items: Annotated[list[Inner], Meta(max_length=2)] = []
    labels: Annotated[dict[Short, Short], Meta(max_length=1)] | None = None
    flag: bool = False


class Stop(Struct, tag_field="type", tag="Stop"):
    text: bool


decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Speak | Stop)
LENGTH = "it must be a text of 1 to 8 characters"


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ('"inner": {"speed": 3}', "inner.speed", "inner.speed is 3; it must be a number from 0.5 to 2, or null"),
        ('"inner": {"when": -1}', "inner.when", "inner.when is -1; it must be a whole number of at least 0, or null"),
        ('"inner": []', "inner", "inner is a list; it must be an object, or null"),
        ('"items": [{}, {"speed": "2"}]', "items[1].speed", "items[1].speed is '2'; it must be a number from 0.5"),
        ('"items": [{}, {}, {}]', "items", "items is a list of 3 entries; it must be a list of at most 2 entries"),
        ('"kind": "html"', "kind", "kind is 'html'; it must be one of chat, plain, or null"),
        ('"voice": ""', "voice", f"voice is empty; {LENGTH} or an object, or null"),
        ('"voice": true', "voice", f"voice is true; {LENGTH} or an object, or null"),
        ('"labels": {"a": ""}', "labels", f"labels['a'] is empty; {LENGTH}"),
        ('"labels": {"a": 5}', "labels", f"labels['a'] is 5; {LENGTH}"),
        ('"labels": {"a": "b", "c": null}', "labels", f"labels['c'] is null; {LENGTH}"),
        ('"labels": {"a": "a secret text"}', "labels", f"labels['a'] is a text of 13 characters; {LENGTH}"),
        ('"labels": {"a": 5}, ]', "labels", f"a value in labels is wrong; {LENGTH}"),
        ('"labels": {"": "a"}', "labels", f"a name in labels is wrong; {LENGTH}"),
        ('"labels": {"a": "a", "b": "b"}', "labels", "labels is an object of 2 fields; it must be an object of at"),
        ('"flag": null', "flag", "flag is null; it must be true or false"),
        ('"text": "a secret text"', "text", "text is a text of 13 characters; it must be a text of at most 8"),
        ('"text": 1, ]', "text", "text is wrong; it must be a text of at most 8 characters"),
    ],
)  # fmt: skip
def test_the_field_its_value_and_its_limits_are_named(fields: str, param: str, message: str) -> None:
    """In plain words, whatever the field is: also one inside another, in a list, or in a message that breaks off."""
    with pytest.raises(InvalidParameterError) as error:
        decoded(decoder, '{"type": "Speak", "text": "Hi.", ' + fields + "}")
    assert error.value.param == param
    assert error.value.message.startswith(message)


@pytest.mark.parametrize(
    ("message", "param", "told"),
    [
        ("[]", None, "the message is a list; it must be an object"),
        ("{}", "type", "type is missing; it must be one of Speak, Stop"),
        ('{"type": "Go"}', "type", "type is 'Go'; it must be one of Speak, Stop"),
        ('{"type": "Speak"}', "text", "text is missing; it must be a text of at most 8 characters"),
        ('{"type": "Stop", "text": "Hi."}', "text", "text is 'Hi.'; it must be true or false"),
    ],
)
def test_the_messages_kind_is_named_too(message: str, param: str | None, told: str) -> None:
    """A message of no known kind learns the kinds, and one of several the fields of its own."""
    with pytest.raises(InvalidParameterError) as error:
        decoded(decoder, message)
    assert (error.value.param, error.value.message) == (param, told)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("text_temp", 2.5, "params.text_temp is 2.5; it must be a number from 0.01 to 2"),
        ("seed", 0.5, "params.seed is 0.5; it must be a whole number from 0 to 9007199254740991, or null"),
        ("sliding_window_len", 60.5, "params.sliding_window_len is 60.5; it must be a whole number, or null"),
    ],
)
def test_the_native_protocol_says_the_same(name: str, value: float, told: str) -> None:
    """In a message and in the address."""
    for read in (
        lambda: read_message({"type": "start", "id": "a", "params": {name: value}}),
        lambda: read_query(f"{name}={value}"),
    ):
        with pytest.raises(StreamerError, match=told) as error:
            read()
        assert error.value.param == f"params.{name}"


@pytest.mark.parametrize(
    ("label", "told"), [("A", "speakers['A'] is 5; it must"), ("A" * 65, "a value in speakers is 5; it must")]
)
def test_a_wrong_voice_of_a_speaker_is_shown_with_its_label(label: str, told: str) -> None:
    """Unless the label is too long to be shown."""
    with pytest.raises(StreamerError) as error:
        read_message({"type": "start", "id": "a", "speakers": {"B": "joe", label: 5}})
    assert error.value.message.startswith(told) and error.value.param == "speakers"


@pytest.mark.parametrize("fields", [{}, {"type": 3}, {"type": "sing"}])
def test_the_native_protocol_names_its_messages(fields: dict[str, Any]) -> None:
    """To a client whose message has no known type."""
    with pytest.raises(StreamerError, match="one of auth, configure, start, speak"):
        read_message(fields)


@pytest.mark.parametrize(
    "quoted", [" - at `$." + "[" * 60_000, "Object missing required field `voice`", "` - at `$.x`"]
)
def test_what_a_client_writes_is_not_taken_for_the_place(quoted: str) -> None:
    """Not a value that reads like one of msgspec's places or reasons, of which a part is quoted."""
    message = msgspec.json.encode({"type": "Speak", "text": "a", "kind": quoted})
    with pytest.raises(InvalidParameterError) as told:
        decoded(decoder, message)
    assert told.value.param == "kind"
    assert told.value.message.startswith("kind is ") and len(told.value.message) < 200
    assert told.value.message.endswith("it must be one of chat, plain, or null")
