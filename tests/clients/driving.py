"""Runs a client in a process and an environment of its own, against a server of this process.

A driver is a script `drive_NAME.py` beside this module, or `drive_NAME.mjs` for Node, which imports the client and
nothing of ours. It is given one JSON object as its argument, and prints another one as its last line. The server keeps
running meanwhile.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from streamer.server.app import Server
from tests.clients.venvs import NODE, folder_of, python_of
from tests.server.speaking import Running, figure

HERE = Path(__file__).parent
TIMEOUT_S = 120.0
"""How long a client may take for everything it is told, on a busy machine."""


async def drive(driver: str, environment: str, server: Server, **orders: Any) -> dict[str, Any]:
    """Have a client do what its driver makes of the orders; `port` is one of them. Returns what the driver reports."""
    arguments = json.dumps({"port": server.port, **orders})
    if environment == NODE:  # a module on standard input imports the packages of the working directory
        script = (HERE / f"drive_{driver}.mjs").read_bytes()
        command, folder = ("node", "--input-type=module", "-"), folder_of(NODE)
    else:
        script, command = b"", (python_of(environment), HERE / f"drive_{driver}.py")
        folder = Path("/")  # where no module of ours is found by accident
    process = await asyncio.create_subprocess_exec(
        *command,
        arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=folder,
    )
    try:
        async with asyncio.timeout(TIMEOUT_S):
            out, err = await process.communicate(script)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, f"{driver} failed:\n{err.decode()[-4000:]}"
    report: dict[str, Any] = json.loads(out.decode().strip().rsplit("\n", 1)[-1])
    return report


async def until_idle(running: Running) -> None:
    """Return when the server holds nothing of a client any more; fails if that takes longer than a second."""
    async with asyncio.timeout(1):
        while running.synthesizer.num_open or figure(running.server, "tts_requests_running"):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
