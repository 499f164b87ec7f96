"""How many connections read a content: those that make it faster."""

import pytest

from damselfly.core.ranging import Ranging


def tried(rates: list[float], *, connections_max: int = 16, enough: float = 1000.0) -> list[int]:
    ranging = Ranging(connections_max=connections_max, enough_bytes_per_s=enough)
    return [ranging.measure(rate) for rate in rates]


@pytest.mark.parametrize(
    ("rates", "counts"),
    [
        ([50, 200, 800, 800], [4, 16, 16, 16]),  # each connection has a share of its own
        ([500, 520, 500], [4, 1, 1]),  # the first has all there is
        ([50, 200, 220, 10], [4, 16, 4, 4]),  # there is an end to it
        ([2000, 10], [1, 1]),  # it is enough
        ([760, 10], [1, 1]),  # ... and so is what a link carries of contents
        ([50, 1200, 1200], [4, 4, 4]),
    ],
)
def test_connections_follow_the_rates(rates: list[float], counts: list[int]) -> None:
    assert tried(rates) == counts


def test_there_are_never_more_than_the_budget_allows() -> None:
    assert tried([50, 200, 300], connections_max=6) == [4, 6, 6]
    assert tried([50, 50], connections_max=1) == [1, 1]
    assert Ranging(connections_max=2, enough_bytes_per_s=1, connections=9).connections == 2
