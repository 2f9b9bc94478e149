"""Flags say what they take."""

from __future__ import annotations

import argparse

from streamer.commands.flags import add_params


def test_a_range_is_told_if_every_model_has_it() -> None:
    """The sizes of coarse windows end where the model's do, which is not known before it is read."""
    parser = argparse.ArgumentParser()
    add_params(parser)
    helps = {action.dest.removeprefix("param_"): action.help for action in parser._actions}
    assert helps["text_temp"] == "0.01 to 2 (default: the model's own)"
    for name in ("max_coarse_history", "sliding_window_len"):
        assert helps[name] == "tokens, as many as the model takes (default: the model's own)"
