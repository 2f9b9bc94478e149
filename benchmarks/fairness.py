"""Does one client's flood keep others waiting, and does a crowd that starts at one moment hear silence?

In `crowd` many utterances start at the same moment. In `alone` a polite client speaks a short sentence every half
second; in `beside a hog` it does so while another one, with a key of its own, starts utterances of 1,300 characters as
fast as it may; in the floods while another one sends frames that cost it nothing, or connects again and again. Each
pair runs against one server, one case after the other, while `/livez` is asked for ten times a second. The model is
simulated (`simulated_synthesizer.py`), unless `--real` is given.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.connect_floods import KINDS, process
from benchmarks.simulated_machine import MACHINES
from benchmarks.simulated_synthesizer import start
from benchmarks.speaking import LIFTED_LIMITS, running_server
from streamer.config import load_config
from streamer.loadtest.client import Recording, Target, connected, speak
from streamer.loadtest.environment import environment, write_result
from streamer.loadtest.playout import packets_of, play

SENTENCE: Final = "Your table is ready now."
CROWD_TEXT: Final = (
    "Thank you for waiting. Your table is ready, and the kitchen has kept the soup warm. "
    "I looked it up, and the shop by the river is open until eight this evening."
)
HOG_TEXT: Final = (CROWD_TEXT * 9)[:1300]
NUM_POLITE, POLITE_EVERY_S = 14, 0.5
PROBE_EVERY_S: Final = 0.1
NUM_HOG_CONNECTIONS, HOG_EVERY_S, HOG_AHEAD_S = 4, 0.1, 3.0
POLITE, HOG = "polite-key", "hog-key"
NO_MASK = b"\0\0\0\0"
FLOODS: Final[dict[str, bytes]] = {
    "flood of pings": (b"\x89\x8a" + NO_MASK + b"0123456789") * 512,
    "flood of empty pongs": (b"\x8a\x80" + NO_MASK) * 1024,
    "flood of empty messages": (b"\x82\x80" + NO_MASK) * 1024,
    "flood of empty fragments": (
        b"\x01\x80" + NO_MASK + (b"\x00\x80" + NO_MASK) * 500 + b"\x80\x80" + NO_MASK
    ),
}
"""Frames of RFC 6455 with the mask zero, sent again and again."""
Disturbance = Callable[[str], Coroutine[Any, Any, None]]


async def crowd(url: str, num_utterances: int) -> dict[str, Any]:
    """Start all at one moment; those that are refused stay away."""
    start_s = asyncio.get_running_loop().time() + 2.0
    recordings = [Recording(start_s) for _ in range(num_utterances)]
    async with asyncio.TaskGroup() as tasks:
        for number, recording in enumerate(recordings):
            tasks.create_task(speak(Target(url, api_key=POLITE), CROWD_TEXT, number, recording))
    served = [play(packets_of(recording)) for recording in recordings if recording.outcome == "served"]
    retries_s = [
        (recording.done.get("error") or {}).get("retry_after_s", 0.0)
        for recording in recordings
        if recording.outcome == "rejected"
    ]
    return {
        "case": f"crowd of {num_utterances}",
        "served": len(served),
        "asked": num_utterances,
        "silence_worst_s": max((playout.stopped_s for playout in served), default=0.0),
        "retry_after_s": [min(retries_s, default=0.0), max(retries_s, default=0.0)],
    }


async def polite(url: str, case: str) -> dict[str, Any]:
    """Speak a short sentence again and again over connections of one key."""
    now_s = asyncio.get_running_loop().time()
    recordings = [Recording(now_s + 1 + number * POLITE_EVERY_S) for number in range(NUM_POLITE)]
    async with asyncio.TaskGroup() as tasks:
        probing = tasks.create_task(_probe(url))
        speaking = [
            tasks.create_task(speak(Target(url, api_key=POLITE), SENTENCE, number, recording))
            for number, recording in enumerate(recordings)
        ]
        await asyncio.wait(speaking)
        probing.cancel()
    probes_s = probing.result()
    served = [
        (recording, play(packets_of(recording))) for recording in recordings if recording.outcome == "served"
    ]
    first_s = [playout.first_s - recording.due_s for recording, playout in served]
    return {
        "case": case,
        "served": len(served),
        "asked": NUM_POLITE,
        "first_p50_s": float(np.percentile(first_s or [0.0], 50)),
        "first_p95_s": float(np.percentile(first_s or [0.0], 95)),
        "livez_p50_s": float(np.percentile(probes_s, 50)),
        "livez_worst_s": max(probes_s),
        "silence_worst_s": max((playout.stopped_s for _, playout in served), default=0.0),
    }


async def _probe(url: str) -> list[float]:
    """Ask for `/livez` until cancelled; returns how long each answer took."""
    address, took_s = urlsplit(url), list[float]()
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            began_s = time.monotonic()
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.write(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readline()
            writer.close()
            took_s.append(time.monotonic() - began_s)
            await asyncio.sleep(PROBE_EVERY_S)
    return took_s


async def hog(url: str) -> None:
    """Start long utterances over several connections, as fast as they are taken."""
    target = Target(url, api_key=HOG)

    async def flood(first: int) -> None:
        async with connected(target) as (connection, _):
            reading = asyncio.create_task(_discard(connection))
            try:
                for number in range(first, 1_000_000, NUM_HOG_CONNECTIONS):
                    message = {"type": "speak", "id": str(number), "text": HOG_TEXT, "lead_ms": None}
                    await connection.send(json.dumps(message))
                    await asyncio.sleep(HOG_EVERY_S)
            finally:
                reading.cancel()

    async with asyncio.TaskGroup() as tasks:
        for first in range(NUM_HOG_CONNECTIONS):
            tasks.create_task(flood(first))


async def _discard(connection: Any) -> None:
    async for _ in connection:
        pass


def flood(frames: bytes) -> Disturbance:
    """Return what sends these frames without a pause, and connects again when it is cut off."""

    async def send(url: str) -> None:
        address = urlsplit(url)
        handshake = (
            f"GET {address.path} HTTP/1.1\r\nHost: {address.netloc}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
            f"Authorization: Bearer {HOG}\r\n\r\n"
        ).encode()
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(address.hostname, address.port)
                writer.write(handshake)
                reading = asyncio.create_task(reader.read(-1))
                try:
                    while not reading.done():
                        writer.write(frames)
                        await writer.drain()
                        await asyncio.sleep(0.005)
                finally:
                    reading.cancel()
                    writer.close()
            await asyncio.sleep(0.1)

    return send


@contextlib.asynccontextmanager
async def disturbed(disturbance: Disturbance, url: str) -> AsyncIterator[None]:
    task = asyncio.create_task(disturbance(url))
    await asyncio.sleep(HOG_AHEAD_S)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.sleep(HOG_AHEAD_S)


async def measure(
    crowds: list[int], disturbances: dict[str, Disturbance], machine: str | None, flags: list[str]
) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as directory:
        keys = Path(directory) / "keys"
        keys.write_text(f"{POLITE}\n{HOG}\n")
        options: dict[str, object] = {"api_keys_file": keys}
        async with server({**options, **LIFTED_LIMITS}, machine, flags) as url:
            rows += [await crowd(url, number) for number in crowds]
        async with server(options, machine, flags) as url:
            for case, disturbance in disturbances.items():
                alone = await polite(url, f"alone, before the {case}")
                async with disturbed(disturbance, url):
                    beside = await polite(url, f"beside a {case}")
                beside["ratio_p95"] = beside["first_p95_s"] / max(1e-9, alone["first_p95_s"])
                rows += [alone, beside]
    head = {"benchmark": "fairness", **environment(), "machine": machine or "the real model", "flags": flags}
    return {**head, "load_before": load_before, "rows": rows}


@contextlib.asynccontextmanager
async def server(options: dict[str, object], machine: str | None, flags: list[str]) -> AsyncIterator[str]:
    """Run a server with these options and yield its address; `machine` None: over the real model."""
    if machine is None:
        given = [
            part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))
        ]
        async with running_server(*given, *flags) as (url, _):
            yield url
        return
    pipe, port = await asyncio.to_thread(
        start, machine, load_config(environ={}, flags={"port": 0, **options})
    )
    try:
        yield f"ws://127.0.0.1:{port}/v1/stream"
    finally:
        pipe.send("stop")


def show(result: dict[str, Any]) -> None:
    table = Table(title="others on the same server")
    for name in (
        "case",
        "served",
        "first p50 ms",
        "p95",
        "of alone",
        "/livez worst ms",
        "worst silence ms",
        "told to return after s",
    ):
        table.add_column(name, justify="right")
    for row in result["rows"]:
        first = [f"{1000 * row[name]:.0f}" if name in row else "" for name in ("first_p50_s", "first_p95_s")]
        ratio = f"{row['ratio_p95']:.2f}" if "ratio_p95" in row else ""
        livez = f"{1000 * row['livez_worst_s']:.0f}" if "livez_worst_s" in row else ""
        retry = "{:.1f} to {:.1f}".format(*row["retry_after_s"]) if "retry_after_s" in row else ""
        silence = f"{1000 * row['silence_worst_s']:.0f}"
        table.add_row(row["case"], f"{row['served']} of {row['asked']}", *first, ratio, livez, silence, retry)
    Console(width=120).print(table)


def main() -> None:
    disturbances: dict[str, Disturbance] = {"hog": hog}
    disturbances |= {name: flood(frames) for name, frames in FLOODS.items()}
    disturbances |= {kind: process(kind) for kind in KINDS}
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--crowds", type=int, nargs="*", default=[64])
    parser.add_argument("--beside", nargs="*", choices=tuple(disturbances), default=tuple(disturbances))
    parser.add_argument("--machine", choices=tuple(MACHINES), default="builtin-cpu")
    parser.add_argument("--real", action="store_true", help="the real model; further flags are the server's")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    arguments, flags = parser.parse_known_args()
    chosen = {name: disturbances[name] for name in arguments.beside}
    machine = None if arguments.real else arguments.machine
    result = asyncio.run(measure(arguments.crowds, chosen, machine, flags))
    show(result)
    if arguments.output:
        write_result(arguments.output, result)


if __name__ == "__main__":
    main()
