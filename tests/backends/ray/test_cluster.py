"""Two nodes of Ray on this machine, a toy engine on each: deployed, killed in mid-load, scaled by load, and drained."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

# It also keeps the warnings of the import to itself.
pytest.importorskip("ray.serve", reason="ray is not installed: pip install 'bark-streamer[ray]'")

import ray
from ray import serve
from ray.cluster_utils import Cluster

from streamer.backends.ray.application import create_application
from streamer.backends.ray.listings import worker_listings
from streamer.backends.workers.synthesizer import WorkersSynthesizer
from streamer.server.app import Server
from tests.backends.ray.toy import NUM_PLACES, TOKEN, open_toy, read_toy_token
from tests.backends.workers.fleet import VERSION, request, sound, speak
from tests.backends.workers.telling import sounds, told
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured, connected, eventually, serving

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    # Ray leaves sockets open, and uses what it deprecates.
    pytest.mark.filterwarnings("default"),
]
ROOT = Path(__file__).parents[3]
APPLICATION = f"toys-{os.getpid()}"
TEXT = "This is the first sentence of all. Here comes the second one, too. And there is a third at the end."
ENVIRONMENT = {
    "PYTHONPATH": str(ROOT),
    "RAY_AUTH_MODE": "disabled",  # this process, which has imported Ray already, would not know a token
    "RAY_USAGE_STATS_ENABLED": "0",
}
AUTOSCALING = {
    "min_replicas": 1,
    "max_replicas": 3,
    "upscale_delay_s": 0.5,
    "downscale_delay_s": 1.0,
    "look_back_period_s": 2.0,
    "metrics_interval_s": 0.5,  # which is deprecated, but the variable that replaces it is read nowhere
    "policy": {"policy_function": "streamer.backends.ray.autoscaling:replicas_for_listeners"},
}


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The address of Ray Serve on a cluster of two nodes."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in ENVIRONMENT.items():
            environment.setenv(name, value)
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        try:
            cluster.add_node(num_cpus=2)
            ray.init(address=cluster.address, log_to_driver=False)
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": port})
            yield f"http://127.0.0.1:{port}"
        finally:
            serve.shutdown()
            ray.shutdown()
            cluster.shutdown()


async def deploy(**options: Any) -> None:
    """Deploy the application, or change it, and wait until it runs."""
    options = {"graceful_shutdown_wait_loop_s": 0.2, "ray_actor_options": {"num_cpus": 1}} | options
    application = create_application(open_toy, read_toy_token, drain_timeout_s=20.0, **options)
    await asyncio.to_thread(serve.run, application, name=APPLICATION, route_prefix="/")


@contextlib.asynccontextmanager
async def front_end(address: str, num_workers: int) -> AsyncIterator[tuple[Server, WorkersSynthesizer]]:
    """A whole server that has found this many workers."""
    listings = worker_listings(address, TOKEN, interval_s=0.2)
    front = WorkersSynthesizer(version=VERSION, token=TOKEN, listings=listings)
    limits = {"max_utterances_per_key": 64, "max_utterances_per_session": 64, "max_start_wait_s": 30.0}
    async with serving(front, configured(**limits)) as server:
        await eventually(lambda: num_ready(front) == num_workers)
        yield server, front


def num_ready(front: WorkersSynthesizer) -> int:
    counts = front.health().workers
    assert counts is not None
    return counts.num_ready


def num_listeners(front: WorkersSynthesizer) -> int:
    return sum(
        worker.status.room.num_listeners for worker in front.workers if worker.status and worker.status.room
    )


def replica_processes() -> list[int]:
    """The processes of this application's replicas, which Ray names."""
    name = f"ray::ServeReplica:{APPLICATION}:Engine".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (folder / "cmdline").read_bytes().startswith(name):
                found.append(int(folder.name))
    return found


async def test_replicas_on_two_nodes_speak_and_cancel(address: str) -> None:
    """A sentence sounds as it does in this process, whichever replica makes it, and a cancel reaches the engine."""
    await deploy(num_replicas=2, max_replicas_per_node=1)
    async with front_end(address, 2) as (_, front):
        expected = await speak(FakeSynthesizer(), request())
        for _ in range(4):
            assert sound(await speak(front, request())).tobytes() == sound(expected).tobytes()
        assert all(worker.num_chosen for worker in front.workers)
        speaking = front.synthesize(request(TEXT))
        await anext(speaking)
        await eventually(lambda: num_listeners(front) == 1)
        await speaking.aclose()
        await eventually(lambda: num_listeners(front) == 0)


async def test_a_replica_that_is_killed_costs_only_what_was_being_heard(address: str) -> None:
    """Of eight utterances each ends once: `failed` if a sentence sounded just then, and else `completed` with the very
    sound of a server that nothing happened to. Ray Serve replaces the replica, and the front end finds the new one."""
    await deploy(num_replicas=2, max_replicas_per_node=1)
    names = [f"u{number}" for number in range(2 * NUM_PLACES)]
    expected: dict[str, bytes] = {}
    async with front_end(address, 2) as (server, front):
        before = {worker.address for worker in front.workers}
        for is_killing in (False, True):
            async with connected(server) as client:
                for number, name in enumerate(names):
                    settings = {"encoding": "pcm_s16le", "lead_ms": None, "params": {"seed": number}}
                    await client.say("speak", id=name, text=TEXT, **settings)
                if is_killing:
                    while not client.frames():
                        await client.next()
                    os.kill(replica_processes()[0], signal.SIGKILL)
                done = await told(client, len(names))
                found = sounds(client)
            if not is_killing:
                assert {one["reason"] for one in done.values()} == {"completed"}
                expected = found
        reasons = [done[name]["reason"] for name in names]
        assert set(reasons) <= {"completed", "failed"} and "completed" in reasons
        for name in names:
            if done[name]["reason"] == "completed":
                assert found[name] == expected[name]
            else:
                assert done[name]["error"]["code"] == "engine_failed" and done[name]["error"]["retryable"]
                assert done[name]["sentences"] == 3, "the rest of it was spoken elsewhere"
        await eventually(lambda: num_ready(front) == 2)
        await eventually(lambda: len(front.workers) == 2)
        assert len(before & {worker.address for worker in front.workers}) == 1


async def test_the_number_of_replicas_follows_the_load(address: str) -> None:
    """From one to three and back to one, and every utterance is completed, also those on replicas that drain."""
    await deploy(autoscaling_config=AUTOSCALING)
    async with front_end(address, 1) as (server, front), connected(server) as client:
        open_names: set[str] = set()
        num_started = num_done = 0

        async def keep_speaking(num_utterances: int) -> None:
            """Hear what comes, and begin others, so that this many are open."""
            nonlocal num_started, num_done
            while len(open_names) < num_utterances:
                num_started += 1
                open_names.add(f"u{num_started}")
                await client.say("speak", id=f"u{num_started}", text=TEXT, lead_ms=None)
            item = await client.next()
            if isinstance(item, dict) and item["type"] == "done":
                assert item["reason"] == "completed", item
                open_names.remove(item["id"])
                num_done += 1

        async with asyncio.timeout(60):
            while num_ready(front) < 3:
                await keep_speaking(3 * NUM_PLACES)
            while open_names or len(front.workers) > 1:
                await keep_speaking(1 if len(front.workers) > 1 else 0)
        assert num_done == num_started >= 3 * NUM_PLACES
        assert num_ready(front) == 1


async def test_what_is_open_ends_before_the_application_does(address: str) -> None:
    """Replicas that are stopped finish their sentences, and then the front end knows none."""
    await deploy(num_replicas=2)
    asked = [request("A long sentence. " * 60, utterance=f"u{number}") for number in range(4)]
    async with front_end(address, 2) as (_, front):
        speaking = [asyncio.create_task(speak(front, one)) for one in asked]
        await eventually(lambda: num_listeners(front) == len(asked))
        await asyncio.to_thread(serve.delete, APPLICATION)
        expected = await speak(FakeSynthesizer(), asked[0])
        for chunks in await asyncio.gather(*speaking):
            assert sound(chunks).tobytes() == sound(expected).tobytes()
        await eventually(lambda: not front.workers or num_ready(front) == 0)
