"""A real engine over a tiny model, in whose stages a test has something happen."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from streamer.backends import local
from streamer.backends.local import LocalSynthesizer
from streamer.backends.warm_up import Speed
from streamer.config import Config, EngineConfig
from streamer.engine.device.cpu_stream import CpuStream, PendingCall
from streamer.errors import EngineError
from streamer.stages.sentence import SentenceWork
from tests.fakes.synthesizer import FakeSynthesizer
from tests.faults.conversations import for_all
from tests.server.speaking import Running, serving

Works = Sequence[SentenceWork]


class FaultyStage:
    """A stage before each of whose steps `strike` is called with the batch; otherwise as it is."""

    def __init__(self, stage: Any) -> None:
        self._stage = stage
        self.strike: Callable[[Works], object] = lambda _works: None

    @property
    def model(self) -> Any:
        """The network that the stage steps."""
        return self._stage._model

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)

    def step(self, batch: Works) -> Any:
        if not self._stage.runs_beside:
            self.strike(batch)
            return self._stage.step(batch)
        stream = self._stage._stream
        self._stage._stream = _StruckStream(stream, lambda: self.strike(batch))
        try:
            return self._stage.step(batch)
        finally:
            self._stage._stream = stream


class _StruckStream:
    """A stream on whose own thread something happens before each call."""

    def __init__(self, stream: CpuStream, strike: Callable[[], object]) -> None:
        self._stream = stream
        self._strike = strike

    def launch(self, call: Callable[[], Tensor], commit: Callable[[Tensor], None]) -> PendingCall:
        def struck() -> Tensor:
            self._strike()
            return call()

        return self._stream.launch(struck, commit)


class Engines:
    """Runs servers over a model on disk. They do not warm up, which would take longer than a test.

    If `has_two_threads`, the fine and the codec stage run beside the others.
    """

    def __init__(
        self, model_directory: Path, monkeypatch: pytest.MonkeyPatch, *, has_two_threads: bool = False
    ) -> None:
        self._model_directory = model_directory
        self._monkeypatch = monkeypatch
        self.stages: dict[str, FaultyStage] = {}

        def build(*arguments: Any, **options: Any) -> tuple[FaultyStage, ...]:
            stages = tuple(FaultyStage(stage) for stage in build_stages(*arguments, **options))
            self.stages = {stage.name: stage for stage in stages}
            return stages

        async def no_warm_up(*_arguments: Any, **_options: Any) -> Speed:
            return Speed(0.1, 0.1)

        build_stages = local.build_stages
        monkeypatch.setattr(local, "build_stages", build)
        monkeypatch.setattr(local, "warm_up", no_warm_up)
        monkeypatch.setattr(local, "stream_beside", lambda *_: CpuStream() if has_two_threads else None)

    @contextlib.asynccontextmanager
    async def running(
        self, config: Config | None = None, *, may_log_failures: bool = False, **options: Any
    ) -> AsyncIterator[Running]:
        """A server; `options` are those of `EngineConfig`."""
        options = {"num_slots": 4, "num_threads": 1, "max_load": None} | options
        engine = EngineConfig(device="cpu", dtype="float32", chunk_schedule="latency", **options)
        synthesizer = LocalSynthesizer.load(self._model_directory, engine)
        failures: list[EngineError] = []
        config = config or for_all(speech={"lead_ms": None})
        async with serving(synthesizer, config, failures, may_log_failures=may_log_failures) as server:
            yield Running(server, FakeSynthesizer(), failures)
