"""Python programs read through the swarm: whole files, files from anywhere, and data frames."""

import asyncio
import io
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel

import damselfly
from damselfly.errors import (
    DaemonUnreachableError,
    DigestMismatchError,
    OutputError,
    SourceRefusedError,
    TaskSpecError,
)
from damselfly.faces.python.filesystem import SwarmFileSystem
from fakes.source import FakeContent, FakeSource

pytestmark = pytest.mark.slow

DATA = random.Random(5).randbytes(5_000_000)


class Served:
    """A source in a thread of its own, since the client waits in the test's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, source: FakeSource) -> None:
        self._loop = loop
        self.source = source

    def add(self, path: str, data: bytes, **faults: object) -> str:
        self.source.add(path, data, **faults)
        return self.source.url(path)

    def release(self, content: FakeContent) -> None:
        self._loop.call_soon_threadsafe(content.release)


@contextmanager
def a_served_source() -> Iterator[Served]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    source = FakeSource()
    try:
        asyncio.run_coroutine_threadsafe(source.__aenter__(), loop).result(10)
        yield Served(loop, source)
        asyncio.run_coroutine_threadsafe(source.__aexit__(None, None, None), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture
def served() -> Iterator[Served]:
    with a_served_source() as served:
        yield served


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[damselfly.Client]:
    """A client on a host without daemon."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("damselfly.services.places.SYSTEM", tmp_path / "none")
    with damselfly.Client() as client:
        yield client


def test_a_file_is_downloaded_whole_with_its_progress(
    served: Served, client: damselfly.Client, tmp_path: Path
) -> None:
    url = served.add("/f", DATA)
    seen: list[int] = []

    finished = client.download(
        url, tmp_path / "f", progress=lambda progress: seen.append(progress.done_bytes)
    )

    assert (tmp_path / "f").read_bytes() == DATA
    assert finished.size_bytes == len(DATA)
    assert seen
    client.download(url, tmp_path / "g", progress=True)  # with a bar
    assert (tmp_path / "g").read_bytes() == DATA


@pytest.fixture(params=["from the cache's file", "over the socket"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read as one who may read the cache, or may not; root always may."""
    if request.param == "over the socket":
        monkeypatch.setattr(os, "access", lambda *_: False)


@pytest.mark.usefixtures("way")
def test_a_file_is_read_from_anywhere(served: Served, client: damselfly.Client) -> None:
    url = served.add("/f", DATA)

    with client.open(url) as file:
        assert file.seekable()
        assert not file.writable()
        assert file.seek(-10, io.SEEK_END) == len(DATA) - 10
        assert file.read() == DATA[-10:]
        assert file.read(1) == b""
        file.seek(1_000_000)
        assert file.read(5) == DATA[1_000_000:1_000_005]
        file.seek(700_000, io.SEEK_CUR)
        assert file.read(5) == DATA[1_700_005:1_700_010]
        file.seek(4_900_000)
        assert file.read(200_000) == DATA[4_900_000:]
        file.seek(0)
        assert file.read() == DATA
        with pytest.raises(ValueError, match=r"before the beginning|negative"):
            file.seek(-1)


@pytest.mark.usefixtures("way")
def test_a_file_is_read_while_its_source_still_sends(
    served: Served, client: damselfly.Client
) -> None:
    url = served.add("/f", DATA, stall_after_bytes=3_000_000)

    with client.open(url) as file:
        assert file.read(1_000_000) == DATA[:1_000_000]  # the source has not sent the rest
        served.release(served.source.contents["/f"])
        assert file.read() == DATA[1_000_000:]


@pytest.mark.usefixtures("way")
def test_a_source_that_tells_no_length_is_read_to_its_end(
    served: Served, client: damselfly.Client
) -> None:
    url = served.add("/f", DATA, chunked=True)

    with client.open(url) as file:
        assert file.read() == DATA


def test_what_goes_wrong_has_its_class(
    served: Served, client: damselfly.Client, tmp_path: Path
) -> None:
    url = served.add("/f", DATA)
    wrong = f"sha256:{'0' * 64}"
    with pytest.raises(SourceRefusedError, match="404"):
        client.open(served.source.url("/nothing"))
    with pytest.raises(TaskSpecError, match="URL"):
        client.open("nonsense")
    with pytest.raises(DigestMismatchError), client.open(url, digest=wrong) as file:
        file.read()
    with pytest.raises(DigestMismatchError):
        client.download(url, tmp_path / "f", digest=wrong)
    with pytest.raises(OutputError, match="name a file"):
        client.download(url, tmp_path)
    with pytest.raises(DaemonUnreachableError, match="nobody answers"):
        damselfly.Client(socket=str(tmp_path / "no.sock"))
    assert not (tmp_path / "f").exists()


async def test_the_same_in_an_event_loop(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("damselfly.services.places.SYSTEM", tmp_path / "none")
    url = served.add("/f", DATA)

    async with damselfly.AsyncClient() as client:
        told: list[Any] = []
        await client.download(url, tmp_path / "f", progress=told.append)
        assert told[-1].done_bytes <= told[-1].size_bytes == len(DATA)
        parts = [client.read(url, start, start + 10) for start in (0, 4_000_000)]
        assert [await part for part in parts] == [DATA[:10], DATA[4_000_000:4_000_010]]
        assert await client.read(url, 4_999_990) == DATA[-10:]

    assert (tmp_path / "f").read_bytes() == DATA


@pytest.mark.parametrize("way", ["download", "read"])
async def test_what_is_cancelled_in_an_event_loop_ends(
    served: Served, client: damselfly.Client, tmp_path: Path, way: str
) -> None:
    url = served.add("/f", DATA, stall_after_bytes=3_000_000)

    async with damselfly.AsyncClient(socket=client.socket) as again:
        work = again.read(url) if way == "read" else again.download(url, tmp_path / "f")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await work
    try:
        # The end of a loop waits for its threads, and so it waited for the source.
        async with asyncio.timeout(5):
            await asyncio.get_running_loop().shutdown_default_executor()
    finally:
        served.release(served.source.contents["/f"])

    assert not (tmp_path / "f").exists()


# --- what other libraries read


@pytest.fixture
def fs(client: damselfly.Client) -> SwarmFileSystem:
    return SwarmFileSystem(socket=client._local.path, skip_instance_cache=True)


def test_fsspec_finds_the_file_system_by_its_names(
    served: Served, client: damselfly.Client
) -> None:
    url = served.add("/f", DATA)
    options = {"damselfly": {"socket": client._local.path}}

    with fsspec.open(f"damselfly::{url}", **options) as file:
        assert file.read() == DATA
    with fsspec.open(f"dfly://{url}", socket=client._local.path) as file:
        assert file.read(3) == DATA[:3]
    assert SwarmFileSystem._strip_protocol("dfly://host/a") == "https://host/a"


def test_the_file_system_reads_and_nothing_else(served: Served, fs: SwarmFileSystem) -> None:
    url = served.add("/f", DATA)

    assert fs.cat_file(url, 10, 20) == DATA[10:20]
    assert fs.size(url) == len(DATA)
    assert fs.exists(url)
    assert fs.isfile(url)
    assert not fs.isdir(url)
    assert not fs.exists(served.source.url("/nothing"))
    assert fs.ls(url, detail=False) == [url]
    with pytest.raises(FileNotFoundError):
        fs.open(served.source.url("/nothing"))
    with pytest.raises(NotImplementedError, match="only be read"):
        fs.open(url, "wb")


def test_pyarrow_reads_the_columns_that_it_needs(served: Served, fs: SwarmFileSystem) -> None:
    table = pa.table({"a": np.arange(500_000), "b": np.random.default_rng(1).random(500_000)})
    file = io.BytesIO()
    pq.write_table(table, file, row_group_size=50_000)
    url = served.add("/t.parquet", file.getvalue())

    read = pq.read_table(url, filesystem=fs, columns=["b"])

    assert read.column("b").equals(table.column("b"))


def test_pandas_reads_by_the_url_alone(served: Served, client: damselfly.Client) -> None:
    frame = pd.DataFrame({"x": range(1000), "y": [str(n) for n in range(1000)]})
    url = served.add("/t.csv", frame.to_csv(index=False).encode())
    options = {"socket": client._local.path}

    read = pd.read_csv(f"dfly://{url}", storage_options=options, dtype={"y": str})

    pd.testing.assert_frame_equal(read, frame)


def test_safetensors_are_read_from_a_file_of_the_swarm(
    served: Served, client: damselfly.Client, tmp_path: Path
) -> None:
    tensors = {"w": np.arange(10_000, dtype=np.float32), "b": np.zeros(3, dtype=np.float32)}
    url = served.add("/m.safetensors", safetensors.numpy.save(tensors))

    with client.open(url) as file:
        from_stream = safetensors.numpy.load(file.read())
    client.download(url, tmp_path / "m.safetensors")
    with safetensors.safe_open(tmp_path / "m.safetensors", framework="np") as opened:
        mapped = opened.get_tensor("w")

    np.testing.assert_array_equal(from_stream["w"], tensors["w"])
    np.testing.assert_array_equal(mapped, tensors["w"])


def test_a_program_that_ends_without_closing_leaves_nothing_behind(
    served: Served, tmp_path: Path
) -> None:
    url = served.add("/f", DATA)
    program = f"import damselfly; print(len(damselfly.Client().open({url!r}).read()))"
    (tmp_path / "tmp").mkdir()

    ended = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TMPDIR": str(tmp_path / "tmp"), "XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert (ended.returncode, ended.stdout) == (0, f"{len(DATA)}\n"), ended.stderr
    assert "Traceback" not in ended.stderr
    assert list((tmp_path / "tmp").iterdir()) == []


@contextmanager
def a_notebook() -> Iterator[BlockingKernelClient]:
    manager, kernel = start_new_kernel(startup_timeout=30)
    try:
        yield kernel
    finally:
        kernel.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_notebook_needs_three_lines_and_shows_a_bar(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # rich draws bars on terminals; in a notebook it showed nothing but a warning.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    url = served.add("/f", DATA, stall_after_bytes=3_000_000)
    output = tmp_path / "<f>.bin"
    pictures: list[str] = []

    def see(message: dict[str, Any]) -> None:
        if "data" in message["content"]:
            pictures.append(message["content"]["data"].get("text/html", ""))
        if pictures and "<progress" in pictures[-1]:
            served.release(served.source.contents["/f"])

    cell = f"import damselfly\n\ndamselfly.download({url!r}, {str(output)!r});"
    with a_notebook() as kernel:
        reply = kernel.execute_interactive(cell, output_hook=see, timeout=40)

    assert reply["content"]["status"] == "ok", reply["content"]
    assert output.read_bytes() == DATA
    assert "<progress" in "".join(pictures)
    assert pictures[-1].startswith("&lt;f&gt;.bin: 5.0 MB in ")
    assert "ipywidgets" not in "".join(pictures)


def test_a_notebook_sees_that_a_file_is_not_there(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    pictures: list[str] = []

    def see(message: dict[str, Any]) -> None:
        if "data" in message["content"]:
            pictures.append(message["content"]["data"]["text/plain"])

    url = served.source.url("/nothing")
    cell = f"import damselfly\n\ndamselfly.download({url!r}, {str(tmp_path / 'f')!r});"
    with a_notebook() as kernel:
        reply = kernel.execute_interactive(cell, output_hook=see, timeout=40)

    assert reply["content"]["ename"] == "SourceRefusedError"
    assert pictures[-1] == "f: not there"


def test_a_file_may_be_called_as_a_colour(
    served: Served, client: damselfly.Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client.download(served.add("/f", DATA), tmp_path / "[red]", progress=True)

    assert "[red]" in capsys.readouterr().out
