"""A speech server that streams: Bark speaks text as it is written, and Opus packets leave as they are made.

`synthesize` and `stream` are the same pipeline without a server; they load torch on first use, not on import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamer.inprocess import Audio, stream, synthesize
    from streamer.text.reading import Reading

__all__ = ["Audio", "Reading", "stream", "synthesize"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from streamer import inprocess

        return getattr(inprocess, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
