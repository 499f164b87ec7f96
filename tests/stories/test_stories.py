"""Stories of the two minds: what happens, and what they want done because of it.

A story is a text file: commands, a line of dashes, the instructions they caused. A story
whose name begins with `download` is told to a `Download`, others to a `Scheduler`. With
REWRITE=1 in the environment the answers are written anew; then read the diff.
"""

import dataclasses
import os
import random
from collections.abc import Callable
from enum import Enum
from pathlib import Path

import pytest

from damselfly.core.access import Credential
from damselfly.core.blocks import BlockSet
from damselfly.core.downloading import events as dl
from damselfly.core.downloading.download import Download
from damselfly.core.peer import Host, HostId
from damselfly.core.scheduling import events as sn
from damselfly.core.scheduling.scheduler import Scheduler
from damselfly.core.task import Edition, EditionId, TaskId, Validators
from damselfly.core.topology import Location

FOLDER = Path(__file__).parent
STORIES = sorted(FOLDER.glob("*.txt"))
SLOTS = 1  # and one request ahead


def blocks(text: str) -> BlockSet:
    """Return the set written as `0-3,7`; `-` is empty."""
    indices: set[int] = set()
    for part in text.split(",") if text != "-" else ():
        first, _, last = part.partition("-")
        indices.update(range(int(first), int(last or first) + 1))
    return BlockSet.of(indices)


def refusal(which: str, shown: str) -> sn.SeedFailed:
    return sn.SeedFailed(
        task_id=task(which),
        error="SourceRefusedError",
        message="no",
        status=401,
        refused=Credential(shown),
    )


def task(name: str) -> TaskId:
    return TaskId(name)


def edition(name: str, task_name: str) -> Edition:
    etag = "" if name == "blind" else f'"{name}"'  # without one no part can be asked for later
    return Edition(
        edition_id=EditionId(name),
        task_id=task(task_name),
        block_bytes=1,
        size_bytes=8,
        validators=Validators(etag=etag),
    )


DOWNLOAD: dict[str, Callable[..., dl.Event]] = {
    "edition": lambda count, held="-": dl.EditionStarted(
        block_count=None if count == "?" else int(count), held=blocks(held), listed=blocks(held)
    ),
    "list": lambda which: dl.BlocksListed(blocks=blocks(which)),
    "seal": lambda count: dl.Sealed(block_count=int(count)),
    "offer": lambda *names: dl.ParentsOffered(host_ids=tuple(HostId(name) for name in names)),
    "link": lambda name, held="-", load="0": dl.ParentLinked(
        host_id=HostId(name), held=blocks(held), load=int(load)
    ),
    "link-far": lambda name, held="-": dl.ParentLinked(
        host_id=HostId(name), held=blocks(held), is_far=True
    ),
    "claim": lambda name, which: dl.ParentHeld(
        host_id=HostId(name), blocks=BlockSet(), claimed=blocks(which)
    ),
    "hold": lambda name, which: dl.ParentHeld(host_id=HostId(name), blocks=blocks(which)),
    "unlink": lambda name, how="ended": dl.ParentLost(host_id=HostId(name), loss=dl.Loss(how)),
    "ban": lambda name: dl.ParentBanned(host_id=HostId(name)),
    "grant": lambda index: dl.BlockGranted(block_index=int(index)),
    "store": lambda index, name="": dl.BlockStored(
        block_index=int(index), host_id=HostId(name) if name else None
    ),
    "fail": lambda index, name, why: dl.FetchFailed(
        block_index=int(index), host_id=HostId(name), failure=dl.Failure(why), retry_after_s=0.5
    ),
    "read": lambda name, index: dl.ReaderMoved(
        reader=int(name), block_index=None if index == "-" else int(index)
    ),
    "lose-supernode": lambda: dl.SuperNodeLost(),  # noqa: PLW0108  # as its neighbours
    "supernode-back": lambda: dl.SuperNodeBack(),  # noqa: PLW0108
    "supernode-fails": lambda word: dl.SuperNodeFailed(can_use_source=word == "use-source"),
    "permit": lambda word: dl.SourcePermitted(is_permitted=word == "yes"),
    "source": lambda word: dl.SourceAnswered(is_granted=word == "yes", retry_after_s=2.0),
    "source-ends": lambda word: dl.SourceEnded(is_ok=word == "ok"),
    "tick": lambda: dl.Ticked(),  # noqa: PLW0108
}

SCHEDULER: dict[str, Callable[..., sn.Event]] = {
    "host": lambda name, place="", *held: sn.HostConnected(
        host=Host(
            host_id=HostId(name), address=f"{name}:1", location=Location.parse(place.strip("-"))
        ),
        holdings=tuple(EditionId(each) for each in held),
    ),
    "host-closed": lambda name, place: sn.HostConnected(
        host=Host(host_id=HostId(name), address="", location=Location.parse(place))
    ),
    "lose": lambda name: sn.HostLost(host_id=HostId(name)),
    "join": lambda name, which, held="0", shown="": sn.PeerJoined(
        host_id=HostId(name),
        task_id=task(which),
        held_count=int(held),
        credential=Credential(shown),
    ),
    "want": lambda which: sn.SeedWanted(task_id=task(which)),
    "unwant": lambda which: sn.SeedUnwanted(task_id=task(which)),
    "open": lambda name, which, accepted="": sn.EditionOpened(
        edition=edition(name, which),
        accepted=None if accepted == "-" else Credential(accepted),
    ),
    "accept": lambda which, shown="": sn.AccessAnswered(
        task_id=task(which), credential=Credential(shown)
    ),
    "refuse": lambda which, shown="": sn.AccessAnswered(
        task_id=task(which), credential=Credential(shown), failure=refusal(which, shown)
    ),
    "seed-refused": lambda which, shown="": refusal(which, shown),
    "stopped": lambda which: sn.SeedStopped(task_id=task(which)),
    "tick": lambda: sn.Ticked(),  # noqa: PLW0108  # as above
    "seeded": lambda which: sn.SeedEnded(task_id=task(which)),
    "seed-fails": lambda which: sn.SeedFailed(
        task_id=task(which), error="SourceRefusedError", message="no", status=404
    ),
    "progress": lambda name, which, count, *flags: sn.PeerProgressed(
        host_id=HostId(name),
        edition_id=EditionId(which),
        held_count=int(count),
        is_hungry="hungry" in flags,
        is_idle="idle" in flags,
        is_whole="whole" in flags,
    ),
    "complain": lambda name, which, accused, index, why: sn.PeerComplained(
        host_id=HostId(name),
        edition_id=EditionId(which),
        accused=HostId(accused),
        block_index=int(index),
        reason=why,
    ),
    "leave": lambda name, which: sn.PeerLeft(host_id=HostId(name), task_id=task(which)),
    "ask-source": lambda name, which: sn.SourceAsked(host_id=HostId(name), task_id=task(which)),
}


def shown(value: object) -> str:
    """Return an instruction as a story writes it: hosts and editions by name alone."""
    match value:
        case Host():
            return str(value.host_id)
        case Edition():
            return str(value.edition_id)
        case Enum():
            return value.name
        case tuple():
            return "(" + ", ".join(shown(each) for each in value) + ")"
        case str():
            return value
        case _:
            pass
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = (f"{f.name}={shown(getattr(value, f.name))}" for f in dataclasses.fields(value))
        return f"{type(value).__name__}({', '.join(fields)})"
    return repr(value)


def told_by(path: Path) -> str:
    """Return a story with the answers of today."""
    mind: Download | Scheduler
    if path.stem.startswith("download"):
        mind = Download(
            slots=SLOTS,
            can_use_source="no_source" not in path.stem,
            host_id=HostId("me"),
            is_placed="rack" in path.stem,
            rng=random.Random(7),
            now_s=0.0,
        )
    else:
        mind = Scheduler(neighbours=4, children_max=2, fallbacks_max=1, rng=random.Random(7))
    now_s, out = 0.0, []
    for paragraph in path.read_text().strip().split("\n\n"):
        commands = [line for line in paragraph.partition("\n----")[0].splitlines() if line]
        answers: list[str] = []
        for line in commands:
            verb, *words = line.split()
            if verb == "#":
                continue
            if verb == "wait":
                now_s += float(words[0])
                continue
            if isinstance(mind, Download):
                answers += map(shown, mind.handle(DOWNLOAD[verb](*words), now_s=now_s))
            else:
                answers += map(shown, mind.handle(SCHEDULER[verb](*words), now_s=now_s))
            mind.check()
        is_comment = all(line.startswith("#") for line in commands)
        out.append("\n".join(commands if is_comment else [*commands, "----", *answers]))
    return "\n\n".join(out) + "\n"


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story_goes_as_it_is_written(path: Path) -> None:
    told = told_by(path)

    if os.environ.get("REWRITE"):
        path.write_text(told)
    assert told == path.read_text()


def test_there_are_stories_of_both_minds() -> None:
    kinds = {path.stem.startswith("download") for path in STORIES}

    assert kinds == {True, False}
