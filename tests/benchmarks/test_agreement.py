"""Two formats go through the same sentence in step, and a format agrees with itself."""

from benchmarks.agreement import STAGES, measure


def test_a_format_beside_itself_is_the_same():
    """Every stage is compared, and nothing differs."""
    rows = measure("float32", ("Yes.",))
    assert [row["stage"] for row in rows] == list(STAGES)
    for row in rows:
        assert row["distributions"] > 10
        assert row["same_best_token"] == 1
        assert row["p99_divergence_nats"] == 0


def test_int8_is_near():
    """Decoding with int8 changes the format and not the model: the best token is nearly always the same."""
    rows = measure("int8", ("Yes.",))
    assert all(row["same_best_token"] > 0.9 for row in rows)
    assert 0 < rows[0]["mean_divergence_nats"] < 0.05
