"""The entry point of the command `streamer`, also as `python -m streamer`."""

import signal


def main() -> None:
    """Run the command. Until it is imported, an interrupt ends the process without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from streamer.commands.cli import main as run_command

    signal.signal(signal.SIGINT, signal.default_int_handler)
    run_command()


if __name__ == "__main__":
    main()
