"""The composition root: settings to models, stages, engine, back end and server; only here do they all meet."""

from __future__ import annotations

from pathlib import Path

import torch

from streamer.backends.local import LocalSynthesizer
from streamer.config import Config, EngineConfig, default_models_directory, default_voices_directory
from streamer.errors import ConfigError
from streamer.models.config import ModelConfig
from streamer.models.files.checkpoint import read_model_config
from streamer.server.app import Server
from streamer.store.installed import find_model
from streamer.synthesis import Synthesizer
from streamer.voices.library import VoiceLibrary, voice_directories

BUILTIN_MODEL = Path(__file__).parent / "voices" / "builtin"


def build_synthesizer(config: EngineConfig) -> Synthesizer:
    """Load the model the settings name (none: the built-in voice); it is not warm yet.

    Raises `CheckpointError` for the model's files and `ConfigError` for a device that is not there.
    """
    device = choose_device(config.device)
    return LocalSynthesizer.load(
        model_directory(config),
        device=device,
        dtype=choose_dtype(config.dtype, device),
        num_slots=config.num_slots,
        num_threads=config.num_threads,
        voices_directory=config.voices_directory,
        shared_voices=_shared_voices(config),
        max_load=config.max_load,
        cuda_graphs=config.cuda_graphs == "on",
        is_whole=config.chunk_frames == "whole",
    )


def build_server(config: Config) -> Server:
    """A server with its synthesizer, neither of them started."""
    return Server(config, build_synthesizer(config.engine))


def read_config(config: EngineConfig) -> ModelConfig:
    """What the model that the settings name is like, without loading it. Raises `CheckpointError`."""
    return read_model_config(model_directory(config))


def read_voices(config: EngineConfig, model: ModelConfig) -> VoiceLibrary:
    """The voices that a server with these settings has. Raises `CheckpointError` and `ConfigError`."""
    directories = voice_directories(model_directory(config), config.voices_directory)
    return VoiceLibrary(directories, model, shared=_shared_voices(config))


def model_directory(config: EngineConfig) -> Path:
    """Where the model is that the settings name. Raises `CheckpointError` where there is none."""
    if config.model is None:
        return BUILTIN_MODEL
    return find_model(config.model, config.models_directory or default_models_directory())


def _shared_voices(config: EngineConfig) -> Path | None:
    return default_voices_directory() if config.voices_directory is None else None


def choose_device(name: str) -> str:
    """`auto` is the GPU where there is one. Raises `ConfigError` for a device this machine lacks."""
    if name == "auto":
        has_apple_gpu = torch.backends.mps.is_available()
        return "cuda" if torch.cuda.is_available() else "mps" if has_apple_gpu else "cpu"
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
    """`auto` is bfloat16 on a GPU, as Bark's own code runs there, int8 on a CPU, and exact float32 elsewhere."""
    if name != "auto":
        return name
    return {"cuda": "bfloat16", "cpu": "int8"}.get(device.partition(":")[0], "float32")
