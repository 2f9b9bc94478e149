# /// script
# requires-python = ">=3.11"
# dependencies = ["websockets", "faster-whisper", "openai"]
# ///
"""A voice assistant in a terminal: what you type or say is answered aloud, and asking again interrupts the answer.

python assistant.py                                                 typed questions; answers into assistant.wav
python assistant.py --microphone "arecord -q -t raw -f S16_LE -r 16000 -c 1" \\
                    --player "aplay -q -t raw -f S16_LE -r 24000 -c 1"     everything aloud
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from language_model import History, from_model, from_rules
from speech_to_text import Question, spoken, typed, understand
from voice import QUERY, Player, Recording, Voice
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

INSTRUCTIONS = "You answer aloud: briefly, in plain sentences."


class Assistant:
    """Answers one question at a time, and remembers of its answers what was heard."""

    def __init__(self, voice: Voice, reply: Callable[[History], AsyncIterator[str]], whisper: str) -> None:
        self._voice = voice
        self._reply = reply
        self._whisper = whisper
        self._history: History = [{"role": "system", "content": INSTRUCTIONS}]
        self._answering: asyncio.Task[None] | None = None

    async def converse(self, questions: AsyncIterator[Question]) -> None:
        async with asyncio.TaskGroup() as tasks:
            listening = tasks.create_task(self._voice.listen())
            async for question in questions:
                await self._interrupt()  # before the question is known: nobody talks on while being spoken to
                if question is not None:
                    self._answering = tasks.create_task(self._answer(question))
            if self._answering is not None:
                await self._answering
            listening.cancel()

    async def _interrupt(self) -> None:
        if self._answering is not None:
            self._answering.cancel()
        heard = await self._voice.hush()
        if heard is not None:
            print(f"\n(interrupted after: {heard})", flush=True)
            self._remember("assistant", f"{heard} … (interrupted)")

    async def _answer(self, question: str | bytes) -> None:
        """Answer one question; an error ends this answer only."""
        said = ""
        utterance: str | None = None
        try:
            asked = await understand(question, self._whisper)
            if not asked:
                return
            self._remember("user", asked)
            utterance = await self._voice.begin()
            async for piece in self._reply(self._history):
                said += piece
                print(piece, end="", flush=True)
                await self._voice.say("text", id=utterance, text=piece)
            print(flush=True)
        except (OSError, RuntimeError, LookupError, ValueError) as error:
            print(f"(no answer: {error})", file=sys.stderr, flush=True)
        if utterance is not None:
            await self._voice.say("end", id=utterance)
            await self._voice.silent.wait()
            self._remember("assistant", said)

    def _remember(self, role: str, content: str) -> None:
        self._history.append({"role": role, "content": content})


async def run(arguments: argparse.Namespace, sink: Recording | Player) -> None:
    def reply(history: History) -> AsyncIterator[str]:
        if arguments.llm_url:
            return from_model(history, arguments.llm_url, arguments.llm_model)
        return from_rules(history)

    questions = spoken(arguments.microphone) if arguments.microphone else typed()
    async with connect(arguments.url + QUERY) as server:
        await Assistant(Voice(server, sink), reply, arguments.whisper).converse(questions)


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("--url", default="ws://localhost:8765/v1/stream")
    parser.add_argument(
        "--microphone", help="command that writes raw 16-bit samples (16 kHz, mono); none: keyboard"
    )
    parser.add_argument("--player", help="command that plays raw 16-bit samples (24 kHz, mono); none: --out")
    parser.add_argument("--out", type=Path, default=Path("assistant.wav"), help="where answers are recorded")
    parser.add_argument("--llm-url", help="an OpenAI-compatible server, up to /v1; key: OPENAI_API_KEY")
    parser.add_argument("--llm-model", default="default", help="the model's name there")
    parser.add_argument("--whisper", default="base.en", help="faster-whisper's model: a name, or a folder")
    arguments = parser.parse_args()
    sink = Player(arguments.player) if arguments.player else Recording(arguments.out)
    try:
        asyncio.run(run(arguments, sink))
    except (OSError, RuntimeError, WebSocketException, ExceptionGroup) as error:
        cause = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
        sys.exit(f"assistant: {cause}")
    finally:
        sink.close()


if __name__ == "__main__":
    main()
