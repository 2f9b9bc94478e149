"""The command `streamer`: serve, say, voices, models, bench, check-config. One clear line and status 2 on a mistake."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from streamer.config import Config, load_config, options
from streamer.errors import EngineError, StreamerError
from streamer.sampling import RANGES

if TYPE_CHECKING:
    from streamer.server.app import Server

EXIT_MISTAKE = 2
EXIT_ENGINE_DIED = 70
"""EX_SOFTWARE of sysexits.h: a supervisor should start the server again."""
SWITCH_INTERVAL_S = 0.0005
"""How long the event loop may keep the engine's thread waiting for the interpreter (Python's own: 0.005). The engine
asks for it after every step; with four listeners beginning at once on two cores silences are a quarter shorter."""
MODEL_OPTIONS = ("model", "device", "dtype", "num_threads", "voices_directory")


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with its status."""
    parsed = _parser().parse_args(arguments)
    try:
        status = parsed.run(parsed)
    except EngineError as error:
        print(f"streamer: the engine failed: {error}", file=sys.stderr)
        status = EXIT_ENGINE_DIED
    except (StreamerError, OSError) as error:
        print(f"streamer: {error}", file=sys.stderr)
        status = EXIT_MISTAKE
    except KeyboardInterrupt:
        status = 130
    sys.stdout.flush()
    sys.stderr.flush()
    if status == EXIT_ENGINE_DIED:
        # A thread that hangs in the engine would keep the interpreter alive.
        os._exit(status)
    sys.exit(status)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="streamer", description="Speaks text with Bark, as it is written.")
    parser.add_argument("--version", action="version", version=f"streamer {version('bark-streamer')}")
    commands = parser.add_subparsers(required=True, metavar="command")
    every_option = tuple(option.name for option in options())

    serve = commands.add_parser("serve", help="run the server")
    _add_options(serve, every_option)
    serve.set_defaults(run=_serve)

    say = commands.add_parser("say", help="speak a text into a file")
    say.add_argument("text", help="what to say; - reads it from standard input")
    say.add_argument("-o", "--output", type=Path, required=True, help="file to write: .ogg, .opus or .wav")
    _add_manner(say)
    _add_params(say)
    _add_options(say, MODEL_OPTIONS)
    say.set_defaults(run=_say)

    voices = commands.add_parser("voices", help="list the voices of the model")
    _add_options(voices, MODEL_OPTIONS)
    voices.set_defaults(run=_voices)

    models = commands.add_parser("models", help="say what the model is and can do")
    _add_options(models, MODEL_OPTIONS)
    models.set_defaults(run=_models)

    bench = commands.add_parser("bench", help="load a running server and say what its listeners hear")
    bench.add_argument("url", help="ws://host:port/v1/stream")
    bench.add_argument("--rate", type=float, default=0.5, help="utterances a second (default: 0.5)")
    bench.add_argument("--search", action="store_true", help="look for the highest rate that is carried well")
    bench.add_argument(
        "--seconds", type=float, default=30.0, help="least measured time at a rate (default: 30)"
    )
    bench.add_argument(
        "--utterances", type=int, default=100, help="least number measured at a rate (default: 100)"
    )
    bench.add_argument("--warm-up", type=float, default=5.0, help="seconds before that (default: 5)")
    bench.add_argument("--seed", type=int, default=0, help="the same seed gives the same arrivals and texts")
    bench.add_argument("--encoding", default="opus", help="opus or pcm_s16le (default: opus)")
    bench.add_argument("--texts", type=Path, help="file with one text a line")
    bench.add_argument("--api-key-file", type=Path, help="file with the key the server wants")
    bench.add_argument(
        "--count-silence",
        action="store_true",
        help="time the first sample, audible or not: for random weights",
    )
    bench.add_argument("--output", type=Path, help="JSON file to write")
    bench.set_defaults(run=_bench)

    check = commands.add_parser("check-config", help="check the settings and print them")
    _add_options(check, every_option)
    check.set_defaults(run=_check_config)
    return parser


def _add_manner(parser: argparse.ArgumentParser) -> None:
    """Flags for who speaks, and how the text is read."""
    parser.add_argument("--voice", help="voice; none: the model's own")
    parser.add_argument(
        "--continuity",
        default="preset",
        help="what a sentence goes on from: preset (default), chain (the voice's last sentence), preset+chain",
    )
    parser.add_argument(
        "--speaker",
        action="append",
        default=[],
        metavar="LABEL=VOICE",
        help="the voice of what follows LABEL: in the text; may be given again",
    )
    parser.add_argument("--language", default="auto", help="one of the model's, or auto (default)")
    parser.add_argument(
        "--normalize",
        action=argparse.BooleanOptionalAction,
        help="write numbers and the like out first (default: as the model needs it)",
    )
    parser.add_argument("--text-format", default="plain", help="plain (default), or chat: Markdown")


def _add_params(parser: argparse.ArgumentParser) -> None:
    """A flag for each sampling knob."""
    for name, allowed in RANGES.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            dest=f"param_{name}",
            type=int if allowed.is_whole else float,
            help=f"{allowed.smallest:g} to {allowed.largest:g}; without it the model's own",
        )


def _add_options(parser: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    """A flag for each named option of the settings; `config` checks the values."""
    parser.add_argument("--config", type=Path, help="TOML file with settings")
    taken = {string for action in parser._actions for string in action.option_strings}
    for option in options():
        if option.name in names and option.flag not in taken:
            choices = f"; one of {', '.join(option.choices)}" if option.choices else ""
            text = f"{option.help}{choices} (default: {option.default})"
            parser.add_argument(option.flag, dest=f"option_{option.name}", help=text.replace("%", "%%"))


def _config(parsed: argparse.Namespace) -> Config:
    flags = {
        name.removeprefix("option_"): value
        for name, value in vars(parsed).items()
        if name.startswith("option_")
    }
    return load_config(parsed.config, flags=flags)


def _serve(parsed: argparse.Namespace) -> int:
    with _ending_at_once_on_sigterm():
        from rich.console import Console

        from streamer.telemetry.logs import configure_logging

        config = _config(parsed)
        configure_logging(config.log.log_level, config.log.log_format)
        console = Console(stderr=True)
        with console.status("loading the model"):
            from streamer.assembly import build_server

            server = build_server(config)
        asyncio.run(_run_server(server, config))
    return 0


@contextlib.contextmanager
def _ending_at_once_on_sigterm() -> Iterator[None]:
    """While the model loads nobody is served yet; once it has, the server's own handler takes over.

    No exception is raised: it would come out of the middle of a library, and wait for threads that compile.
    """
    line = b"streamer: stopped while loading the model\n"
    if sys.stderr.isatty():
        line = b"\r\x1b[K\x1b[?25h" + line  # over the spinner, which hides the cursor

    def end(_number: int, _frame: FrameType | None) -> None:
        os.write(2, line)
        os._exit(0)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


async def _run_server(server: Server, config: Config) -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    await server.start()
    host = config.server.host
    shown = {"0.0.0.0": "localhost", "::": "localhost", "127.0.0.1": "localhost"}.get(host, host)
    print(f"ready: open http://{shown}:{server.port}/ and type a sentence", flush=True)
    await server.run_until_stopped()


def _say(parsed: argparse.Namespace) -> int:
    from rich.progress import Progress

    from streamer.errors import InvalidParameterError
    from streamer.speech import SentenceEnded, SentenceStarted, SpeechEvent

    if parsed.output.suffix not in (".ogg", ".opus", ".wav"):
        raise InvalidParameterError(f"{str(parsed.output)!r}: the name must end in .ogg, .opus or .wav")
    if parsed.output.is_dir() or not parsed.output.parent.is_dir():  # said before the work, not after it
        raise InvalidParameterError(f"{str(parsed.output)!r}: no file can be written there")
    try:
        text = sys.stdin.read() if parsed.text == "-" else parsed.text
    except UnicodeDecodeError as error:
        raise InvalidParameterError(f"standard input is no {error.encoding} text: {error.reason}") from error
    given = {name: getattr(parsed, f"param_{name}") for name in RANGES}
    params = {name: value for name, value in given.items() if value is not None}
    if wrong := [speaker for speaker in parsed.speaker if "=" not in speaker]:
        raise InvalidParameterError(f"--speaker {wrong[0]!r}: it is written LABEL=VOICE")
    speakers = dict(speaker.split("=", 1) for speaker in parsed.speaker)
    from streamer.inprocess import Manner, speak_into_memory
    from streamer.text.reading import Reading

    reading = Reading(parsed.language, parsed.normalize, parsed.text_format)
    manner = Manner(parsed.voice, parsed.param_seed, params, parsed.continuity, speakers, reading)
    with Progress(transient=True) as progress:
        task = progress.add_task("speaking", total=len(text))
        ends: dict[int, int] = {}

        def show(event: SpeechEvent) -> None:
            if isinstance(event, SentenceStarted):
                ends[event.index] = event.char_end
            elif isinstance(event, SentenceEnded):
                progress.update(task, completed=ends[event.index])

        audio = speak_into_memory(_config(parsed).engine, text, manner, show)
    audio.save(parsed.output)
    cut = "; a sentence was cut that the model did not end" if audio.truncated else ""
    print(f"{parsed.output}: {audio.duration_s:.2f} s, seed {audio.seed}{cut}")
    return 0


def _voices(parsed: argparse.Namespace) -> int:
    from streamer.assembly import build_synthesizer

    info = build_synthesizer(_config(parsed).engine).info
    for name in info.voices:
        print(f"{name} (default)" if name == info.default_voice else name)
    return 0


def _models(parsed: argparse.Namespace) -> int:
    from streamer.assembly import build_synthesizer

    info = build_synthesizer(_config(parsed).engine).info
    print(f"{info.name}: {info.sample_rate_hz} Hz, {len(info.voices)} voice(s)")
    print(f"languages: {', '.join(info.languages) or 'none'}")
    print(f"tags: {', '.join(info.tags) or 'none'}")
    return 0


def _bench(parsed: argparse.Namespace) -> int:
    from streamer.bench.command import Plan, bench

    plan = Plan(
        url=parsed.url,
        rate_hz=parsed.rate,
        search=parsed.search,
        seconds=parsed.seconds,
        num_utterances=parsed.utterances,
        warm_up_s=parsed.warm_up,
        seed=parsed.seed,
        encoding=parsed.encoding,
        counts_silence=parsed.count_silence,
        texts_file=parsed.texts,
        api_key_file=parsed.api_key_file,
    )
    return bench(plan, parsed.output)


def _check_config(parsed: argparse.Namespace) -> int:
    for section, values in asdict(_config(parsed)).items():
        print(f"[{section}]")
        for name, value in values.items():
            print(f"{name} = {value}")
    return 0
