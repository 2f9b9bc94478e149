"""A process ends with the status of its work: none of our threads is left when the interpreter closes.

A thread that is inside of C++ at that moment makes the process abort with status 134, at times and on busy machines.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.fakes.speaking_model import save_speaking_model

NAMES_OF_THREADS_LEFT = """
import asyncio, atexit, signal, sys, threading

def tell():  # runs after every handler that is registered later
    ours = {"engine", "engine-watchdog", "streamer"}
    print("left:", *sorted(ours.intersection(thread.name for thread in threading.enumerate())))

atexit.register(tell)
import streamer
model = sys.argv[1]
text = "A deaf dog. " * 20
"""
STREAM = """
async def listen(then):
    async for chunk in streamer.stream(text, model=model):
        then()
"""
ENDINGS = {
    "a whole text": ("streamer.synthesize('A cab.', model=model)", 0),
    "an error of the caller's": ("streamer.synthesize('A cab.', model=model)\nraise RuntimeError('mine')", 1),
    "sys.exit in mid-sentence": (STREAM + "asyncio.run(listen(lambda: sys.exit(3)))", 3),
    "an exception in mid-sentence": (STREAM + "asyncio.run(listen(lambda: 1 / 0))", 1),
    "an interrupt in mid-sentence": (
        STREAM + "asyncio.run(listen(lambda: signal.raise_signal(signal.SIGINT)))",
        -signal.SIGINT,
    ),
    "a stream that is left alone": (
        "async def begin():\n    await anext(streamer.stream(text, model=model))\nasyncio.run(begin())",
        0,
    ),
    "an interrupt while another thread waits": (
        "threading.Thread(target=streamer.synthesize, args=[text * 50], kwargs={'model': model}, daemon=True).start()\n"
        "streamer.synthesize('A cab.', model=model)\nraise KeyboardInterrupt",
        -signal.SIGINT,
    ),
    "streamer say": (
        "from streamer.commands.cli import main\n"
        "main(['say', 'A cab.', '-o', model + '/sound.wav', '--model', model])",
        0,
    ),
    "streamer voices make": (
        "from streamer.commands.cli import main\n"
        "places = ['--model', model, '--voices-directory', model + '/voices']\n"
        "main(['voices', 'make', 'mine', '--text', 'A cab.', '--seed', '1', *places])",
        0,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("ending", ENDINGS)
def test_no_thread_is_left_when_the_interpreter_closes(tmp_path: Path, ending: str) -> None:
    """However a script ends: its own status, and the engine's, the watchdog's and the loop's threads are joined."""
    code, status = ENDINGS[ending]
    model = save_speaking_model(tmp_path)
    run = subprocess.run(
        [sys.executable, "-c", NAMES_OF_THREADS_LEFT + code, str(model)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == status, run.stderr
    assert run.stdout.splitlines()[-1].strip() == "left:", run.stdout


@pytest.mark.slow
def test_saying_something_ends_well_on_a_busy_machine(tmp_path: Path) -> None:
    """Six processes, three at a time: each writes its file and ends with status 0."""
    model = save_speaking_model(tmp_path)

    def say(number: int) -> tuple[int, str]:
        command = [sys.executable, "-m", "streamer", "say", "A cab.", "-o", f"{tmp_path}/{number}.wav"]
        run = subprocess.run([*command, "--model", str(model)], capture_output=True, text=True, check=False)
        return run.returncode, run.stderr

    with ThreadPoolExecutor(3) as pool:
        assert [status for status, _ in pool.map(say, range(6))] == [0] * 6
    assert len(list(tmp_path.glob("*.wav"))) == 6
