"""Guards the imagined network: fair, never more than the links carry, never less than it could."""

import random

import pytest

from damselfly.sim.network import Network

Route = tuple[int, ...]


def fair_rates(routes: list[Route], rates: list[float]) -> list[float]:
    """Return max-min fair rates the slow way: raise all, freeze those on a full link."""
    result = [0.0] * len(routes)
    growing = set(range(len(routes)))
    while growing:
        step = min(
            (rate - sum(result[f] for f, route in enumerate(routes) if link in route))
            / sum(link in routes[f] for f in growing)
            for link, rate in enumerate(rates)
            if any(link in routes[f] for f in growing)
        )
        for flow in growing:
            result[flow] += step
        for link, rate in enumerate(rates):
            if sum(result[f] for f, route in enumerate(routes) if link in route) > rate - 1e-9:
                growing -= {flow for flow in growing if link in routes[flow]}
    return result


def run_to_end(network: Network, *, step_s: float, limit_s: float = 1000.0) -> dict[int, float]:
    ends: dict[int, float] = {}
    while network.flow_count and network.now_s < limit_s:
        for ended in network.step(network.now_s + step_s):
            if network.end(ended.flow):
                ends[ended.flow] = ended.at_s
    return ends


def test_flow_alone_takes_the_time_of_its_slowest_link() -> None:
    network = Network([4.0, 1.0], route_links=2)
    flow = network.start((0, 1), 10.0, now_s=0.0)

    ends = run_to_end(network, step_s=0.3)

    assert ends == {flow: pytest.approx(10.0)}


def test_rates_settle_at_max_min_fairness() -> None:
    rng = random.Random(3)
    for _ in range(20):
        rates = [rng.choice([1.0, 2.0, 5.0]) for _ in range(12)]
        routes: list[Route] = [
            (rng.randrange(6), 6 + rng.randrange(6)) for _ in range(rng.randrange(1, 20))
        ]
        network = Network(rates, route_links=2)
        for route in routes:
            network.start(route, 1e9, now_s=0.0)
        for step in range(1, 11):
            network.step(float(step))

        carried = network.carried_bytes.copy()
        network.step(11.0)

        per_link = network.carried_bytes - carried
        expected = [0.0] * len(rates)
        for route, rate in zip(routes, fair_rates(routes, rates), strict=True):
            for link in route:
                expected[link] += rate
        assert per_link[: len(rates)].tolist() == pytest.approx(expected, rel=0.02)


def test_no_link_carries_more_than_its_rate_whatever_begins_and_ends() -> None:
    rng = random.Random(5)
    rates = [1.0] * 20
    network = Network(rates, route_links=2)
    for step in range(1, 200):
        now_s = (step - 1) * 0.25
        for _ in range(rng.randrange(4)):
            route = (rng.randrange(10), 10 + rng.randrange(10))
            network.start(route, rng.uniform(0.1, 2), now_s=now_s + rng.uniform(0, 0.2))
        for ended in network.step(step * 0.25):
            network.end(ended.flow)

        assert (network.carried_bytes[:20] <= step * 0.25 + 1e-6).all()


@pytest.mark.parametrize("step_s", [0.5, 0.1, 0.02])
def test_result_does_not_depend_on_the_step(step_s: float) -> None:
    network = Network([1.0] * 3, route_links=1)
    done = 0
    for link in range(3):
        for _ in range(2):
            network.start((link,), 1.0, now_s=0.0)
    last_s = 0.0
    while done < 60:
        for ended in network.step(network.now_s + step_s):
            network.end(ended.flow)
            done += 1
            last_s = ended.at_s
            network.start((ended.flow % 3,), 1.0, now_s=ended.at_s)

    assert last_s == pytest.approx(20.0, rel=0.03)


def test_cancelled_flow_gives_its_share_to_the_others() -> None:
    network = Network([1.0], route_links=1)
    kept, dropped = (network.start((0,), 10.0, now_s=0.0) for _ in range(2))
    network.step(2.0)
    network.cancel(dropped)

    ends = run_to_end(network, step_s=0.5)

    assert ends == {kept: pytest.approx(11.0)}
