"""A speech server that streams: Bark speaks text as it is written, and Opus packets leave as they are made.

`synthesize` and `stream` are the same pipeline without a server; they load torch on first use, not on import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamer.api import Audio, stream, synthesize
    from streamer.text.lexicon import Lexicon
    from streamer.text.reading import TextOptions

__all__ = ["Audio", "Lexicon", "TextOptions", "stream", "synthesize"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from streamer import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
