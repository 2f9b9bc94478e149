"""An utterance from text to packets: start with `pipeline`."""
