"""What the tests of the stages share: a thread beside the engine's."""

import pytest

from streamer.engine.device.cpu_stream import CpuStream


@pytest.fixture
def stream():
    """A stream that has ended with its test."""
    stream = CpuStream()
    yield stream
    assert stream.close(10)
