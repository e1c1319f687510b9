"""A quantity is a number with how well it is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memplan.errors import UsageError
from memplan.quantity import Quantity
from memplan.units import parse_bytes


def test_the_three_ways_to_write_one() -> None:
    """A number, a range and quantiles are told apart by their syntax."""
    assert Quantity.parse("4096", float) == Quantity.exactly(4096)
    assert Quantity.parse("3000..5000", float) == Quantity.between(3000, 5000)
    assert Quantity.parse("p50=200,p99=1400", parse_bytes) == Quantity.quantiles(
        {0.5: 200, 0.99: 1400}
    )


@pytest.mark.parametrize(
    "text", ["p50=1,p50=2", "p50=3,p99=2", "px=1", "p50", "5..3", "p101=3", "q50=3", "-1", "p50=1,"]
)
def test_contradictions_are_refused(text: str) -> None:
    """What cannot be a distribution raises one clear error."""
    with pytest.raises(UsageError):
        Quantity.parse(text, parse_bytes)


def test_known_means_and_quantiles() -> None:
    """A range is uniform; the outermost quantiles carry the tails."""
    span = Quantity.between(10, 30)
    assert span.mean() == 20
    assert span.quantile(0.25) == 15
    assert Quantity.exactly(7).mean() == 7
    tailed = Quantity.quantiles({0.5: 100, 0.9: 200})
    assert tailed.mean() == pytest.approx(0.5 * 100 + 0.4 * 150 + 0.1 * 200)
    assert tailed.quantile(0.99) == 200
    assert tailed.to_dict() == {"p50": 100, "p90": 200}


@given(
    st.lists(st.floats(0, 1e9), min_size=1, max_size=6),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_the_quantile_function_does_not_fall(values: list[float], a: float, b: float) -> None:
    """A higher level never has a lower value, and the mean lies within the ends."""
    levels = [(i + 1) / (len(values) + 1) for i in range(len(values))]
    quantity = Quantity(tuple(levels), tuple(sorted(values)))
    low, high = sorted((a, b))
    assert quantity.quantile(low) <= quantity.quantile(high) * (1 + 1e-12) + 1e-9
    assert quantity.low * (1 - 1e-9) - 1e-300 <= quantity.mean() <= quantity.high * (1 + 1e-9)
