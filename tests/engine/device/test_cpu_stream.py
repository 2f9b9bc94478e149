"""The thread beside the engine's makes calls in order and says what became of each."""

import threading

import pytest
import torch

from streamer.engine.device.cpu_stream import CpuStream


@pytest.fixture
def stream():
    stream = CpuStream()
    yield stream
    stream.close(10)


def test_calls_are_made_one_after_another_on_one_other_thread(stream):
    made, committed = [], []

    def call(number):
        made.append((number, threading.current_thread().name, torch.is_inference_mode_enabled()))
        return torch.tensor(number)

    pending = [stream.launch(lambda number=number: call(number), committed.append) for number in range(5)]
    for each in pending:
        each.finish()
    assert made == [(number, "cpu-stream", True) for number in range(5)]
    assert committed == list(range(5))
    begins, ends = zip(*(each.span_s for each in pending), strict=True)
    assert list(begins) == sorted(begins)
    assert all(end <= begin for end, begin in zip(ends, begins[1:], strict=False))


def test_what_a_call_raises_is_raised_where_it_is_finished_and_the_next_one_is_made(stream):
    def fail():
        raise MemoryError("no room")

    failed = stream.launch(fail, lambda _: pytest.fail("there is no result"))
    other = stream.launch(lambda: torch.tensor(1), lambda _: None)
    with pytest.raises(MemoryError, match="no room"):
        failed.finish()
    other.finish()
    assert failed.is_done() and other.is_done()


def test_torchs_threads_are_as_many_as_before():
    """Only the stream's own thread has none beside it."""
    usual, seen = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:
        stream = CpuStream()
        pending = stream.launch(lambda: torch.tensor(torch.get_num_threads()), seen.append)
        pending.finish()
        assert seen == [1] and torch.get_num_threads() == 3
        assert stream.close(10)
    finally:
        torch.set_num_threads(usual)


def test_closing_waits_for_what_was_launched_but_not_for_ever(stream):
    """Its thread has ended afterwards, unless a call hangs."""
    may_end = threading.Event()

    def hang():
        may_end.wait()
        return torch.tensor(0)

    pending = stream.launch(hang, lambda _: None)
    assert not stream.close(0.05)
    may_end.set()
    assert stream.close(10)
    assert pending.is_done()
