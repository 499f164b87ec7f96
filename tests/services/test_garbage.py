"""Guards when everything is looked at for garbage: when there may be some, and only then."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from damselfly.services.supernode.garbage import NEVER, FullLooks, collecting_garbage
from services.hosts import a_supernode


class Host:
    """Holds itself, as a session and its socket hold each other."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _nobody_else_looks() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_everything_is_looked_at_again_only_when_it_has_become_more() -> None:
    looks = FullLooks()
    assert looks.look()
    assert not looks.look()
    hosts = [Host() for _ in range(len(gc.get_objects()))]
    gone = weakref.ref(hosts[0])
    gc.collect(1)  # they have outlived their youth when they go
    hosts.clear()
    assert gone() is not None

    assert looks.look()

    assert gone() is None
    assert not looks.look()


async def test_a_process_of_ours_looks_in_its_own_time_and_at_its_end_as_python_does() -> None:
    before = gc.get_threshold()

    with collecting_garbage():
        assert gc.get_threshold()[2] == NEVER
        assert gc.get_freeze_count() > 0

    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


async def test_a_supernode_in_somebodys_process_leaves_that_as_it_is(tmp_path: Path) -> None:
    before = gc.get_threshold()

    async with a_supernode(tmp_path):
        assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)
