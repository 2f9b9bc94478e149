"""The composition root: turns settings into models, stages, engine, back end and server, which meet only here.

What reads models is imported where it is needed, because a front end over workers does without torch.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from streamer.backends.loading import LoadingSynthesizer
from streamer.config import Config, EngineConfig, ServerConfig
from streamer.errors import ConfigError
from streamer.process_environment import default_models_directory, default_voices_directory, variables
from streamer.server.access import check_allowed_origins
from streamer.server.app import Server
from streamer.server.listening import check_ports, open_sockets
from streamer.server.openai_names import check_mapping, read_mapping
from streamer.server.reloading import Reloadables
from streamer.server.service import package_version
from streamer.server.supervisor import Supervisor
from streamer.server.tls import Certificate
from streamer.server.voice_choice import check_default_voice
from streamer.server.voice_reloading import ReloadableVoices
from streamer.store.installed import find_model
from streamer.synthesis import Synthesizer
from streamer.telemetry.trace_settings import create_tracer
from streamer.telemetry.traces import NO_TRACER, Tracer
from streamer.voices.library import VoiceLibrary, voice_directories
from streamer.worker_config import read_ray_address, read_token, read_worker_addresses

if TYPE_CHECKING:
    from streamer.backends.local import LocalSynthesizer, OnRecorded
    from streamer.backends.workers.synthesizer import WorkersSynthesizer
    from streamer.backends.workers.worker_server import WorkerServer
    from streamer.models.config import ModelConfig

DEVICE_TYPES = ("cpu", "cuda", "mps")
"""The kinds of devices that the models run on."""
BUILTIN_MODEL = Path(__file__).parent / "voices" / "builtin"


def build_synthesizer(
    config: EngineConfig, on_recorded: OnRecorded = lambda _num, _of: None, tracer: Tracer = NO_TRACER
) -> LocalSynthesizer:
    """Load the model that the settings name, or the built-in voice; it is not warm yet.

    `on_recorded` is called with the progress of recording CUDA graphs. Raises `CheckpointError` for the model's files
    and `ConfigError` for a device that is not there.
    """
    from streamer.backends.local import LocalSynthesizer

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
    check_allowed_origins(config.server.allowed_origins)
    check_ports(ports_of(config.server))
    tracer, supervisor = create_tracer(config.traces, package_version()), Supervisor(variables())
    synthesizer: LoadingSynthesizer | WorkersSynthesizer
    if config.engine.backend != "local":
        synthesizer = _build_front_end(config)
    else:
        _check_model(config)
        synthesizer = LoadingSynthesizer(lambda: build_synthesizer(config.engine, on_recorded, tracer))
    server = Server(config, synthesizer, tracer, supervisor)
    reloadable = ReloadableVoices(synthesizer, config.speech)
    server.reloadables.add("voices", reloadable.reload, reloadable.refresh)
    return server


def ports_of(config: ServerConfig) -> dict[str, tuple[str, int | None]]:
    """Return the hosts and ports that the server listens on, by the names of the ports' options."""
    return {
        "port": (config.host, config.port),
        "admin_port": (config.admin_host, config.admin_port),
        "wyoming_port": (config.wyoming_host, config.wyoming_port),
    }


def _check_model(config: Config) -> None:
    """Raise `CheckpointError` and `ConfigError` for what can be known of the model before it is loaded."""
    choose_dtype(config.engine.dtype, choose_device(config.engine.device))
    if config.speech.voice is None and not config.speech.openai_voices:
        model_directory(config.engine)
        return
    voices = read_voices(config.engine, read_config(config.engine)).names
    check_default_voice(config.speech, voices)
    check_mapping(read_mapping(config.speech.openai_voices), voices)


def _build_front_end(config: Config) -> WorkersSynthesizer:
    from streamer.backends.workers.synthesizer import WorkersSynthesizer

    token, version = read_token(config.workers), package_version()
    if config.engine.backend == "workers":
        return WorkersSynthesizer(read_worker_addresses(config.workers), version=version, token=token)
    from streamer.backends.ray.listings import worker_listings

    listings = worker_listings(read_ray_address(config.workers), token)
    return WorkersSynthesizer(version=version, token=token, listings=listings)


def build_worker(config: Config, on_recorded: OnRecorded = lambda _num, _of: None) -> WorkerServer:
    """Return the server of a worker; it reads its model when it is started.

    Raises `CheckpointError` and `ConfigError` as `build_server` does.
    """
    from streamer.backends.workers.served_model import describe
    from streamer.backends.workers.worker import Worker
    from streamer.backends.workers.worker_server import WorkerServer

    choose_dtype(config.engine.dtype, choose_device(config.engine.device))
    model_directory(config.engine)
    loaded: list[LocalSynthesizer] = []
    tracer = create_tracer(config.traces, package_version())

    def load() -> Synthesizer:
        loaded.append(build_synthesizer(repeatable(config.engine), on_recorded, tracer))
        return loaded[0]

    workers, certificate, version = config.workers, Certificate.of(config.server), package_version()
    token, metrics_port = read_token(workers), workers.worker_metrics_port
    worker = Worker(
        LoadingSynthesizer(load), lambda: describe(loaded[0], version), version=version, token=token
    )
    reloadables = Reloadables()
    reloadables.add("voices", worker.reload_voices, worker.refresh_voices)
    return WorkerServer(
        worker,
        functools.partial(open_sockets, workers.worker_host, workers.worker_port, "worker_"),
        has_token=token != "",
        tls=None if certificate is None else certificate.context,
        drain_timeout_s=config.limits.drain_timeout_s,
        tracer=tracer,
        reloads=reloadables,
        open_metrics_sockets=None
        if metrics_port is None
        else functools.partial(open_sockets, workers.worker_host, metrics_port, "worker_metrics_"),
    )


def repeatable(config: EngineConfig) -> EngineConfig:
    """Return the settings of an engine by which nothing that can be heard depends on its machine's speed.

    A sentence of a worker may be made again by another worker, on another machine, and must sound the same. Speech into
    memory is not heard while it is made, so that nothing is gained by measuring.
    """
    return replace(config, chunk_schedule="latency") if config.chunk_schedule == "auto" else config


def read_config(config: EngineConfig) -> ModelConfig:
    """Read the config of the model that the settings name, without loading it. Raises `CheckpointError`."""
    from streamer.models.files.checkpoint import read_model_config

    return read_model_config(model_directory(config))


def read_voices(config: EngineConfig, model: ModelConfig, *, keeps_errors: bool = False) -> VoiceLibrary:
    """Return the voices that a server with these settings has; see `VoiceLibrary` for `keeps_errors`.

    Raises `CheckpointError` and `ConfigError`.
    """
    directories = voice_directories(model_directory(config), config.voices_directory)
    return VoiceLibrary(directories, model, shared=_shared_voices(config), keeps_errors=keeps_errors)


def model_directory(config: EngineConfig) -> Path:
    """Return the directory of the model that the settings name. Raises `CheckpointError` if there is none."""
    if config.model is None:
        return BUILTIN_MODEL
    return find_model(config.model, config.models_directory or default_models_directory())


def _shared_voices(config: EngineConfig) -> Path | None:
    return default_voices_directory() if config.voices_directory is None else None


def choose_device(name: str) -> str:
    """Return the device; `auto` is a GPU if there is one. Raises `ConfigError` for a device that this machine lacks."""
    import torch

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
    """Return the dtype; `auto` is bfloat16 on a GPU (as in Bark's own code), int8 on a CPU, and float32 elsewhere.

    Raises `ConfigError` for int8 on another device than a CPU.
    """
    if name == "int8" and device.partition(":")[0] != "cpu":
        raise ConfigError(f"dtype int8 is for the CPU: use bfloat16, or auto, on {device}", param="dtype")
    if name != "auto":
        return name
    return {"cuda": "bfloat16", "cpu": "int8"}.get(device.partition(":")[0], "float32")
