"""The record of each utterance: one line in the log when it is over, and what the metrics count of it."""

from __future__ import annotations

import logging
import time
from typing import Final, Literal

from streamer.errors import StreamerError
from streamer.telemetry.metrics import Exemplar, Metrics

logger = logging.getLogger(__name__)
EndReason = Literal["completed", "truncated", "cancelled", "failed", "client_gone"]
"""Why an utterance is over: what its client is told, or that the client has left before."""
OUTCOMES_OF: Final[dict[EndReason, str]] = {
    "completed": "ok",
    "truncated": "truncated",
    "cancelled": "cancelled",
    "failed": "error",
    "client_gone": "client_gone",
}
"""The label of the metrics for each of them."""


class UtteranceRecord:
    """What an operator learns of one utterance, from its admission to `close`, which is called once.

    `owner` is a name of the operator's choice, `protocol` the folder of its adapter. `ids` are those that the utterance
    has in other lines of the log.
    """

    def __init__(
        self, metrics: Metrics, ids: dict[str, str], *, owner: str, protocol: str, model: str, voice: str
    ) -> None:
        self.ids = ids
        self.first_audio_ms: int | None = None
        """From the first text to the first packet; None before that."""
        self.exemplar: Exemplar | None = None
        """What leads from a figure to the utterance."""
        self._metrics = metrics
        self._owner = owner
        self._about = {"owner": owner, "protocol": protocol, "model": model, "voice": voice}
        self._began_s = time.monotonic()

    def note_first_audio(self, first_text_s: float | None = None) -> None:
        """The first packet was sent. `first_text_s`: when the text began to come; None: when the record began."""
        if self.first_audio_ms is None:
            first_audio_s = time.monotonic() - (self._began_s if first_text_s is None else first_text_s)
            self.first_audio_ms = round(first_audio_s * 1000)
            self._metrics.first_audio.observe(first_audio_s, self.exemplar)

    def note_generation(self, generation_s: float, audio_ms: int) -> float | None:
        """The sound was made in this time; returns the real-time factor, None for no sound."""
        if not audio_ms:
            return None
        factor = generation_s * 1000 / audio_ms
        self._metrics.real_time_factor.observe(factor, self.exemplar)
        return round(factor, 3)

    def close(
        self,
        reason: EndReason,
        *,
        audio_ms: int,
        num_chars: int,
        num_begun_chars: int,
        error: StreamerError | None = None,
    ) -> None:
        """Log and count the utterance.

        `num_chars`: of the text that was received; `num_begun_chars`: up to the end of the last sentence that was
        begun, which is what counts as spoken.
        """
        self._metrics.utterance_ended(
            OUTCOMES_OF[reason],
            self.exemplar,
            audio_ms=audio_ms,
            num_chars=num_begun_chars,
            owner=self._owner,
        )
        fields: dict[str, object] = {
            **self.ids,
            **self._about,
            "chars": num_chars,
            "begun_chars": num_begun_chars,
            "audio_s": audio_ms / 1000,
            "first_audio_ms": self.first_audio_ms,
            "reason": reason,
            "duration_s": round(time.monotonic() - self._began_s, 3),
        }
        if error is not None:
            fields |= {"code": error.code, "error": error.message}
        logger.log(logging.WARNING if reason == "failed" else logging.INFO, "utterance", extra=fields)
