"""A recorded step gives what the step itself gives, for any batch; the recorder here replays by running it again."""

import pytest
import torch

from streamer.engine.device.cuda_graphs import GraphedStep, StepShape, row_counts

SHAPES = [StepShape(rows, length) for rows in (1, 2, 4) for length in (8, 16)] + [StepShape(4, 16, True)]


class Counter:
    """A step with a state: adds each row's number to a total, and returns the total."""

    def __init__(self) -> None:
        self.totals = torch.zeros(5, dtype=torch.long)
        self.shapes = []

    def __call__(self, rows, *, length, is_filtered):
        self.shapes.append((len(rows), length, is_filtered))
        self.totals.index_add_(0, rows[:, 0], rows[:, 1])
        return torch.stack([self.totals[rows[:, 0]], rows[:, 1]], dim=1)


def recorded():
    step, told = Counter(), []
    graphed = GraphedStep(step, torch.tensor([4, 0]), lambda run: run)
    graphed.record(SHAPES, lambda: told.append(None))
    assert len(told) == len(SHAPES)
    return step, graphed


def test_recording_harms_no_row():
    """The runs that record a step change only the total of the padding row."""
    step, _ = recorded()
    assert step.totals[:4].tolist() == [0] * 4


def test_a_padded_batch_gives_the_results_of_the_step_itself():
    """That holds for batches of any size, after larger and smaller ones, without any rows of earlier batches."""
    step, graphed = recorded()
    plain = Counter()
    for places in ([0, 1, 2], [3], [0, 3], [1, 2, 3, 0], [2]):
        rows = torch.tensor([[place, place + 1] for place in places])
        results = graphed(rows, length=5, is_filtered=False)
        assert torch.equal(results, plain(rows, length=5, is_filtered=False))
        assert torch.equal(step.totals, plain.totals)


@pytest.mark.parametrize(
    ("num_rows", "length", "is_filtered", "expected"),
    [(1, 8, False, (1, 8)), (3, 9, False, (4, 16)), (2, 16, False, (2, 16)), (1, 3, True, (4, 16))],
)
def test_the_smallest_shape_that_holds_the_batch_is_replayed(num_rows, length, is_filtered, expected):
    """Rows and length are rounded up to a recorded shape."""
    step, graphed = recorded()
    graphed(torch.zeros(num_rows, 2, dtype=torch.long), length=length, is_filtered=is_filtered)
    assert step.shapes[-1] == (*expected, is_filtered)


def test_a_batch_beyond_all_shapes_runs_the_step_itself():
    """It is neither truncated nor run at a wrong shape."""
    step, graphed = recorded()
    results = graphed(torch.tensor([[0, 1]] * 5), length=3, is_filtered=False)
    assert step.shapes[-1] == (5, 3, False)
    assert results[-1].tolist() == [5, 1]


@pytest.mark.parametrize(("most", "counts"), [(1, [1]), (6, [1, 2, 4, 6]), (64, [1, 2, 4, 8, 16, 32, 64])])
def test_row_counts_double(most, counts):
    """There are few shapes, and none has more than twice the rows that are needed."""
    assert row_counts(most) == counts
