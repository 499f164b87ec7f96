"""Guards when everything is looked at for garbage: when there may be some, and only then."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from damselfly.services.supernode.garbage import FullLooks


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
