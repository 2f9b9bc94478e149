"""Threads of a pass compute with one of torch's threads each, whatever the process has."""

import torch

from streamer.models.cpu.threads import on_one_thread, threads_of_their_own


def test_each_of_them_has_one_of_torchs_threads_and_the_caller_as_many_as_before():
    usual = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with threads_of_their_own(2) as pool:
            numbers = [pool.submit(torch.get_num_threads).result() for _ in range(4)]
        assert numbers == [1] * 4
        assert on_one_thread(lambda: torch.tensor(torch.get_num_threads())) == 1
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(usual)
