"""Contracts of `client_examples/phone_call.py`, with a telephone as Twilio connects it."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.request import Request, urlopen
from xml.etree import ElementTree

import pytest

from tests.client_examples.example_runs import line_with, started
from tests.server.speaking import Running, configured, running
from tests.server.telephony.phones import Phone, calling, twilio_start


@contextlib.asynccontextmanager
async def answered(
    speaking: Running, *arguments: str, call_sid: str = "CA7"
) -> AsyncIterator[tuple[Process, Phone]]:
    """Have the program answer a call, and connect the telephone as its document says."""
    url = f"ws://127.0.0.1:{speaking.server.port}/v1/telephony"
    async with started("phone_call.py", "--stream-url", url, "--port", "0", *arguments) as process:
        webhook = (await line_with(process, "webhook: ")).removeprefix("webhook: ").strip()
        form = f"CallSid={call_sid}&From=%2B15550100".encode()
        body = await asyncio.to_thread(
            lambda: urlopen(Request(webhook, form, method="POST"), timeout=10).read()
        )
        (stream,) = ElementTree.fromstring(body).iter("Stream")
        assert stream.get("url") == url
        parameters = {each.get("name", ""): each.get("value", "") for each in stream.iter("Parameter")}
        async with calling(speaking, twilio_start(call_sid=call_sid, **parameters)) as phone:
            yield process, phone


async def test_a_caller_is_greeted_and_interrupts_with_a_key() -> None:
    """The greeting is heard; a key has the telephone drop the rest of it; the reply follows, and nine hangs up."""
    async with running() as speaking, answered(speaking) as (process, phone):
        await phone.until("media")
        await phone.say("dtmf", dtmf={"track": "inbound_track", "digit": "2"})
        await phone.until("clear")
        await phone.until("media")
        await asyncio.gather(line_with(process, "heard reply 2"), phone.until_mark("streamer-2"))
        await phone.say("dtmf", dtmf={"track": "inbound_track", "digit": "9"})
        await phone.rest()
        await line_with(process, "CA7: over")
        spoken = " ".join(request.text for request in speaking.synthesizer.requests)
        assert spoken.startswith("Hello.") and "It is twelve o'clock." in spoken
        assert spoken.endswith("Goodbye.")
        assert phone.connection.close_code == 1000


@pytest.mark.parametrize("call_sid", ["CA7", "v3:a/b"])
async def test_the_key_opens_both_connections(call_sid: str, tmp_path: Path) -> None:
    """The telephone brings it as a parameter, the program as a header."""
    keys = tmp_path / "keys"
    keys.write_text("secret")
    async with (
        running(configured(server={"api_keys_file": keys})) as speaking,
        answered(speaking, "--key", "secret", call_sid=call_sid) as (process, phone),
    ):
        await phone.until("media")
        await line_with(process, f"{call_sid}: connected")
