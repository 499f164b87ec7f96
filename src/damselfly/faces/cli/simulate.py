"""`damselfly simulate`: a swarm in virtual time, with the minds that run in real ones."""

import gc
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from damselfly.errors import OutputError, UsageError
from damselfly.settings import options_from

if TYPE_CHECKING:
    from damselfly.sim.scenario import Scenario

SEARCH_TOLD_S = 5.0


def simulate(
    scenario: Annotated[
        str, typer.Argument(help="What is imagined; default: 20 equal hosts.", metavar="FILE")
    ] = "",
    *,
    seed: Annotated[
        int | None, typer.Option(help="Of all that is drawn; the file's otherwise.", min=0)
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print the numbers as JSON.")] = False,
    pictures: Annotated[
        str, typer.Option(help="Write pictures (SVG) into this folder.", metavar="DIR")
    ] = "",
    search: Annotated[
        int,
        typer.Option(help="Try so many seeds, each with its own faults.", metavar="N", min=0),
    ] = 0,
) -> None:
    """Let a swarm run in virtual time, with the minds of the real one."""
    try:
        import numpy  # noqa: F401, ICN001, PLC0415  # whether it is there
    except ModuleNotFoundError as exc:
        raise UsageError(
            "simulate needs numpy, which is not installed: pip install 'damselfly[sim]'"
        ) from exc
    if search:
        if scenario or pictures:
            raise UsageError("--search draws its scenarios: leave FILE and --pictures out")
        _search(1 if seed is None else seed, search, as_json=json_)
    else:
        _simulate(_scenario(scenario, seed), as_json=json_, pictures=pictures)


def _scenario(path: str, seed: int | None) -> "Scenario":
    import dataclasses  # noqa: PLC0415

    from damselfly.sim.scenario import Scenario  # noqa: PLC0415  # needs numpy's neighbours

    found = options_from(path, Scenario, name="scenario") if path else Scenario()
    return found if seed is None else dataclasses.replace(found, seed=seed)


def _simulate(scenario: "Scenario", *, as_json: bool, pictures: str) -> None:
    from damselfly.sim.outcome import outcome_of  # noqa: PLC0415  # numpy takes a moment
    from damselfly.sim.pictures import pictures_of  # noqa: PLC0415
    from damselfly.sim.report import swarm_in_letters, table_of  # noqa: PLC0415
    from damselfly.sim.world import World  # noqa: PLC0415

    started_s = time.perf_counter()
    gc.disable()  # nothing of a run is garbage before its end, and there is much of it
    world = World(scenario)
    world.run()
    outcome = outcome_of(world)
    if pictures:
        _write(Path(pictures), pictures_of(world, outcome))
    if as_json:
        print(json.dumps(outcome.as_json(), indent=2))
    else:
        print(swarm_in_letters(world))
        print(table_of(scenario, outcome), end="")
    print(f"simulated in {time.perf_counter() - started_s:.1f} s", file=sys.stderr)
    if outcome.unfinished:
        raise typer.Exit(1)


def _write(folder: Path, texts: dict[str, str]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text)
    except OSError as exc:
        raise OutputError(path=str(folder), reason=exc.strerror or str(exc)) from exc


def _search(first_seed: int, count: int, *, as_json: bool) -> None:
    from damselfly.sim.searching import search as search_seeds  # noqa: PLC0415

    findings = []
    told_s = time.perf_counter()
    for tried, (seed, finding) in enumerate(search_seeds(first_seed, count), start=1):
        if finding is not None:
            findings.append({"seed": seed, "broken": finding.texts})
            for text in finding.texts:
                print(f"seed {seed}: {text}", file=sys.stderr)
            print(f"  again: damselfly simulate --search 1 --seed {seed}", file=sys.stderr)
        if time.perf_counter() - told_s >= SEARCH_TOLD_S:
            told_s = time.perf_counter()
            print(f"{tried} of {count} seeds tried", file=sys.stderr)
    if as_json:
        print(json.dumps({"first_seed": first_seed, "seeds": count, "findings": findings}))
    else:
        print(f"{count} seeds from {first_seed}: {len(findings)} broke a promise")
    if findings:
        raise typer.Exit(1)
