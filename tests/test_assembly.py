"""What the settings become: the device and the number format, and a server."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from streamer import assembly
from streamer.assembly import choose_device, choose_dtype, repeatable
from streamer.config import EngineConfig
from streamer.errors import ConfigError
from streamer.telemetry.traces import Tracer
from streamer.trace_config import TracesConfig
from tests.fakes.synthesizer import FakeSynthesizer
from tests.server.speaking import configured


def test_a_device_that_is_not_there_is_named_with_the_remedy() -> None:
    """The message is ours, whatever torch says."""
    with pytest.raises(ConfigError, match=r"device 'abacus' is unknown: use auto or cpu"):
        choose_device("abacus")


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_the_first_gpu_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be given by either of its names."""
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    assert choose_device(name) == name


@pytest.mark.parametrize(
    ("has_cuda", "has_mps", "device"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_the_gpu_there_is(
    has_cuda: bool, has_mps: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` prefers NVIDIA's to Apple's, and uses the CPU if there is neither."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)
    assert choose_device("auto") == device


def test_another_gpu_than_the_first_is_refused_with_the_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise its streams and events would silently belong to the first one."""
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    with pytest.raises(ConfigError, match=r"CUDA_VISIBLE_DEVICES=3 and device cuda"):
        choose_device("cuda:3")


@pytest.mark.parametrize(
    ("device", "dtype"), [("cuda", "bfloat16"), ("cuda:0", "bfloat16"), ("cpu", "int8"), ("mps", "float32")]
)
def test_the_number_format_follows_the_device(device: str, dtype: str) -> None:
    """It does so unless a format was named."""
    assert choose_dtype("auto", device) == dtype
    assert choose_dtype("float32", device) == "float32"


async def test_a_server_is_made_with_what_the_operator_and_the_supervisor_ask_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tracer is the server's and its synthesizer's, and systemd is told by the socket in the environment."""
    made: list[Tracer] = []

    def build(_config: EngineConfig, _on_recorded: object, tracer: Tracer) -> FakeSynthesizer:
        made.append(tracer)
        return FakeSynthesizer()

    monkeypatch.setattr(assembly, "build_synthesizer", build)
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    traces = TracesConfig(trace_endpoint="http://127.0.0.1:9/v1/traces", trace_step_ratio=0.5)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiving:
        receiving.bind(str(tmp_path / "notify"))
        server = assembly.build_server(replace(configured(), traces=traces))
        await server.start()
        assert [tracer.step_ratio for tracer in made] == [0.5]
        lines = []
        while "READY=1" not in lines:
            lines.append(receiving.recv(4096).decode())
        server.stop()
        await server.run_until_stopped()


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("auto", "latency"),
        ("latency", "latency"),
        ("balanced", "balanced"),
        ("throughput", "throughput"),
        ("whole", "whole"),
    ],
)
def test_what_must_sound_the_same_anywhere_is_not_measured(given: str, used: str) -> None:
    """What would be measured is the earliest sound on all workers; what the operator names stays."""
    config = EngineConfig(chunk_schedule=given, max_waiting=7)
    assert repeatable(config) == EngineConfig(chunk_schedule=used, max_waiting=7)
