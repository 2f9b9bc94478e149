"""A synthesizer whose model is still to be read, so that a server answers probes meanwhile; `assembly` makes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Protocol, runtime_checkable

from streamer.errors import OverloadedError
from streamer.synthesis import Health, ModelInfo, PcmChunk, SentenceRequest, Synthesizer


@runtime_checkable
class HasVoices(Protocol):
    """A synthesizer whose voices are files, which it can read again; it is called on a thread of its own."""

    def reload_voices(self) -> None:
        """Read again what has changed or could not be read."""
        ...

    def refresh_voices(self) -> bool:
        """Read again what has changed, and return whether anything has. Raises `OSError`."""
        ...


class LoadingSynthesizer:
    """Implements `streamer.synthesis.Synthesizer`: `start` calls `load` in a thread, and starts what it returns."""

    def __init__(self, load: Callable[[], Synthesizer]) -> None:
        self._load = load
        self._loaded: Synthesizer | None = None

    @property
    def info(self) -> ModelInfo:
        return self._synthesizer.info

    def count_tokens(self, text: str) -> int:
        return self._synthesizer.count_tokens(text)

    def synthesize(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]:
        """Pass the request on. Raises `OverloadedError` while the model is being read."""
        return self._synthesizer.synthesize(request)

    def health(self) -> Health:
        """Alive, and not ready, while the model is being read."""
        if self._loaded is None:
            return Health(alive=True, ready=False, reason="the model is being read", is_loaded=False)
        return self._loaded.health()

    async def start(self) -> None:
        """Read the model and warm it up; raises what both raise."""
        self._loaded = await asyncio.to_thread(self._load)
        await self._loaded.start()

    async def close(self) -> None:
        if self._loaded is not None:
            await self._loaded.close()

    def reload_voices(self) -> None:
        """Have the voices read again by a synthesizer that can."""
        if isinstance(self._loaded, HasVoices):
            self._loaded.reload_voices()

    def refresh_voices(self) -> bool:
        """Have the voices read again if they have changed, by a synthesizer that can. Raises `OSError`."""
        return isinstance(self._loaded, HasVoices) and self._loaded.refresh_voices()

    @property
    def _synthesizer(self) -> Synthesizer:
        if self._loaded is None:
            raise OverloadedError("the model is loading", retry_after_s=1.0)
        return self._loaded
