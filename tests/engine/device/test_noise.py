"""Noise is a function of its key and the step alone."""

import torch

from streamer.engine.device.noise import exponential, noise_key

M64 = (1 << 64) - 1


def splitmix64(state: int, index: int) -> int:
    """Return the generator's next output as its authors define it, in Python's integers."""
    value = (state + (index + 1) * 0x9E3779B97F4A7C15) & M64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & M64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & M64
    return value ^ (value >> 31)


def test_the_numbers_are_splitmix64s():
    """Number j of step n comes from output j of the generator seeded with the mixed key and step."""
    key, step = noise_key(5, 0, "semantic"), 3
    seed = splitmix64((key + (step - 1) * 0x9E3779B97F4A7C15) & M64, 0)
    uniforms = [((splitmix64(seed, index) >> 41) + 0.5) / 2**23 for index in range(9)]
    drawn = exponential(torch.tensor([key]), torch.tensor([step]), 9)[0]
    torch.testing.assert_close(drawn, -torch.tensor(uniforms).log())


def test_a_row_is_the_same_beside_any_others():
    """Rows that are drawn singly, in any order and of any width begin with the same numbers."""
    keys = torch.tensor([noise_key(seed) for seed in range(4)])
    steps = torch.tensor([0, 7, 7, 700])
    together = exponential(keys, steps, 40)
    for row in (3, 1, 0, 2):
        alone = exponential(keys[row : row + 1], steps[row : row + 1], 11)
        assert torch.equal(alone[0], together[row, :11])


def test_other_keys_give_other_numbers():
    """Seed, sentence, stage and step each change the noise."""
    keys = [noise_key(*parts) for parts in [(1, 0, "a"), (2, 0, "a"), (1, 1, "a"), (1, 0, "b"), (11, 0, "a")]]
    rows = exponential(torch.tensor([*keys, keys[0]]), torch.tensor([0, 0, 0, 0, 0, 1]), 4)
    assert len({tuple(row.tolist()) for row in rows}) == len(rows)


def test_noise_is_exponential():
    """It is above zero with mean and variance one, without correlation between numbers or steps."""
    keys = torch.full((512,), noise_key("any"))
    rows = exponential(keys, torch.arange(512), 512).double()
    assert rows.min() > 0
    assert abs(float(rows.mean()) - 1) < 0.01
    assert abs(float(rows.var()) - 1) < 0.02
    centred = rows - 1
    for shifted in (centred.roll(1, 0), centred.roll(1, 1)):
        assert abs(float((centred * shifted).mean())) < 0.01
