"""What a worker's answers to a sentence mean: its sound, or the error that a `remote_worker` raises."""

from __future__ import annotations

from typing import Final

from streamer.backends.workers.messages import Chunk, Failed, FromWorker, chunk_of
from streamer.errors import (
    EngineError,
    InternalError,
    InvalidMessageError,
    InvalidParameterError,
    ModelNumericError,
    StreamerError,
    TextTooLongError,
    VoiceNotFoundError,
    WorkerLostError,
)
from streamer.synthesis import PcmChunk

_ERRORS: Final = {
    kind.code: kind
    for kind in (
        InvalidParameterError,
        ModelNumericError,
        TextTooLongError,
        VoiceNotFoundError,
    )
}
"""What is wrong with a sentence whichever worker makes it, by the code of the error."""


def chunk_in(message: FromWorker) -> tuple[PcmChunk, bool]:
    """Return the chunk of a message, and whether it is the last. Raises `WorkerLostError` for any other message."""
    if not isinstance(message, Chunk):
        raise WorkerLostError("it sent what is no sound")
    try:
        return chunk_of(message), message.is_last
    except InvalidMessageError as error:
        raise WorkerLostError(error.message) from None


def error_in(failed: Failed) -> StreamerError:
    """Return the error that a failure stands for; `WorkerLostError` if another worker may do better."""
    if failed.code == EngineError.code:
        return WorkerLostError(failed.message)
    kind = _ERRORS.get(failed.code, InternalError)
    return kind(failed.message, param=failed.param, retry_after_s=failed.retry_after_s)
