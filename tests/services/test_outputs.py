"""An output appears whole, or what was there before stays, and nothing beside it."""

import io
import os
import resource
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from damselfly.errors import OutputError
from damselfly.services.outputs import Output
from damselfly.storage.memory import MemoryStore
from storage.builders import HandClock, a_content, an_edition, fill, seal

DATA = a_content()


@pytest.fixture
def content(tmp_path: Path) -> Path:
    path = tmp_path / "cache" / "content"
    path.parent.mkdir()
    path.write_bytes(DATA)
    path.chmod(0o600)
    return path


@pytest.fixture
def ways(content: Path) -> Iterator[list[Callable[[Output], object]]]:
    store = MemoryStore(now_wall_s=HandClock())
    entry = store.open(an_edition())
    fill(entry, DATA)
    seal(entry, DATA)
    yield [
        lambda output: output.place_entry(entry),
        lambda output: output.place(str(content)),
        lambda output: output.copy(io.BytesIO(DATA), len(DATA)),
        lambda output: output.write(DATA),
    ]
    store.close()


@pytest.mark.parametrize("way", range(4))
def test_an_output_takes_the_place_of_what_was_there(
    ways: list[Callable[[Output], object]], tmp_path: Path, way: int
) -> None:
    target = tmp_path / "out" / "file"
    target.parent.mkdir()
    target.write_bytes(b"before")
    mask = os.umask(0o027)

    try:
        ways[way](Output(str(target)))
    finally:
        os.umask(mask)

    assert target.read_bytes() == DATA
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("way", range(4))
def test_what_cannot_be_put_in_place_leaves_nothing(
    ways: list[Callable[[Output], object]], tmp_path: Path, way: int
) -> None:
    target = tmp_path / "out" / "folder"
    target.mkdir(parents=True)

    with pytest.raises(OutputError, match=str(target)):
        ways[way](Output(str(target)))

    assert list(target.parent.iterdir()) == [target]


def test_a_stream_that_ends_early_makes_no_output(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="stopped sending"):
        Output(str(tmp_path / "file")).copy(io.BytesIO(DATA), len(DATA) + 1)

    assert not list(tmp_path.iterdir())


def test_an_output_for_which_there_is_room_in_part_is_none(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(DATA) - 1, limits[1]))
    try:
        with pytest.raises(OutputError, match="too large"):
            Output(str(tmp_path / "file")).write(DATA)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert list(tmp_path.iterdir()) == []
