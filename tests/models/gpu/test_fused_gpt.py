"""Fused decode steps make what plain ones make; run by Triton's interpreter where there is no GPU."""

import os
import subprocess
import sys

import pytest
import torch

from streamer.models.config import TransformerConfig
from streamer.models.gpt import CausalGpt, set_dtype
from streamer.models.gpu.fused_gpt import TOLERANCE, FusedGpt, _difference, fused_where_it_agrees
from streamer.models.kv_cache import KvCache

pytest.importorskip("triton")
INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"

if not INTERPRETED and not torch.cuda.is_available():
    # The library reads its environment once, so another process has to run these tests.
    def test_in_the_interpreter():
        """The tests of this file, in a process whose Triton interprets."""
        environment = os.environ | {"TRITON_INTERPRET": "1"}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
else:

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
        """Rows at different places of several parts of the cache, steps on end: the same logits."""
        assert _difference(gpt(dtype), FusedGpt(gpt(dtype))) < tolerance

    @pytest.mark.parametrize("position", [0, 1, 127, 128, 129, 299])
    def test_every_border_between_parts_is_met(position):
        """At the first position, beside a part's border, and at the block's end."""
        plain = gpt()
        logits = []
        for network in (plain, FusedGpt(plain)):
            cache = KvCache(plain.config, 2, torch.float32, DEVICE)
            generator = torch.Generator().manual_seed(1)
            cache.keys.copy_(torch.randn(cache.keys.shape, generator=generator))
            cache.values.copy_(torch.randn(cache.values.shape, generator=generator))
            token, place, slot = (torch.tensor([number], device=DEVICE) for number in (5, position, 1))
            logits.append(network.decode(token, place, cache, slot, length=position + 1))
            logits.append(cache.keys.clone())
        torch.testing.assert_close(logits[0], logits[2], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(logits[1], logits[3], atol=1e-4, rtol=1e-4)

    def test_a_row_is_the_same_alone_and_in_any_batch():
        """Neighbours and their order change nothing."""
        network = FusedGpt(gpt())
        tokens, positions = torch.tensor([3, 9, 4]), torch.tensor([140, 7, 128])

        def decode(rows):
            cache = KvCache(network.config, 3, torch.float32, DEVICE)
            cache.keys.fill_(0.1)
            index = torch.tensor(rows)
            given = (tokens[index].to(DEVICE), positions[index].to(DEVICE))
            return network.decode(*given, cache, index.to(DEVICE))

        together = decode([0, 1, 2])
        for row in range(3):
            torch.testing.assert_close(decode([row])[0], together[row], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(decode([2, 0])[0], together[2], atol=1e-5, rtol=1e-5)

    @pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")  # the interpreter's numpy
    def test_nan_of_one_row_stays_its_own_and_is_seen():
        """Not even a mask hides NaN in a product; here nobody reads another's, and one's own is not hidden."""
        network = FusedGpt(gpt())
        cache = KvCache(network.config, 2, torch.float32, DEVICE)
        cache.keys[:, 0, :, 3] = torch.nan
        cache.values[:, 1, :, 50:] = torch.nan  # behind the row's position
        slots = torch.tensor([0, 1], device=DEVICE)
        logits = network.decode(slots + 1, slots * 0 + 20, cache, slots)
        assert logits[0].isnan().all()
        assert logits[1].isfinite().all()

    def test_kernels_that_disagree_are_not_used(monkeypatch):
        """A wrong or failing kernel leaves the plain step in place; a right one is taken."""
        plain = gpt()
        assert isinstance(fused_where_it_agrees(plain), FusedGpt)
        decode = FusedGpt.decode
        monkeypatch.setattr(FusedGpt, "decode", lambda *given, **more: decode(*given, **more) * 1.5)
        assert fused_where_it_agrees(plain) is plain
        monkeypatch.setattr(FusedGpt, "decode", lambda *_, **__: 1 / 0)
        assert fused_where_it_agrees(plain) is plain
