"""Workers of this process over fakes, and a front end over them; as a program, one worker of a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import AsyncIterator

import numpy as np

from streamer.audio.samples import Samples
from streamer.backends.workers.synthesizer import WorkersSynthesizer
from streamer.backends.workers.worker import ServedModel, Worker
from streamer.backends.workers.worker_server import Reloads, WorkerServer
from streamer.errors import EngineError
from streamer.models.config import TokenizerConfig
from streamer.sampling import SamplingParams
from streamer.server.listening import open_sockets
from streamer.synthesis import PcmChunk, SentenceRequest, Synthesizer
from streamer.text.tokens.tokenizer import TokenizerFile
from tests.fakes.synthesizer import FakeSynthesizer

VERSION = "1.2.3"
TOKENIZER = TokenizerFile(TokenizerConfig(file="vocab.txt"), b"[UNK]\nhello")
"""One token for each word or sign."""


def request(
    text: str = "Hello there, my friend.",
    *,
    index: int = 0,
    seed: int = 3,
    utterance: str = "",
    voice: str = "tone",
) -> SentenceRequest:
    return SentenceRequest(
        f"{utterance}.{index}", text, voice, SamplingParams(seed=seed), index, utterance_id=utterance
    )


async def speak(synthesizer: Synthesizer, asked: SentenceRequest) -> list[PcmChunk]:
    return [chunk async for chunk in synthesizer.synthesize(asked)]


def sound(chunks: list[PcmChunk]) -> Samples:
    return np.concatenate([chunk.samples for chunk in chunks])


def worker_server(
    synthesizer: Synthesizer,
    *,
    version: str = VERSION,
    token: str = "",
    fingerprint: str = "toy",
    host: str = "127.0.0.1",
    port: int = 0,
    drain_timeout_s: float = 5.0,
    reloads: Reloads | None = None,
    has_metrics: bool = False,
    metrics_port: int = 0,
) -> WorkerServer:
    def describe() -> ServedModel:
        info = synthesizer.info
        version_of = getattr(synthesizer, "versions", {})
        voices = {name: version_of.get(name, b"first") for name in info.voices}
        return ServedModel(info, TOKENIZER, fingerprint, voices)

    return WorkerServer(
        Worker(synthesizer, describe, version=version, token=token),
        functools.partial(open_sockets, host, port, "worker_"),
        has_token=token != "",
        drain_timeout_s=drain_timeout_s,
        reloads=reloads,
        open_metrics_sockets=functools.partial(open_sockets, host, metrics_port, "worker_metrics_")
        if has_metrics
        else None,
    )


class ChangingSynthesizer(FakeSynthesizer):
    """A fake whose voices change as if their files did: `keep` says which there are, and of which version."""

    def __init__(self, **versions: bytes) -> None:
        super().__init__(voices=tuple(versions))
        self.versions = versions
        self.is_changed = False

    def keep(self, **versions: bytes) -> None:
        self.versions, self.voices, self.is_changed = versions, tuple(versions), True

    def reload_voices(self) -> None:
        self.is_changed = False

    def refresh_voices(self) -> bool:
        was_changed, self.is_changed = self.is_changed, False
        return was_changed


class RunningWorker:
    """A worker that is served by this process."""

    def __init__(self, server: WorkerServer, synthesizer: FakeSynthesizer) -> None:
        self.server = server
        self.fake = synthesizer
        self.address = server.address
        self.port = int(server.address.rpartition(":")[2])

    @property
    def metrics_port(self) -> int:
        assert self.server.metrics_port is not None
        return self.server.metrics_port.number

    def cut(self) -> None:
        """Cut every connection, as the end of its machine would."""
        for connection in tuple(self.server._connections):
            connection.transport.abort()


@contextlib.asynccontextmanager
async def worker(fake: FakeSynthesizer | None = None, **options) -> AsyncIterator[RunningWorker]:
    """A worker that is stopped in the end, or has stopped itself; nothing may be open then."""
    fake = fake or FakeSynthesizer()
    server = worker_server(fake, **options)
    await server.start()

    async def serve() -> None:
        with contextlib.suppress(EngineError):
            await server.run_until_stopped()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(serve())
        await asyncio.sleep(0)
        try:
            yield RunningWorker(server, fake)
        finally:
            server.stop()
            server.stop()
    assert fake.num_open == 0
    assert fake.is_closed


@contextlib.asynccontextmanager
async def front_end(
    *workers: RunningWorker | str, version: str = VERSION, token: str = ""
) -> AsyncIterator[WorkersSynthesizer]:
    """A front end whose workers have all answered, or been refused."""
    addresses = [other if isinstance(other, str) else other.address for other in workers]
    front = WorkersSynthesizer(addresses, version=version, token=token)
    starting = asyncio.create_task(front.start())
    try:
        await until(lambda: all(one.status or one.problem != NOT_HEARD for one in front.workers))
        yield front
    finally:
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        await front.close()


NOT_HEARD = "nothing was heard of it yet"


async def until(condition) -> None:
    """Wait until the condition holds; fails after a time that is long on a busy machine, too."""
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def run_toy(version: str, speed: str, port: str) -> None:
    """Serve a fake until a signal; prints the address."""
    fake = FakeSynthesizer(speed=float(speed))
    server = worker_server(fake, version=version, port=int(port))
    await server.start()
    print(server.address, flush=True)
    await server.run_until_stopped()


if __name__ == "__main__":
    asyncio.run(run_toy(*sys.argv[1:]))
