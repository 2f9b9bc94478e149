"""Fused decode steps compute what plain ones do; Triton's interpreter runs them without a GPU."""

import pytest
import torch

from streamer.models.config import TransformerConfig
from streamer.models.gpt import CausalGpt, PlainDecodeStep, set_dtype
from streamer.models.gpu.fused_gpt import TOLERANCE, FusedDecodeStep, _difference, fuse_if_it_agrees
from streamer.models.kv_cache import KvCache

pytest.importorskip("triton")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(autouse=True)
def no_gradients():
    """Nothing here is trained."""
    with torch.inference_mode():
        yield


def gpt(dtype=torch.float32, *, width=48, num_heads=3, block_size=300):
    torch.manual_seed(0)
    made = CausalGpt(TransformerConfig(2, num_heads, width, block_size, 90, 70)).eval()
    for parameter in made.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    set_dtype(made, dtype)
    return made.to(DEVICE)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, TOLERANCE)])
def test_a_fused_step_is_the_plain_one(dtype, tolerance):
    """Rows at different positions, in several parts of the cache, get the plain step's logits step after step."""
    assert _difference(gpt(dtype), FusedDecodeStep()) < tolerance


@pytest.mark.parametrize("position", [0, 1, 127, 128, 129, 299])
def test_every_border_between_parts_is_met(position):
    """Logits and cache are right at the first position, on both sides of a part's border, and at the block's end."""
    network = gpt()
    logits = []
    for step in (PlainDecodeStep(), FusedDecodeStep()):
        cache = KvCache(network.config, 2, torch.float32, DEVICE)
        generator = torch.Generator().manual_seed(1)
        cache.keys.copy_(torch.randn(cache.keys.shape, generator=generator))
        cache.values.copy_(torch.randn(cache.values.shape, generator=generator))
        token, place, slot = (torch.tensor([number], device=DEVICE) for number in (5, position, 1))
        logits.append(step(network, (token, place, slot), cache, position + 1))
        logits.append(cache.keys.clone())
    torch.testing.assert_close(logits[0], logits[2], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(logits[1], logits[3], atol=1e-4, rtol=1e-4)


def test_a_row_is_the_same_alone_and_in_any_batch():
    """A row's neighbours and their order do not change its logits."""
    network, step = gpt(), FusedDecodeStep()
    tokens, positions = torch.tensor([3, 9, 4]), torch.tensor([140, 7, 128])

    def decode(rows):
        cache = KvCache(network.config, 3, torch.float32, DEVICE)
        cache.keys.fill_(0.1)
        index = torch.tensor(rows)
        given = (tokens[index].to(DEVICE), positions[index].to(DEVICE), index.to(DEVICE))
        return step(network, given, cache, None)

    together = decode([0, 1, 2])
    for row in range(3):
        torch.testing.assert_close(decode([row])[0], together[row], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(decode([2, 0])[0], together[2], atol=1e-5, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the interpreter's numpy
def test_nan_of_one_row_stays_its_own_and_is_seen():
    """NaN in a row's past reaches its logits; NaN of other rows, or behind its position, does not."""
    network = gpt()
    cache = KvCache(network.config, 2, torch.float32, DEVICE)
    cache.keys[:, 0, :, 3] = torch.nan
    cache.values[:, 1, :, 50:] = torch.nan  # behind the row's position
    slots = torch.tensor([0, 1], device=DEVICE)
    logits = FusedDecodeStep()(network, (slots + 1, slots * 0 + 20, slots), cache, None)
    assert logits[0].isnan().all()
    assert logits[1].isfinite().all()


def test_kernels_that_disagree_are_not_used(monkeypatch):
    """A right step is taken; one that is wrong, gives NaN or fails leaves the plain one in place."""
    network = gpt()
    fuse_if_it_agrees(network)
    assert isinstance(network.decode_step, FusedDecodeStep)
    right = FusedDecodeStep.__call__
    for spoil in (lambda logits: logits * 1.5, lambda logits: logits * torch.nan, lambda _: 1 / 0):
        network = gpt()
        monkeypatch.setattr(FusedDecodeStep, "__call__", lambda *given, spoil=spoil: spoil(right(*given)))
        fuse_if_it_agrees(network)
        assert isinstance(network.decode_step, PlainDecodeStep)
