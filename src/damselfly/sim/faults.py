"""What goes wrong, when and with whom: drawn from the seed before the run begins."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from damselfly.sim.scenario import Scenario


class Struck(Protocol):
    """What faults happen to."""

    def kill(self, number: int, *, is_silent: bool) -> None:
        """End a host for good."""

    def stall(self, number: int) -> None:
        """Let a host send nothing any more, though it says nothing."""

    def part(self, numbers: frozenset[int]) -> None:
        """Cut hosts off from all others."""

    def crash(self) -> None:
        """End the SuperNode."""

    def restart(self) -> None:
        """Start it again."""

    def fail_source(self) -> None:
        """Let the source answer nothing."""

    def recover_source(self) -> None:
        """Let it answer again."""


@dataclass(frozen=True, slots=True)
class Traits:
    """Hosts, by number, that are not as the others from the beginning."""

    closed: frozenset[int]
    corrupting: frozenset[int]
    leaving: frozenset[int]
    full: frozenset[int]


@dataclass(frozen=True, slots=True)
class TimedFault:
    """Something that happens at some moment."""

    at_s: float
    strike: Callable[[Struck], None]


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """All that goes wrong in one run."""

    traits: Traits
    timed: list[TimedFault] = field(default_factory=list)


def plan_faults(scenario: Scenario, bound_s: float, rng: random.Random) -> FaultPlan:
    """Draw who is struck, and when.

    Nobody is struck by two of them, as far as the shares allow it, so that a run shows what
    each does.
    """
    faults = scenario.faults
    order = rng.sample(range(scenario.hosts), scenario.hosts)
    taken = 0

    def some(share: float) -> list[int]:
        nonlocal taken
        count = round(share * scenario.hosts)
        chosen = [order[(taken + i) % len(order)] for i in range(min(count, len(order)))]
        taken += count
        return chosen

    def moment_s() -> float:
        half_s = (bound_s + scenario.arrival_s) / 2
        if not faults.stop_s:
            return half_s
        return rng.uniform(faults.start_s, faults.stop_s)

    plan = FaultPlan(
        Traits(
            closed=frozenset(some(faults.closed_share)),
            corrupting=frozenset(some(faults.corrupting_share)),
            leaving=frozenset(some(faults.leaving_share)),
            full=frozenset(some(faults.full_share)),
        )
    )
    for number in some(faults.dying_share):
        plan.timed.append(TimedFault(moment_s(), _dying(number, is_silent=faults.dying_is_silent)))
    for number in some(faults.stalling_share):
        plan.timed.append(TimedFault(moment_s(), _stalling(number)))
    if faults.partition_share and faults.partition_s:
        at_s, numbers = moment_s(), frozenset(some(faults.partition_share))
        plan.timed.append(TimedFault(at_s, lambda world: world.part(numbers)))
        plan.timed.append(
            TimedFault(at_s + faults.partition_s, lambda world: world.part(frozenset()))
        )
    if faults.restart_s:
        at_s = moment_s()
        plan.timed.append(TimedFault(at_s, lambda world: world.crash()))
        back_s = at_s + faults.restart_s
        plan.timed.append(TimedFault(back_s, lambda world: world.restart()))
    if faults.source_down_s:
        at_s = moment_s()
        plan.timed.append(TimedFault(at_s, lambda world: world.fail_source()))
        up_s = at_s + faults.source_down_s
        plan.timed.append(TimedFault(up_s, lambda world: world.recover_source()))
    return plan


def _dying(number: int, *, is_silent: bool) -> Callable[[Struck], None]:
    return lambda world: world.kill(number, is_silent=is_silent)


def _stalling(number: int) -> Callable[[Struck], None]:
    return lambda world: world.stall(number)
