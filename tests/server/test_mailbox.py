"""Sessions may tell each other things, in bounds, and nothing waits for a session that is over."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from streamer.server.client_protocol import Action, Collect, Deliver, Send
from streamer.server.mailbox import MAX_MESSAGES, Mailbox
from streamer.server.wire import Frame
from tests.server.fake_connection import session
from tests.server.toy_protocol import ToyProtocol


async def test_messages_come_in_order_and_wait_for_room() -> None:
    mailbox: Mailbox[int] = Mailbox()

    async def put_all() -> None:
        for number in range(3 * MAX_MESSAGES):
            await mailbox.put(number)

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        putting = tasks.create_task(put_all())
        await asyncio.sleep(0.01)
        assert not putting.done()
        assert [await mailbox.get() for _ in range(3 * MAX_MESSAGES)] == list(range(3 * MAX_MESSAGES))


async def test_a_closed_mailbox_keeps_no_sender_waiting() -> None:
    """What waits for room is let go, and what comes later is dropped."""
    mailbox: Mailbox[str] = Mailbox()
    for _ in range(MAX_MESSAGES):
        await mailbox.put("")
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        tasks.create_task(mailbox.put("waits"))
        await asyncio.sleep(0)
        mailbox.close()
        await mailbox.put("late")


async def test_one_session_tells_another() -> None:
    """What is delivered is told to the protocol that collects it, whose actions are carried out; its end is noticed."""
    mailbox: Mailbox[str] = Mailbox()
    ends = []

    class Hearing(ToyProtocol):
        def greeting(self, session_id: str) -> Sequence[Action]:  # noqa: ARG002
            return [Collect(mailbox, lambda message: [Send(f"told {message}")], lambda: ends.append("over"))]

    class Telling(ToyProtocol):
        def receive(self, frame: Frame) -> Sequence[Action]:
            return [Deliver(mailbox, frame), Send("delivered")]

    async with session(Telling) as (_, telling, _):
        async with session(Hearing) as (_, hearing, _):
            telling.say("one")
            telling.say("two")
            await hearing.until_sent("told two")
            assert hearing.sent == ["told one", "told two"]
            assert not ends
        assert ends == ["over"]
        for number in range(2 * MAX_MESSAGES):
            telling.say(str(number))
        telling.say("after")
        async with asyncio.timeout(30):
            while telling.sent.count("delivered") < 2 * MAX_MESSAGES + 3:  # noqa: ASYNC110
                await asyncio.sleep(0)
