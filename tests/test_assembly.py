"""The device and the number format that are chosen by default."""

import pytest
import torch

from streamer.assembly import choose_device, choose_dtype
from streamer.errors import ConfigError


def test_a_device_that_is_not_there_is_named_with_the_remedy() -> None:
    """The message is ours, whatever torch says."""
    with pytest.raises(ConfigError, match=r"device 'abacus' is unknown: use auto or cpu"):
        choose_device("abacus")


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_the_first_gpu_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be given by either of its names."""
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    assert choose_device(name) == name


@pytest.mark.parametrize(
    ("has_cuda", "has_mps", "device"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_the_gpu_there_is(
    has_cuda: bool, has_mps: bool, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`auto` prefers NVIDIA's to Apple's, and uses the CPU if there is neither."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)
    assert choose_device("auto") == device


def test_another_gpu_than_the_first_is_refused_with_the_way_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise its streams and events would silently belong to the first one."""
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    with pytest.raises(ConfigError, match=r"CUDA_VISIBLE_DEVICES=3 and device cuda"):
        choose_device("cuda:3")


@pytest.mark.parametrize(
    ("device", "dtype"), [("cuda", "bfloat16"), ("cuda:0", "bfloat16"), ("cpu", "int8"), ("mps", "float32")]
)
def test_the_number_format_follows_the_device(device: str, dtype: str) -> None:
    """It does so unless a format was named."""
    assert choose_dtype("auto", device) == dtype
    assert choose_dtype("float32", device) == "float32"
