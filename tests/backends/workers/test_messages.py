"""The messages between a front end and its workers: what goes in comes out, and nothing is unbounded."""

from __future__ import annotations

import dataclasses
from dataclasses import fields, replace

import msgspec
import numpy as np
import pytest

from streamer.backends.workers import messages
from streamer.backends.workers.messages import (
    Chunk,
    Consumed,
    Failed,
    Hello,
    Speak,
    Status,
    chunk_message,
    chunk_of,
    decode_answer,
    decode_request,
    encode,
    model_message,
    model_of,
    request_of,
    retry_after_s,
    retry_reason,
    speak_message,
)
from streamer.errors import InvalidMessageError, InvalidParameterError
from streamer.sampling import RANGES, SamplingParams
from streamer.synthesis import PcmChunk, Room, SaidWord, SentenceRequest
from streamer.voices.voice import Voice
from tests.backends.workers.fleet import TOKENIZER, request
from tests.fakes.synthesizer import FakeSynthesizer

INFO = FakeSynthesizer().info
CODES = np.arange(16)
VOICE = Voice(np.array([1, 2**40, 3]), CODES.reshape(2, 8), CODES.reshape(8, 2))
WHOLE = SentenceRequest(
    "u.7", "Grüße – 你好.", "other", SamplingParams(seed=2**53 - 1, fine_temp=None, top_k=40, max_gen_duration_s=3.5),
    sentence_index=7, speed=1.5, utterance_id="u", history=VOICE, keeps_voice=True, wants_history=True,
    is_preferred=True, traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
)  # fmt: skip


def same(one: object, other: object) -> bool:
    """Whether two values of the port are equal, their arrays and types included."""
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    if dataclasses.is_dataclass(one):
        return type(one) is type(other) and all(
            same(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
        )
    return one == other


def test_a_model_may_have_defaults_that_no_client_may_ask_for() -> None:
    """The built-in voice takes its likeliest codes, by a temperature of 0."""
    params = replace(INFO.default_params, fine_temp=0.0)
    asked = replace(request(), params=replace(params, seed=7))
    message = decode_request(encode(speak_message(asked)))
    assert isinstance(message, Speak)
    assert request_of(message, replace(INFO, default_params=params)) == asked
    with pytest.raises(InvalidParameterError, match="fine_temp"):
        request_of(message, INFO)


@pytest.mark.parametrize("asked", [request(), WHOLE], ids=["little", "everything"])
def test_a_request_comes_out_as_it_went_in(asked: SentenceRequest) -> None:
    """Every field of the port's request arrives; one that is added to the port and forgotten here fails."""
    message = decode_request(encode(speak_message(asked)))
    assert isinstance(message, Speak)
    assert same(request_of(message, INFO), asked)
    changed = {field.name for field in fields(WHOLE) if getattr(WHOLE, field.name) != field.default}
    assert changed == {field.name for field in fields(SentenceRequest)}


@pytest.mark.parametrize(
    "chunk",
    [
        PcmChunk(np.zeros(0, np.float32), is_last=True),
        PcmChunk(np.array([0.1, -1.0, np.float32(1e-40)], np.float32)),
        PcmChunk(
            np.linspace(-1, 1, 99, dtype=np.float32),
            True,
            True,
            VOICE,
            (SaidWord(0, 5, 0.1, 0.2),),
            "the rest",
        ),
    ],
    ids=["empty", "plain", "everything"],
)
def test_a_chunk_comes_out_as_it_went_in(chunk: PcmChunk) -> None:
    """Samples are the same bits, and can be written to."""
    message = decode_answer(encode(chunk_message(chunk)))
    assert isinstance(message, Chunk)
    found = chunk_of(message)
    assert same(found, chunk)
    found.samples[:] = 0


def test_a_model_comes_out_as_it_went_in() -> None:
    """Its description is equal, lists and all, and can be hashed."""
    message = decode_answer(encode(model_message(INFO, TOKENIZER)))
    info, tokenizer = model_of(message)
    assert (info, tokenizer) == (INFO, TOKENIZER)
    assert hash(info) == hash(INFO)


@pytest.mark.parametrize("name", RANGES)
def test_every_parameter_is_checked_by_the_worker(name: str) -> None:
    """Whatever a front end asks for is within the ranges of the protocols."""
    too_large = int(RANGES[name].largest) + 1
    message = speak_message(replace(request(), params=replace(SamplingParams(seed=1), **{name: too_large})))
    with pytest.raises(InvalidParameterError, match=name):
        request_of(decode_request(encode(message)), INFO)


NOT_A_NUMBER = float("nan")
BAD = {
    "no MessagePack": b"\xc1",
    "nothing": b"",
    "not a map": msgspec.msgpack.encode([1, 2]),
    "no type": msgspec.msgpack.encode({"protocol": 1}),
    "unknown type": msgspec.msgpack.encode({"type": "shout"}),
    "a worker's": encode(Status(is_ready=True)),
    "half": encode(speak_message(request()))[:-3],
    "deep": b"\x91" * 100_000,
    **{
        f"{name} {type(value).__name__} {str(value)[:8]}": msgspec.msgpack.encode(
            msgspec.to_builtins(speak_message(request())) | {"type": "speak", name: value}
        )
        for name, value in [
            ("text", "a" * 16_385),
            ("text", 5),
            ("text", b"\xff"),
            ("voice", "v" * 257),
            ("request_id", "r" * 257),
            ("utterance_id", "u" * 257),
            ("sentence_index", -1),
            ("sentence_index", 2**40),
            ("sentence_index", True),
            ("speed", 0.0),
            ("speed", NOT_A_NUMBER),
            ("speed", float("inf")),
            ("params", {"seed": "x"}),
            ("params", {}),
            ("keeps_voice", 1),
            ("history", {"semantic": b""}),
            ("history", {"semantic": b"\0" * ((1 << 20) + 8), "coarse": b"", "fine": b"",
                         "num_coarse_codebooks": 1, "num_fine_codebooks": 1}),
            ("history", {"semantic": b"", "coarse": b"", "fine": b"",
                         "num_coarse_codebooks": 0, "num_fine_codebooks": 1}),
            ("history", {"semantic": b"", "coarse": b"", "fine": b"",
                         "num_coarse_codebooks": 1, "num_fine_codebooks": 65}),
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize("frame", BAD.values(), ids=BAD)
def test_what_is_no_message_is_refused(frame: bytes) -> None:
    """Whatever is wrong, there is one error, and it is short."""
    with pytest.raises(InvalidMessageError) as refused:
        decode_request(frame)
    assert len(refused.value.message) <= 200


@pytest.mark.parametrize(
    ("data", "num_rows"), [(b"\0" * 7, 1), (b"\0" * 8, 2), (b"\0" * 24, 2), (b"\0" * 9, 1)]
)
def test_a_history_of_a_wrong_shape_is_refused(data: bytes, num_rows: int) -> None:
    """Bytes that are no tokens, or no whole rows of them, never become an array."""
    history = msgspec.convert(
        {
            "semantic": b"",
            "coarse": data,
            "fine": b"",
            "num_coarse_codebooks": num_rows,
            "num_fine_codebooks": 1,
        },
        messages.History,
    )
    message = replace_history(history)
    with pytest.raises(InvalidMessageError, match="are n"):
        request_of(message, INFO)


def replace_history(history: messages.History) -> Speak:
    return msgspec.structs.replace(speak_message(request()), history=history)


def test_no_string_number_or_list_is_unbounded() -> None:
    """Every field that a front end writes, or a worker, has a bound, is fixed in size, or is bounded by its frame."""
    by_frame = {
        # Numbers, and what the frame's own limit bounds.
        (Chunk, "samples"), (Status, "expected_speed"), (Status, "step_age_s"), (messages.Model, "info"),
        (messages.Model, "tokenizer"), (messages.Welcome, "protocol"),
    }  # fmt: skip
    known = (bool, Room, SamplingParams, messages.History)
    for kind in (Hello, Speak, Consumed, Status, Chunk, Failed, messages.Welcome, messages.Model):
        for field in msgspec.structs.fields(kind):
            text = str(field.type)
            if (kind, field.name) not in by_frame and "Literal" not in text:
                is_known = any(f"{one.__name__}" in text for one in known)
                assert "Meta" in text or is_known, f"{kind.__name__}.{field.name}: {text}"


def test_a_refusal_says_when_to_come_back() -> None:
    """The reason of the close is read as it was written, and anything else is no time."""
    assert retry_after_s(retry_reason(0.25)) == 0.25
    for reason in ("", "retry_after_s=", "retry_after_s=x", "retry_after_s=nan", "retry_after_s=-1", "later"):
        assert retry_after_s(reason) is None
    assert len(retry_reason(3600)) <= messages.MAX_REASON_BYTES
