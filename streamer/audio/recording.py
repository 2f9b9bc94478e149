"""Speech as a whole, in memory: what `streamer.synthesize` returns, and the files that it can become."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from streamer.audio.containers import wav_file
from streamer.audio.formats import AudioFormat
from streamer.audio.packets import create_encoder
from streamer.audio.samples import Samples
from streamer.errors import InvalidParameterError
from streamer.whole_files import write_whole

FileFormat = Literal["ogg", "wav"]
_FORMATS: Final[dict[str, FileFormat]] = {".wav": "wav", ".ogg": "ogg", ".opus": "ogg"}


@dataclass(frozen=True, slots=True)
class Audio:
    """Sound in memory. The same `seed` makes the same sound again. `truncated`: not all of the text was spoken."""

    samples: Samples
    sample_rate_hz: int
    seed: int
    truncated: bool = False

    @property
    def duration_s(self) -> float:
        return len(self.samples) / self.sample_rate_hz

    def encoded(self, file_format: FileFormat) -> bytes:
        """Return the bytes of a file: WAV with 16 bits, or Opus in Ogg."""
        if file_format == "wav":
            return wav_file(self.samples, self.sample_rate_hz)
        encoder = create_encoder(AudioFormat("ogg_opus", self.sample_rate_hz))
        packets = [*encoder.encode(self.samples), *encoder.finish()]
        return b"".join(packet.payload for packet in packets)

    def save(self, path: str | Path) -> None:
        """Write a `.wav`, or an `.ogg` or `.opus` file, as a whole or, if `OSError` is raised, not at all.

        Raises `InvalidParameterError` for other names.
        """
        path = Path(path)
        if path.suffix not in _FORMATS:
            raise InvalidParameterError(f"{path.name!r}: the name must end in .wav, .ogg or .opus")
        write_whole(path, self.encoded(_FORMATS[path.suffix]))

    def _repr_html_(self) -> str:
        """A player, for notebooks."""
        encoded = base64.b64encode(self.encoded("wav")).decode()
        return f'<audio controls src="data:audio/wav;base64,{encoded}"></audio>'
