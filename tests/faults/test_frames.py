"""Raw frames to the native protocol's address, after the groups of the Autobahn test suite, and RFC 6455 alone.

The expectation of a case is the code with which the server closes, or `LIVES` if the session continues.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Final

import pytest

from tests.server.speaking import Running, configured, figure, running

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
LIVES: Final = "lives"
CUT: Final = "cut"
"""The connection ended without a close frame."""
CASES_AT_ONCE: Final = 16
Expected = int | str
Case = tuple[Sequence[bytes], Expected]
"""Pieces that are written one after another, and what becomes of the session."""
_MASK: Final = b"\x37\xfa\x21\x3d"


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    is_masked: bool = True,
    length: bytes | None = None,
) -> bytes:
    """A frame of a client (RFC 6455, section 5.2); `length`: how its length is written, if not as it should be."""
    size = len(payload)
    if length is None and size < 126:
        length = bytes([size])
    elif length is None:
        length = b"\x7e" + size.to_bytes(2) if size < 65_536 else b"\x7f" + size.to_bytes(8)
    assert length is not None
    head = bytes([fin << 7 | rsv << 4 | opcode, is_masked << 7 | length[0]]) + length[1:]
    if not is_masked:
        return head + payload
    return head + _MASK + bytes(byte ^ _MASK[index % 4] for index, byte in enumerate(payload))


def message(size: int | None = None, t: str = "a") -> bytes:
    """A message that is answered, and as many bytes long."""
    text = json.dumps({"type": "ping", "t": t}, ensure_ascii=False).encode()
    return text.ljust(size or 0)


def parts(opcode: int, *payloads: bytes) -> list[bytes]:
    """A message in fragments, a frame each."""
    last = len(payloads) - 1
    return [
        frame(opcode if not index else 0, payload, fin=index == last)
        for index, payload in enumerate(payloads)
    ]


def closing(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2) + reason)


def by_octets(data: bytes) -> list[bytes]:
    return [data[index : index + 1] for index in range(len(data))]


GOOD = frame(TEXT, message())
SIZES = (0, 1, 124, 125, 126, 127, 128, 65_535, 65_536)
GROUPS: Final[Mapping[str, Mapping[str, Case]]] = {
    "1 framing": {
        **{f"text of {size}": ([frame(TEXT, b" " * size)], LIVES) for size in SIZES},
        **{f"message of {size}": ([frame(TEXT, message(size))], LIVES) for size in SIZES},
        **{f"binary of {size}": ([frame(BINARY, b"\xfe" * size)], LIVES) for size in SIZES},
        "octets of a text": (by_octets(frame(TEXT, message(130))), LIVES),
        "octets of a binary": (by_octets(frame(BINARY, b"\xfe" * 130)), LIVES),
    },
    "2 pings and pongs": {
        **{f"ping of {size}": ([frame(PING, b"\xfe" * size)], LIVES) for size in (0, 1, 124, 125)},
        "ping of 126": ([frame(PING, b"\xfe" * 126)], 1002),
        "pong of 126": ([frame(PONG, b"\xfe" * 126)], 1002),
        "octets of a ping": (by_octets(frame(PING, b"\xfe" * 125)), LIVES),
        "a pong that nobody asked for": ([frame(PONG)], LIVES),
        "a pong with a payload": ([frame(PONG, b"unasked")], LIVES),
        "a pong, then a ping": ([frame(PONG, b"unasked"), frame(PING, b"asked")], LIVES),
        "ten pings": ([frame(PING, b"%d" % number) for number in range(10)], LIVES),
        "octets of ten pings": (by_octets(b"".join(frame(PING, b"%d" % n) for n in range(10))), LIVES),
    },
    "3 reserved bits": {
        **{f"text with {rsv}": ([frame(TEXT, message(), rsv=rsv)], 1002) for rsv in range(1, 8)},
        **{
            f"behind a good one with {rsv}": ([GOOD, frame(TEXT, message(), rsv=rsv)], 1002) for rsv in (1, 4)
        },
        "octets": ([GOOD, *by_octets(frame(TEXT, message(), rsv=5))], 1002),
        "binary": ([frame(BINARY, b"x", rsv=6)], 1002),
        "ping": ([frame(PING, b"x", rsv=7)], 1002),
        "pong": ([frame(PONG, b"x", rsv=2)], 1002),
        "close": ([frame(CLOSE, b"\x03\xe8", rsv=1)], 1002),
        "fragment": ([frame(TEXT, b"{", fin=False), frame(0, b"}", rsv=3)], 1002),
    },
    "4 opcodes": {
        **{f"data {code}": ([frame(code)], 1002) for code in range(3, 8)},
        **{f"control {code}": ([frame(code)], 1002) for code in range(11, 16)},
        **{f"{code} with a payload": ([frame(code, b"x")], 1002) for code in (4, 7, 12, 15)},
        **{f"{code} behind a good one": ([GOOD, frame(code, b"x"), frame(PING)], 1002) for code in (5, 13)},
        **{f"octets of {code}": ([GOOD, *by_octets(frame(code, b"xyz"))], 1002) for code in (6, 14)},
    },
    "5 fragmentation": {
        "ping in two": (parts(PING, b"a", b"b"), 1002),
        "pong in two": (parts(PONG, b"a", b"b"), 1002),
        "close in two": (parts(CLOSE, b"\x03", b"\xe8"), 1002),
        "text in two": (parts(TEXT, message()[:5], message()[5:]), LIVES),
        "text in octets": (parts(TEXT, *by_octets(message())), LIVES),
        "empty ends": (parts(TEXT, b"", message(), b""), LIVES),
        "nothing in three": (parts(TEXT, b"", b"", b""), LIVES),
        "binary in two": (parts(BINARY, b"a", b"b"), LIVES),
        "a ping between": (
            [frame(TEXT, message()[:5], fin=False), frame(PING, b"x"), frame(0, message()[5:])],
            LIVES,
        ),
        "octets, and a ping between": (
            by_octets(frame(TEXT, message()[:5], fin=False) + frame(PING, b"x") + frame(0, message()[5:])),
            LIVES,
        ),
        # The standard lets a close stand here; `websockets` reports the message that it leaves unfinished.
        "a close between": ([frame(TEXT, b"{", fin=False), closing(1000)], 1002),
        "a last one of none": ([frame(0, b"x")], 1002),
        "a middle one of none": ([frame(0, b"x", fin=False)], 1002),
        "a last one behind a whole one": ([GOOD, frame(0, b"x")], 1002),
        "a text inside of another": ([frame(TEXT, b"{", fin=False), GOOD], 1002),
        "a binary inside of a text": ([frame(TEXT, b"{", fin=False), frame(BINARY, b"x")], 1002),
        "a beginning inside of another": ([frame(TEXT, b"{", fin=False)] * 2, 1002),
    },
    "6 UTF-8": {
        **{
            f"good {character!r}": ([frame(TEXT, message(t=character))], LIVES)
            for character in (
                "é",
                "κόσμε",
                "\u0800",
                "\ud7ff",
                "\ue000",
                "\ufffe",
                "\uffff",
                "🚀",
                "\U0010ffff",
            )
        },
        "a character in two": (parts(TEXT, message(t="🚀")[:-4], message(t="🚀")[-4:]), LIVES),
        "each octet a fragment": (parts(TEXT, *by_octets(message(t="κόσμε"))), LIVES),
        **{
            f"bad {octets.hex(' ')}": ([frame(TEXT, b'"a' + octets + b'b"')], 1007)
            for octets in (
                b"\x80",
                b"\xbf",
                b"\xc0\xaf",
                b"\xc1\xbf",
                b"\xc3",
                b"\xe0\x80\xaf",
                b"\xe2\x82",
                b"\xed\xa0\x80",
                b"\xed\xbf\xbf",
                b"\xed\xa0\x80\xed\xb0\x80",
                b"\xf0\x80\x80\xaf",
                b"\xf0\x9f\x9a",
                b"\xf4\x90\x80\x80",
                b"\xf8\x88\x80\x80\x80",
                b"\xfc\x84\x80\x80\x80\x80",
                b"\xfe",
                b"\xff",
            )
        },
        "bad in the first of two": (parts(TEXT, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xed\xa0\x80", b"x"), 1007),
        "bad in the last of two": (parts(TEXT, b"x", b"\xf4\x90\x80\x80"), 1007),
        "cut at the end": (parts(TEXT, b"\xce\xba", b"\xe1\xbd"), 1007),
    },
    "7 closing": {
        "a close": ([closing(1000)], 1000),
        "without a code": ([frame(CLOSE)], 1005),
        "with a reason": ([closing(1000, "ciao ü".encode())], 1000),
        "with the longest reason": ([closing(1000, b"x" * 123)], 1000),
        "behind a message": ([GOOD, closing(1000)], 1000),
        "a message behind it": ([closing(1000), GOOD], 1000),
        "a ping behind it": ([closing(1000), frame(PING, b"late")], 1000),
        "a wrong frame behind it": ([closing(1000), frame(3)], 1000),
        "two": ([closing(1000), closing(1001)], 1000),
        "octets": (by_octets(closing(1001, b"bye")), 1001),
        "one octet": ([frame(CLOSE, b"\x03")], 1002),
        "a reason too long": ([closing(1000, b"x" * 124)], 1002),
        "a reason that is no UTF-8": ([closing(1000, b"\xce\xba\xed\xa0\x80")], 1007),
        "half a message before": ([frame(TEXT, message())[:9], b""], LIVES),
        **{
            f"with {code}": ([closing(code)], code)
            for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
        },
        **{
            f"with {code}, which is none": ([closing(code)], 1002)
            for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535)
        },
    },
    "9 limits": {
        "as long as a message may be": ([frame(TEXT, message(65_536))], LIVES),
        "longer": ([frame(TEXT, message(65_537))], LIVES),
        "as long as a frame may be": ([frame(TEXT, message(262_144))], LIVES),
        "longer than that": ([frame(TEXT, message(262_145))], 1009),
        "longer in fragments": (parts(TEXT, b" " * 200_000, b" " * 62_145), 1009),
        "a binary longer than that": ([frame(BINARY, bytes(262_145))], 1009),
        "said to be huge": ([frame(TEXT, b"x", length=b"\x7f\x7f" + b"\xff" * 7)], 1009),
        "said to be negative": ([frame(TEXT, b"x", length=b"\x7f" + b"\xff" * 8)], 1009),
    },
    "10 masks": {
        "a text without": ([frame(TEXT, message(), is_masked=False)], 1002),
        "a ping without": ([frame(PING, b"x", is_masked=False)], 1002),
        "a close without": ([frame(CLOSE, b"\x03\xe8", is_masked=False)], 1002),
        "an empty one without": ([frame(TEXT, b"", is_masked=False)], 1002),
        "one without behind one with": ([GOOD, frame(TEXT, message(), is_masked=False)], 1002),
        "the second fragment without": (
            [frame(TEXT, b"{", fin=False), frame(0, b"}", is_masked=False)],
            1002,
        ),
    },
}
"""The cases of each group, by what a client sends. Autobahn's group 8 has no cases, and the later ones measure."""


@pytest.mark.parametrize("group", GROUPS)
async def test_frames_have_the_answer_that_the_standard_says(group: str) -> None:
    """A session goes through what is right, and ends with the code of what is wrong, as if nothing else had come."""
    cases = GROUPS[group]
    gate = asyncio.Semaphore(CASES_AT_ONCE)
    async with running(configured(max_bytes_per_s=16_777_216)) as server:

        async def tried(pieces: Sequence[bytes]) -> Expected:
            async with gate:
                return await _outcome(server, pieces)

        got = await asyncio.gather(*(tried(pieces) for pieces, _ in cases.values()))
        assert dict(zip(cases, got, strict=True)) == {name: expected for name, (_, expected) in cases.items()}
        assert not figure(server.server, "tts_errors_total", code="internal_error")


async def _outcome(server: Running, pieces: Sequence[bytes]) -> Expected:
    """Say it, and then, if the session lives, something that is answered; all pings before must have had their pong."""
    async with asyncio.timeout(10), server.line() as (reader, writer):
        fields = "Host: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        writer.write(f"GET /v1/stream HTTP/1.1\r\n{fields}{key}\r\n".encode())
        assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
        for piece in pieces:
            writer.write(piece)
            if len(pieces) > 20:
                await asyncio.sleep(0)
        if pieces[-1] == b"":  # half a message, whose rest follows
            writer.write(frame(TEXT, message())[9:])
        writer.write(frame(TEXT, message(t="still here?")))
        pongs = []
        try:
            while True:
                opcode, payload = await _received(reader)
                if opcode == PONG:
                    pongs.append(payload)
                elif opcode == CLOSE:
                    assert await reader.read(1) == b"", "something came behind the close"
                    return int.from_bytes(payload[:2]) if payload else 1005
                elif b"still here?" in payload:
                    assert pongs == _pings(pieces)
                    return LIVES
        except (asyncio.IncompleteReadError, ConnectionError):
            return CUT


async def _received(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one frame of the server, which is whole, not masked, and has no reserved bit."""
    first, size = await reader.readexactly(2)
    assert first & 0xF0 == 0x80 and not size & 0x80
    if size > 125:
        size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
    return first & 0x0F, await reader.readexactly(size)


def _pings(pieces: Sequence[bytes]) -> list[bytes]:
    """The payloads of the pings in what a client said, short ones alone."""
    data, payloads = b"".join(pieces), []
    while (at := data.find(bytes([0x80 | PING]))) >= 0 and len(data) > at + 1:
        size = data[at + 1] & 0x7F
        masked = data[at + 6 : at + 6 + size]
        if data[at + 2 : at + 6] == _MASK:
            payloads.append(bytes(byte ^ _MASK[index % 4] for index, byte in enumerate(masked)))
        data = data[at + 1 :]
    return payloads
