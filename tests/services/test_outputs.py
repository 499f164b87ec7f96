"""An output appears whole, or what was there before stays, and nothing beside it.

What cannot be put in place, such as a pipe, is written into and stays what it is.
"""

import io
import os
import resource
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from damselfly.errors import OutputError
from damselfly.services.outputs import Output, is_stream, may_write
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


@pytest.mark.parametrize("way", range(4))
def test_a_pipe_takes_the_bytes_and_stays_a_pipe(
    ways: list[Callable[[Output], object]], tmp_path: Path, way: int
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()

    ways[way](Output(str(pipe)))

    reader.join()
    assert read == [DATA]
    assert pipe.is_fifo()
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["pipe"]


@pytest.mark.parametrize("way", range(4))
def test_what_is_open_already_is_written_on_from_where_it_is(
    ways: list[Callable[[Output], object]], tmp_path: Path, way: int
) -> None:
    path = tmp_path / "file"
    with path.open("wb", buffering=0) as file:
        file.write(b"before ")

        ways[way](Output(f"/dev/fd/{file.fileno()}"))

        file.write(b" after")

    assert path.read_bytes() == b"before " + DATA + b" after"


def test_a_pipe_that_nobody_reads_any_more_is_told_of(content: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    path = f"/proc/self/fd/{writing}"

    with pytest.raises(OutputError, match=f"{path}: Broken pipe"):
        Output(path).place(str(content))

    os.close(writing)


def test_what_is_a_stream_and_what_is_not(tmp_path: Path) -> None:
    pipe, file, link = tmp_path / "pipe", tmp_path / "file", tmp_path / "link"
    os.mkfifo(pipe)
    file.touch()
    link.symlink_to(pipe)

    streams = [
        "/dev/null",
        "/dev/stdout",
        "/dev/stderr",
        "/dev/fd/7",
        "/proc/self/fd/7",
        pipe,
        link,
    ]
    files = ["/dev/shm/new", "/dev/stdoutx", "/dev/fd/", file, tmp_path / "new", tmp_path]

    assert [path for path in streams if not is_stream(str(path))] == []
    assert [path for path in files if is_stream(str(path))] == []


def test_a_stream_that_is_closed_or_only_read_takes_nothing() -> None:
    reading, writing = os.pipe()

    taking = [may_write(f"/dev/fd/{number}") for number in (writing, reading)]
    os.close(reading)
    os.close(writing)

    assert taking == [True, False]
    assert not may_write(f"/dev/fd/{writing}")
    assert may_write("/dev/null")
