"""How quickly it could be done at best, so that a time means something.

Source: Kumar & Ross, Peer-assisted file distribution: the minimum distribution time (2006).
"""

from collections.abc import Sequence

from damselfly.sim.scenario import Scenario


def fluid_bound_s(scenario: Scenario, rates: Sequence[float]) -> float:
    """Return in which time the last host could have everything, if all came at once.

    Args:
        scenario: What is imagined.
        rates: Each host's links, as a share of the scenario's.
    """
    size = scenario.size_bytes
    seed_rate = scenario.supernode.upload_rate_bytes_per_s
    upload_rate = seed_rate + scenario.upload_rate_bytes_per_s * sum(rates)
    bounds = [
        size / seed_rate,
        size / (scenario.download_rate_bytes_per_s * min(rates)),
        size * scenario.hosts / upload_rate,
    ]
    if not scenario.supernode.is_warm:
        bounds.append(size / scenario.supernode.source_rate_bytes_per_s)
    if scenario.rack_count and scenario.rack_rate_bytes_per_s:
        bounds.append(size / scenario.rack_rate_bytes_per_s)
    return max(bounds)


def own_bound_s(scenario: Scenario, rate: float) -> float:
    """Return in which time one host could have everything, if the others gave all they can."""
    source = scenario.supernode.source_rate_bytes_per_s
    links = [scenario.download_rate_bytes_per_s * rate, scenario.supernode.upload_rate_bytes_per_s]
    if scenario.rack_count and scenario.rack_rate_bytes_per_s:
        links.append(scenario.rack_rate_bytes_per_s)
    if not scenario.supernode.is_warm:
        links.append(source)
    return scenario.size_bytes / min(links)
