"""The composition root: turns settings into models, stages, engine, back end and server, which meet only here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from streamer.backends.loading import LoadingSynthesizer
from streamer.backends.local import LocalSynthesizer, OnRecorded
from streamer.config import Config, EngineConfig
from streamer.errors import ConfigError
from streamer.models.config import ModelConfig
from streamer.models.files.checkpoint import read_model_config
from streamer.process_environment import default_models_directory, default_voices_directory, variables
from streamer.server.access import check_allowed_origins
from streamer.server.app import Server
from streamer.server.service import package_version
from streamer.server.supervisor import Supervisor
from streamer.store.installed import find_model
from streamer.synthesis import Synthesizer
from streamer.telemetry.trace_settings import create_tracer
from streamer.telemetry.traces import NO_TRACER, Tracer
from streamer.voices.library import VoiceLibrary, voice_directories

DEVICE_TYPES = ("cpu", "cuda", "mps")
"""The kinds of devices that the models run on."""
BUILTIN_MODEL = Path(__file__).parent / "voices" / "builtin"


def build_synthesizer(
    config: EngineConfig, on_recorded: OnRecorded = lambda _num, _of: None, tracer: Tracer = NO_TRACER
) -> Synthesizer:
    """Load the model that the settings name, or the built-in voice; it is not warm yet.

    `on_recorded` is called with the progress of recording CUDA graphs. Raises `CheckpointError` for the model's files
    and `ConfigError` for a device that is not there.
    """
    device = choose_device(config.device)
    return LocalSynthesizer.load(
        model_directory(config),
        replace(config, device=device, dtype=choose_dtype(config.dtype, device)),
        shared_voices=_shared_voices(config),
        on_recorded=on_recorded,
        tracer=tracer,
    )


def build_server(config: Config, on_recorded: OnRecorded = lambda _num, _of: None) -> Server:
    """Return a server, which reads its model when it is started, so that its port is open meanwhile.

    Raises `CheckpointError` if there is no such model, and `ConfigError` for what can be known to be wrong before.
    """
    choose_device(config.engine.device)
    check_allowed_origins(config.server.allowed_origins)
    if config.speech.voice is None:
        model_directory(config.engine)
    elif config.speech.voice not in (names := read_voices(config.engine, read_config(config.engine)).names):
        raise ConfigError(f"voice {config.speech.voice!r}: the model has {', '.join(names)}", param="voice")
    tracer = create_tracer(config.traces, package_version())
    synthesizer = LoadingSynthesizer(lambda: build_synthesizer(config.engine, on_recorded, tracer))
    server = Server(config, synthesizer, tracer, Supervisor(variables()))
    server.reloadables.add("voices", synthesizer.reload_voices)
    return server


def read_config(config: EngineConfig) -> ModelConfig:
    """Read the config of the model that the settings name, without loading it. Raises `CheckpointError`."""
    return read_model_config(model_directory(config))


def read_voices(config: EngineConfig, model: ModelConfig) -> VoiceLibrary:
    """Return the voices that a server with these settings has. Raises `CheckpointError` and `ConfigError`."""
    directories = voice_directories(model_directory(config), config.voices_directory)
    return VoiceLibrary(directories, model, shared=_shared_voices(config))


def model_directory(config: EngineConfig) -> Path:
    """Return the directory of the model that the settings name. Raises `CheckpointError` if there is none."""
    if config.model is None:
        return BUILTIN_MODEL
    return find_model(config.model, config.models_directory or default_models_directory())


def _shared_voices(config: EngineConfig) -> Path | None:
    return default_voices_directory() if config.voices_directory is None else None


def choose_device(name: str) -> str:
    """Return the device; `auto` is a GPU if there is one. Raises `ConfigError` for a device that this machine lacks."""
    if name == "auto":
        has_apple_gpu = torch.backends.mps.is_available()
        return "cuda" if torch.cuda.is_available() else "mps" if has_apple_gpu else "cpu"
    if name.partition(":")[0] not in DEVICE_TYPES:
        raise ConfigError(
            f"device {name!r} is unknown: use auto or {', '.join(DEVICE_TYPES)}", param="device"
        )
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device {name!r} cannot be used here ({reason}): use auto or cpu") from error
    if name.startswith("cuda:") and name != "cuda:0":
        # Streams, events and recorded steps belong to a thread's current device, which is the first one.
        number = name.partition(":")[2]
        raise ConfigError(
            f"device {name!r}: a server uses the first GPU that it sees: start it with "
            f"CUDA_VISIBLE_DEVICES={number} and device cuda"
        )
    return name


def choose_dtype(name: str, device: str) -> str:
    """Return the dtype; `auto` is bfloat16 on a GPU (as in Bark's own code), int8 on a CPU, and float32 elsewhere."""
    if name != "auto":
        return name
    return {"cuda": "bfloat16", "cpu": "int8"}.get(device.partition(":")[0], "float32")
