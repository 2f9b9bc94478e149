"""The command `streamer worker`: a real engine in a process of its own, and a front end over it."""

from __future__ import annotations

import asyncio
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import numpy as np
import pytest

from streamer.backends.local import LocalSynthesizer
from streamer.config import EngineConfig
from streamer.server.service import package_version
from streamer.synthesis import Synthesizer
from tests.backends.workers.fleet import front_end, request, sound, speak, until
from tests.fakes.speaking_model import save_speaking_model

ENGINE = {"device": "cpu", "dtype": "float32", "num_threads": 1, "chunk_schedule": "latency"}
NAMES = ("A deaf dog.", "A cab.")


async def spoken(synthesizer: Synthesizer) -> list[bytes]:
    voice = synthesizer.info.default_voice
    return [sound(await speak(synthesizer, request(text, voice=voice))).tobytes() for text in NAMES]


@pytest.mark.slow
async def test_a_worker_of_its_own_speaks_as_this_process_does(tmp_path: Path) -> None:
    """It prints its address, makes the same sound byte for byte, counts the same tokens, and drains on SIGTERM."""
    model = save_speaking_model(tmp_path)
    local = LocalSynthesizer.load(model, EngineConfig(**ENGINE))
    await local.start()
    expected = await spoken(local)
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in ENGINE.items()]
    command = [
        sys.executable,
        "-m",
        "streamer",
        "worker",
        "--model",
        str(model),
        "--worker-port",
        "0",
        *flags,
    ]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 120)).decode()
    assert line.startswith("ready: front ends may use --worker ws://127.0.0.1:")
    async with front_end(line.split()[-1], version=package_version()) as front:
        await until(lambda: front.health().ready)
        assert front.info == local.info
        assert front.count_tokens(NAMES[0]) == local.count_tokens(NAMES[0])
        assert np.array_equal(await spoken(front), expected)
    await local.close()
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--worker-host", "0.0.0.0"], "can be reached from other machines: set worker_token_file"),
        (["--worker-host", "nowhere.invalid"], "worker_host 'nowhere.invalid' cannot be resolved"),
        (["--worker-token-file", "/does/not/exist"], "worker_token_file /does/not/exist: No such file"),
        (["--model", "/does/not/exist"], "/does/not/exist"),
        (["--tls-cert", "/does/not/exist"], "tls_cert is set and tls_key is not"),
        (["--device", "abacus"], "device 'abacus' is unknown"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_status_2(
    flags: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is found before the model is loaded."""
    from streamer.commands.cli import main

    with pytest.raises(SystemExit) as ended:
        main(["worker", "--worker-port", "0", *flags])
    assert ended.value.code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0]
