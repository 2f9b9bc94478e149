"""The exception tree: each failure that a client can see has a stable code, and says whether to retry."""

from __future__ import annotations

from typing import ClassVar


class StreamerError(Exception):
    """The base of all errors raised on purpose. The message names the value and the remedy."""

    code: ClassVar[str] = "internal_error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class ConfigError(StreamerError):
    """The operator's settings are wrong; the process exits with status 2."""

    code = "config_invalid"


class CheckpointError(StreamerError):
    """A model's files are missing, broken, of another shape, or unsafe to read."""

    code = "checkpoint_invalid"


class StoreError(StreamerError):
    """A model or voice cannot be found, fetched or installed."""

    code = "store_failed"


class InvalidMessageError(StreamerError):
    """A client's message is not JSON, not of the protocol's shape, or not allowed now."""

    code = "invalid_message"


class InvalidParameterError(StreamerError):
    """A field of a message has a wrong type or is out of its range; `param` names it."""

    code = "invalid_parameter"


class VoiceNotFoundError(StreamerError):
    """No installed voice has this name."""

    code = "voice_not_found"


class TextTooLongError(StreamerError):
    """A text exceeds one of the announced limits."""

    code = "text_too_long"


class UtteranceError(StreamerError):
    """A message names an utterance that does not exist, exists already, or takes no more text."""

    code = "utterance_state"


class RateLimitedError(StreamerError):
    """A client asks for too much at once; `retry_after_s` says when to retry."""

    code = "rate_limited"
    retryable = True


class OverloadedError(StreamerError):
    """The server is at capacity; `retry_after_s` says when to retry."""

    code = "overloaded"
    retryable = True


class AuthenticationError(StreamerError):
    """The client gave no key, or one that is not valid here."""

    code = "unauthorized"


class ScopeError(AuthenticationError):
    """The client's key is valid, but not for what it asks."""


class EngineError(StreamerError):
    """The engine failed while it generated this sentence."""

    code = "engine_failed"
    retryable = True


class WorkerLostError(EngineError):
    """The worker that made a sentence is gone before the sentence's end; another one makes the same sound of it."""


class ModelNumericError(EngineError):
    """The model produced a value that is not a number for this sentence; its neighbours are unharmed."""

    code = "model_numeric"


class AudioEncodeError(StreamerError):
    """A packet could not be encoded."""

    code = "audio_encode_failed"


class UnknownMessageTypeError(InvalidMessageError):
    """A client's message has a `type` that this protocol does not know."""

    code = "unknown_type"


class IdleTimeoutError(StreamerError):
    """The client was silent for too long, in its session or in an utterance that it has not ended."""

    code = "idle_timeout"
    retryable = True


class InternalError(StreamerError):
    """Something failed that should not have; the log says what."""

    code = "internal_error"
    retryable = True
