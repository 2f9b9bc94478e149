"""Ten turns of a conversation, three of them interrupted, and what must hold for them with every client.

A driver speaks the turns one after the other, each as soon as the one before is over. It leaves the sound that its
client received of turn N in `FOLDER/N.FORMAT`, and reports for each turn `stopped_at`: when it was interrupted (the
machine's clock, `time.time()`), or null.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from streamer.synthesis import PcmChunk, SentenceRequest
from tests.clients.driving import until_idle
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import Running

SPEED = 5.0
"""How much faster than real time the model speaks: a turn that is interrupted has not been made to its end by then."""
STOP_AFTER_S = 0.3
"""How much of a turn is heard before it is interrupted, in seconds of sound."""
FRAME_S = 0.02
PRIMING_S = {"mp3": 1105 / 24_000, "aac": 1024 / 24_000}
"""The silence with which an encoder begins, in seconds; files without a length cannot tell players to skip it."""
AUDIBLE = 0.1


@dataclass(frozen=True)
class Turn:
    """What is said, and whether it is interrupted. No word belongs to two turns."""

    text: str
    is_interrupted: bool = False

    @property
    def words(self) -> list[str]:
        return words_of(self.text)


TURNS = (
    Turn("Good morning!"),
    Turn("Your train leaves at nine. Please wait near platform four."),
    Turn(
        "Once upon time there was an old lighthouse keeper who counted every single wave that came ashore, all night "
        "long, while his neighbours slept and dreamt about mountains, forests, rivers, valleys, meadows and deserts.",
        is_interrupted=True,
    ),
    Turn("Sorry, go ahead."),
    Turn("Tomorrow looks sunny, with some clouds after noon. Expect light wind, mostly western."),
    Turn(
        "Here are seven recipes: lentil soup, roasted pumpkin, tomato salad, garlic bread, apple cake, lemon sorbet. "
        "To begin, chop two onions, fry them slowly, add broth, stir gently, season well, serve hot.",
        is_interrupted=True,
    ),
    Turn("Okay, stopping. What else?"),
    Turn(
        "History books describe ancient sailors, brave explorers, clever merchants, patient scribes, proud queens, "
        "humble farmers, skilled potters, wandering poets, silent monks, restless inventors, stubborn kings.",
        is_interrupted=True,
    ),
    Turn("Understood; shorter answers now."),
    Turn("Goodbye, then. See you next week."),
)


@dataclass
class Spoken:
    """A sentence that the model was asked for, and when it let go of it (`time.time()`)."""

    request: SentenceRequest
    ended_at: float | None = None


class WatchedSynthesizer(FakeSynthesizer):
    """Remembers when each sentence was let go of."""

    def __init__(self, **options: Any) -> None:
        super().__init__(speed=SPEED, **options)
        self.spoken: list[Spoken] = []

    async def synthesize(self, request: SentenceRequest) -> AsyncGenerator[PcmChunk, None]:
        spoken = Spoken(request)
        self.spoken.append(spoken)
        try:
            async for chunk in super().synthesize(request):
                yield chunk
        finally:
            spoken.ended_at = time.time()


@dataclass
class Heard:
    """What the model was asked for one turn: the texts of its utterances, in their order."""

    utterances: dict[str, str] = field(default_factory=dict)
    ended_at: float = 0.0

    def add(self, spoken: Spoken) -> None:
        key = spoken.request.utterance_id
        self.utterances[key] = f"{self.utterances.get(key, '')} {spoken.request.text}".strip()
        assert spoken.ended_at is not None, f"{spoken.request.text!r} has a slot still"
        self.ended_at = max(self.ended_at, spoken.ended_at)

    @property
    def words(self) -> list[str]:
        return words_of(" ".join(self.utterances.values()))


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def orders(**more: Any) -> dict[str, Any]:
    """Return what a driver is told."""
    turns = [{"text": turn.text, "is_interrupted": turn.is_interrupted} for turn in TURNS]
    return {"turns": turns, "stop_after_s": STOP_AFTER_S, **more}


async def check_turns(
    running: Running,
    report: dict[str, Any],
    folder: Path,
    formats: Sequence[str] = ("pcm",),
    sent_as: str | None = None,
    key: str | None = None,
) -> None:
    """Check what a client heard; `formats` are those of the files, repeated, and `sent_as` that of the server.

    Nothing stays behind; no turn is silent; each is as long as the native protocol makes its texts; the words come in
    their order, and all of them; and what was interrupted has let go of the model within a second.
    """
    await until_idle(running)
    synthesizer = running.synthesizer
    assert isinstance(synthesizer, WatchedSynthesizer)
    heard = [Heard() for _ in TURNS]
    for spoken in list(synthesizer.spoken):
        heard[_turn_of(spoken)].add(spoken)
    for number, (turn, made) in enumerate(zip(TURNS, heard, strict=True)):
        told = report["turns"][number]
        sound_format = formats[number % len(formats)]
        sound = read_sound(folder / f"{number}.{sound_format}")
        assert np.abs(sound).max(initial=0.0) > AUDIBLE, f"turn {number} is silent"
        if turn.is_interrupted:
            assert made.words and made.words == turn.words[: len(made.words)]
            assert made.ended_at - told["stopped_at"] < 1, f"turn {number} holds its slot"
            assert len(sound) / 24_000 >= STOP_AFTER_S - 2 * FRAME_S
            continue
        assert told["stopped_at"] is None
        assert made.words == turn.words, f"turn {number}"
        expected_s = sum([await _native_s(running, text, key) for text in made.utterances.values()])
        longer_s = len(sound) / 24_000 - expected_s - PRIMING_S.get(sent_as or sound_format, 0.0)
        assert abs(longer_s) <= 2 * FRAME_S, f"turn {number} is {longer_s:.3f} s longer"


def _turn_of(spoken: Spoken) -> int:
    """Return the number of the turn in which a sentence's words stand."""
    words = set(words_of(spoken.request.text))
    (number,) = (number for number, turn in enumerate(TURNS) if words <= set(turn.words))
    return number


async def _native_s(running: Running, text: str, key: str | None) -> float:
    """Return how long the sound of a text is by the native protocol."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with running.client(additional_headers=headers) as client:
        await client.say("speak", id="a", text=text, lead_ms=None)
        done = await client.until("done")
    return float(done["audio_ms"]) / 1000


def read_sound(path: Path) -> npt.NDArray[np.float64]:
    """Return the sound of a file at 24 kHz as ffmpeg decodes it, up to where it is cut; `.pcm` is 16 bits."""
    if path.suffix == ".pcm":
        data = path.read_bytes()
        assert len(data) % 2 == 0, f"{path.name} has half a sample"
        return np.frombuffer(data, "<i2") / 32_768
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=24_000)
        frames = []
        with contextlib.suppress(av.error.InvalidDataError):
            for frame in container.decode(audio=0):
                frames += resampler.resample(frame)
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames]).astype(np.float64)
