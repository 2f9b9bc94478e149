"""Text becomes typed messages strictly, in linear time, and with every number bounded."""

from __future__ import annotations

import math
import typing
from typing import Any

import msgspec
import pytest

from streamer.errors import InvalidParameterError, StreamerError
from streamer.sampling import COARSE_WINDOWS
from streamer.server.native.decoding import MAX_UNKNOWN_FIELDS, parse_object, read_message, read_query
from streamer.server.native.messages import CLIENT_MESSAGES, Configure, Params, Speak

HOSTILE = [
    '"' + '\\"' * 30_000,
    "[" * 60_000,
    "{" * 60_000,
    '{"a":' * 10_000,
    '"\\',
    "1" * 60_000,
    '{"a":"' + "[" * 9,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_refused(text: str) -> None:
    """Deep, endless and unfinished texts are errors like any other."""
    with pytest.raises(StreamerError):
        parse_object(text)


def test_brackets_in_strings_are_no_nesting() -> None:
    """Text may hold what it likes."""
    text = '{"type":"text","id":"a","text":"' + "[{" * 50 + '\\" [[[[[[[[[[ \\\\"}'
    assert parse_object(text)[0]["text"].startswith("[{[{")


def test_what_is_almost_json_is_read_and_told() -> None:
    """NaN, numbers out of range and keys given twice are mistakes in a message that still has its id."""
    for value in ("NaN", "-Infinity", "1e999", "[1e999]", '{"x":1,"x":2}'):
        fields, mistakes = parse_object('{"id":"a","t":' + value + "}")
        assert fields["id"] == "a" and len(mistakes) == 1
    assert parse_object('{"id":"a","t":1e308}')[1] == []


def test_a_message_becomes_its_struct() -> None:
    """Surrogate pairs are characters, and a whole number will do for a fraction."""
    fields, _ = parse_object(
        '{"type":"speak","id":"a","text":"\\ud83d\\ude00","params":{"text_temp":1},"lead_ms":null}'
    )
    message, unknown = read_message(fields)
    assert isinstance(message, Speak) and message.text == "😀" and message.lead_ms is None and not unknown
    assert (
        message.params is not None
        and message.params.text_temp == 1
        and message.max_buffer_ms is msgspec.UNSET
    )


def test_the_query_is_read_like_configure() -> None:
    """Numbers, null, and the names of params are understood; `framing` is told apart."""
    settings, framing, unknown = read_query("voice=v&lead_ms=null&seed=7&top_p=0.5&framing=bare&x=1")
    assert (settings.voice, settings.lead_ms, framing, unknown) == ("v", None, "bare", ["x"])
    assert settings.params == Params(seed=7, top_p=0.5)
    for query in ("framing=none", "seed=abc", "frame_ms=1e999", "lead_ms=-1", "&".join(["a=b"] * 100)):
        with pytest.raises(StreamerError):
            read_query(query)


@pytest.mark.parametrize("name", sorted(set(Configure.__struct_fields__) - {"params"}))
def test_null_in_the_query_means_null(name: str) -> None:
    """Whatever the setting is, the text `null` is not taken for its value."""
    settings, framing, unknown = read_query(f"{name}=null&framing=null")
    assert (getattr(settings, name), framing, unknown) == (None, "framed", [])


def test_a_wrong_framing_is_shown_with_what_it_may_be() -> None:
    """As every other wrong field is."""
    with pytest.raises(InvalidParameterError) as error:
        read_query("framing=x")
    assert (error.value.param, error.value.message) == (
        "framing",
        "framing is 'x'; it must be one of framed, bare",
    )


def _types_in(kind: Any) -> list[msgspec.inspect.Type]:
    found = [kind]
    for nested in getattr(kind, "types", ()):
        found += _types_in(nested)
    for field in getattr(kind, "fields", ()):
        found += _types_in(field.type)
    return found


@pytest.mark.parametrize("name", CLIENT_MESSAGES)
def test_every_number_and_string_is_bounded(name: str) -> None:
    """No field of a client's message is without limits."""
    for kind in _types_in(msgspec.inspect.type_info(CLIENT_MESSAGES[name])):
        if isinstance(kind, msgspec.inspect.IntType | msgspec.inspect.FloatType):
            assert (kind.ge, kind.gt) != (None, None) and (kind.le, kind.lt) != (None, None)
        if isinstance(kind, msgspec.inspect.StrType):
            assert kind.max_length is not None


@pytest.mark.parametrize("name", Params.__struct_fields__)
@pytest.mark.parametrize("value", [math.nan, math.inf, -1, 1e9, "1", True, [], {}])
def test_params_refuse_what_is_out_of_range(name: str, value: object) -> None:
    """Each parameter has a closed range and a type; that of the coarse windows is the model's and checked later."""
    if name == "seed" and value == 1e9:
        value = 2**60
    if name in COARSE_WINDOWS and value in (-1, 1e9):
        value = 2**63
    with pytest.raises(StreamerError):
        read_message({"type": "configure", "params": {name: value}})


def test_the_types_are_those_of_the_protocol() -> None:
    """The client's messages are exactly the ten of protocol version 1."""
    expected = "auth cancel configure end flush ping played speak start text"
    assert sorted(CLIENT_MESSAGES) == expected.split()
    assert typing.get_type_hints(Speak)["interrupt"] is bool


def test_of_many_unknown_fields_only_the_first_are_told() -> None:
    """One message does not become thousands of warnings."""
    _, unknown = read_message({"type": "ping", **{f"x{number}": 1 for number in range(1000)}})
    assert unknown == [f"x{number}" for number in range(MAX_UNKNOWN_FIELDS)]


@pytest.mark.parametrize(
    ("field", "value", "offered"),
    [
        ("sample_rate", 44100, "8000, 16000, 24000, 48000"),
        ("frame_ms", 7, "10, 20, 40, 60"),
        ("text_format", "html", "plain, chat"),
        ("encoding", "mp3", "opus, ogg_opus, pcm_s16le, wav, mulaw, alaw, pcm_f32le"),
        ("continuity", "none", "preset, chain, preset+chain"),
    ],
)
def test_a_wrong_choice_names_the_right_ones(field: str, value: object, offered: str) -> None:
    """The error names the value that is not offered and those that are."""
    with pytest.raises(InvalidParameterError, match=f"{field} is '?{value}'?; it must be one of ") as error:
        read_message({"type": "speak", "id": "a", "text": "Hi.", field: value})
    assert error.value.param == field
    told = error.value.message.partition("one of ")[2].removesuffix(", or null")
    assert sorted(told.split(", ")) == sorted(offered.split(", "))
