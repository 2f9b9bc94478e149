"""Threads for which torch uses no further ones: those of whole passes (`int8_forward`) and of `CpuStream`."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch
from torch import Tensor

from streamer.models.cpu.joining import offering, taker

PARALLEL_WIDTH = 512
"""The width from which sharing work between threads gains more than joining them costs."""


def use_one_thread() -> None:
    """Have torch use no further threads for what is called in this one."""
    torch.set_num_threads(1)
    # The number holds from a thread's first use of it on; without one, another thread's later setting would hold here.
    torch.get_num_threads()


def threads_of_their_own(num_threads: int) -> ThreadPoolExecutor:
    """Start threads for each of which torch uses no further ones."""
    usual = torch.get_num_threads()
    barrier = threading.Barrier(num_threads + 1)

    def begin() -> None:
        use_one_thread()
        barrier.wait()

    pool = ThreadPoolExecutor(num_threads, "forward-pass", initializer=begin)
    for _ in range(num_threads):
        pool.submit(int)
    barrier.wait()
    torch.set_num_threads(usual)  # Threads that start later take the number that was set last.
    return pool


threads_for_passes = cache(threads_of_their_own)
"""The threads that share out passes; they stay for the life of the process."""


def on_one_thread(call: Callable[[], Tensor]) -> Tensor:
    """Return what `call` returns, called in a thread for which torch uses no further threads.

    After an operation torch's other threads wait for the next one for some milliseconds without sleeping, on the
    very cores that ours need.
    """
    if torch.get_num_threads() == 1:
        return call()
    is_inference, take = torch.is_inference_mode_enabled(), taker()

    def called() -> Tensor:
        # All three are properties of the thread.
        with torch.inference_mode(is_inference), torch.no_grad(), offering(take):
            return call()

    return threads_for_passes(1).submit(called).result()
