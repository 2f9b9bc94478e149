"""What is left in the process when utterances are over: nothing, whatever their number and their end."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections import Counter
from pathlib import Path

from streamer.audio.opus import OpusFrames
from streamer.backends.local import LocalSynthesizer
from streamer.config import EngineConfig
from streamer.server.app import Server
from tests.fakes.speaking_model import save_speaking_model
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import connected, eventually, figure, running, serving

CLIENTS = 4
MAX_GROWTH_BYTES = 150_000
"""Of two hundred utterances: three quarters of a kilobyte each, less than one forgotten task takes."""


async def speak_many(server: Server, number: int) -> None:
    """Some utterances run to their end, some are cancelled, some lose their client."""

    async def speak_some(first: int) -> None:
        async with connected(server) as client:
            for index in range(first, number - CLIENTS, CLIENTS):
                await client.say("speak", id="a", text="deaf bead.", lead_ms=None)
                if index % 5 == 1:
                    await client.until("started")
                    await client.say("cancel", id="a")
                await client.until("done")
                client.received.clear()
            await client.say("speak", id="unheard", text="deaf bead.", lead_ms=None)
            await client.until("started")
            client.connection.transport.abort()

    async with asyncio.TaskGroup() as tasks:
        for first in range(CLIENTS):
            tasks.create_task(speak_some(first))


async def left(server: Server) -> Counter[str]:
    """Tasks, and objects of our classes, once all is quiet."""
    await eventually(lambda: figure(server, "tts_connections") == 0)
    async with connected(server) as client:
        await asyncio.sleep(
            0.5
        )  # what was said has been heard: the engine forgets it when the next one comes
        await client.say("speak", id="last", text="deaf bead.", lead_ms=None)
        await client.until("done")
    await eventually(lambda: figure(server, "tts_connections") == 0)
    await eventually(lambda: not figure(server, "tts_slots_used") and not figure(server, "tts_listeners"))
    await asyncio.sleep(0.1)  # the last callbacks of closed sockets
    gc.collect()
    kinds = [type(item) for item in gc.get_objects()]
    counts = Counter(kind.__qualname__ for kind in kinds if str(kind.__module__).startswith("streamer."))
    return counts + Counter(tasks=len(asyncio.all_tasks()))


async def test_two_hundred_utterances_leave_no_memory_taken() -> None:
    """The server's memory is as large after them as it was before, and holds no object of theirs."""
    synthesizer = FakeSynthesizer()
    async with serving(synthesizer) as server:
        tracemalloc.start()
        try:
            await speak_many(server, 50)
            synthesizer.requests.clear()  # it keeps them for other tests
            before, num_bytes = await left(server), tracemalloc.get_traced_memory()[0]
            await speak_many(server, 200)
            synthesizer.requests.clear()
            after, later_num_bytes = await left(server), tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert after == before
        assert later_num_bytes - num_bytes < MAX_GROWTH_BYTES
        assert figure(server, "tts_requests_running") == 0


async def test_a_session_remembers_its_utterances_without_their_encoders() -> None:
    """What is kept of them for a late `cancel` is text and times, not 32 KB each."""
    others = [item for item in gc.get_objects() if type(item) is OpusFrames]  # which earlier tests have left
    async with running() as server, server.client() as client:
        for index in range(5):
            await client.say("speak", id=f"{index}", text="deaf bead.", lead_ms=None)
            await client.until("done")
        await client.pong()
        gc.collect()
        kept = [item for item in gc.get_objects() if type(item) is OpusFrames]
        assert len(kept) <= len(others)


async def test_the_engine_keeps_no_slot_listener_or_outlet(tmp_path: Path) -> None:
    """With a real engine, too, nothing is left of utterances that ended, were cancelled, or lost their client."""
    config = EngineConfig(
        device="cpu", dtype="float32", num_slots=CLIENTS, max_load=None, chunk_schedule="latency"
    )
    async with serving(LocalSynthesizer.load(save_speaking_model(tmp_path), config)) as server:
        await speak_many(server, 12)
        before = await left(server)
        await speak_many(server, 24)
        assert await left(server) == before
        assert figure(server, "tts_sentences_waiting") == 0
