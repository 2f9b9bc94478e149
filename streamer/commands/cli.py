"""The command `streamer` with all its subcommands; a mistake is one clear line, and exit status 2."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from streamer.commands.bench import add_bench_command
from streamer.commands.flags import (
    MODEL_OPTIONS,
    add_options,
    add_params,
    add_speech_options,
    check_output,
    read_settings,
    read_speech_options,
)
from streamer.commands.keys import add_keys_commands
from streamer.commands.mcp.command import add_mcp_command
from streamer.commands.models import add_models_commands
from streamer.commands.process import (
    EXIT_INTERRUPTED,
    SWITCH_INTERVAL_S,
    complain,
    ending_at_once,
    leave,
    open_standard_streams,
    tell,
)
from streamer.commands.ray import add_ray_command
from streamer.commands.voices import add_voices_commands
from streamer.commands.worker import add_worker_command
from streamer.config import options
from streamer.errors import EngineError, InvalidParameterError, StreamerError

if TYPE_CHECKING:
    from streamer.server.app import Server

EXIT_MISTAKE = 2
EXIT_ENGINE_DIED = 70
"""EX_SOFTWARE of sysexits.h, which tells a supervisor to start the server again."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit with its status."""
    open_standard_streams()
    try:
        parsed = _parser().parse_args(arguments)
        status = parsed.run(parsed)
        _flush_output()
    except SystemExit as ended:  # argparse's, after what it printed
        status = ended.code if isinstance(ended.code, int) else EXIT_MISTAKE
    except EngineError as error:
        complain(f"streamer: the engine failed: {error}")
        status = EXIT_ENGINE_DIED
    except BrokenPipeError:
        status = EXIT_MISTAKE  # its reader has had enough
    except (StreamerError, OSError) as error:
        complain(f"streamer: {error}")
        status = EXIT_MISTAKE
    except KeyboardInterrupt:
        status = EXIT_INTERRUPTED
    # A thread that hangs in the engine would keep the interpreter alive, and one that is interrupted abort it.
    leave(status, at_once=status in (EXIT_ENGINE_DIED, EXIT_INTERRUPTED))


def _flush_output() -> None:
    """Have everything printed. Raises `OSError` that says what could not be written."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard output") from None


class _OneLineParser(argparse.ArgumentParser):
    """A parser that says what is wrong and where the flags are listed, and leaves the list out.

    Flags are written out: what stands for one of them today might stand for two when another is added.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        """Exit with the status of a mistake."""
        self.exit(EXIT_MISTAKE, f"streamer: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = _OneLineParser(
        prog="streamer", description="Speak text with Bark while it is being written."
    )
    parser.add_argument("--version", action="version", version=f"streamer {version('bark-streamer')}")
    commands = parser.add_subparsers(required=True, metavar="command")
    every_option = tuple(option.name for option in options())

    serve = commands.add_parser("serve", help="run the server")
    add_options(serve, every_option)
    serve.set_defaults(run=_serve)

    add_worker_command(commands)

    add_ray_command(commands)

    say = commands.add_parser("say", help="write a spoken text to a file")
    say.add_argument("text", help="what to say; - reads standard input")
    say.add_argument("-o", "--output", type=Path, required=True, help="file to write: .ogg, .opus or .wav")
    add_speech_options(say)
    add_params(say)
    add_options(say, (*MODEL_OPTIONS, "lexicon"))
    say.set_defaults(run=_say)

    add_voices_commands(commands)

    add_models_commands(commands)

    add_keys_commands(commands)

    add_bench_command(commands)

    add_mcp_command(commands)

    check = commands.add_parser(
        "check-config", help="check the settings and their files, and print the settings"
    )
    add_options(check, every_option)
    check.set_defaults(run=_check_config)
    return parser


def _serve(parsed: argparse.Namespace) -> int:
    with ending_at_once("stopped while loading the model") as end:
        from rich.console import Console
        from rich.progress import Progress

        from streamer.telemetry.logs import configure_logging

        config = read_settings(parsed)
        configure_logging(config.log.log_level, config.log.log_format)
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task("loading the model", total=None)

            def show(num_recorded: int, num_steps: int) -> None:
                progress.update(task, description="recording steps", completed=num_recorded, total=num_steps)

            from streamer.assembly import build_server

            server = build_server(config, show)
            asyncio.run(_run_server(server, progress.stop, end))
    return 0


async def _run_server(server: Server, on_started: Callable[[], None], end: Callable[[int], None]) -> None:
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end, number)
    await server.start()
    on_started()
    tell(f"ready: open {server.url} and type a sentence")
    await server.run_until_stopped()


def _say(parsed: argparse.Namespace) -> int:
    with ending_at_once("stopped, and nothing was written"):
        return _speak_into_file(parsed)


def _speak_into_file(parsed: argparse.Namespace) -> int:
    from rich.progress import Progress

    from streamer.api import speak_into_memory
    from streamer.speech.events import SentenceEnded, SentenceStarted, SpeechEvent

    check_output(parsed.output)
    try:
        text = sys.stdin.read() if parsed.text == "-" else parsed.text
    except UnicodeDecodeError as error:
        raise InvalidParameterError(f"standard input is not {error.encoding} text: {error.reason}") from error
    if any(
        "\ud800" <= character <= "\udfff" for character in text
    ):  # how Python keeps bytes that are no text
        raise InvalidParameterError("the text is not in this system's encoding; write it in UTF-8")
    config = read_settings(parsed)
    speech_options = read_speech_options(parsed, config.speech.lexicon)
    with Progress(transient=True) as progress:
        task = progress.add_task("speaking", total=len(text))
        ends: dict[int, int] = {}

        def show(event: SpeechEvent) -> None:
            if isinstance(event, SentenceStarted):
                ends[event.index] = event.char_end
            elif isinstance(event, SentenceEnded):
                progress.update(task, completed=ends[event.index])

        audio = speak_into_memory(config.engine, text, speech_options, show)
    if not audio.samples.size:
        raise InvalidParameterError("there is nothing to say in this text: it has no word")
    audio.save(parsed.output)
    cut = "; a sentence that the model did not end was cut" if audio.truncated else ""
    print(f"{parsed.output}: {audio.duration_s:.2f} s, seed {audio.seed}{cut}")
    return 0


def _check_config(parsed: argparse.Namespace) -> int:
    from streamer.mistakes import refuse_mistakes

    config = read_settings(parsed)
    refuse_mistakes(config)
    for section, values in asdict(config).items():
        print(f"[{section}]")
        for name, value in values.items():
            print(f"{name} = {value}")
    return 0
