"""The hub's own client, `huggingface_hub`, reads through the swarm by HF_ENDPOINT."""

import asyncio
import hashlib
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from damselfly.services.options import SourceOptions
from faces.mirrors import Engine, an_engine
from fakes.hub import FakeHub
from services.hosts import a_host, a_supernode

pytestmark = pytest.mark.slow

WEIGHTS = random.Random(3).randbytes(3 << 20)
FILES = {"config.json": b'{"a": 1}', "weights/model.bin": WEIGHTS, "c.txt": b"c", "d.txt": b"d"}


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    async with FakeHub(token="t0ken") as hub:
        hub.files["org/model"] = dict(FILES)
        yield hub


@pytest.fixture
async def engine(hub: FakeHub, tmp_path: Path) -> AsyncIterator[Engine]:
    async with (
        a_supernode(tmp_path) as supernode,
        a_host(tmp_path, "a", supernode) as host,
        an_engine(host, "", source=SourceOptions(hub_endpoint=hub.url)) as engine,
    ):
        yield engine


async def python(program: str, engine: Engine, home: Path, token: str = "t0ken") -> tuple[str, str]:
    """Run a program that uses the hub's client."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        env={
            **os.environ,
            "HF_ENDPOINT": f"http://{engine._address}/hf",
            "HF_HOME": str(home),
            "HF_TOKEN": token,
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(40):
        out, err = await process.communicate()
    return out.decode().strip(), err.decode()


def gets_of(hub: FakeHub, path: str) -> int:
    return sum(method == "GET" and path in asked for method, asked in hub.requests)


async def test_a_snapshot_comes_through_the_swarm_and_its_files_are_read_once(
    hub: FakeHub, engine: Engine, tmp_path: Path
) -> None:
    program = "import huggingface_hub as h; print(h.snapshot_download('org/model'))"

    first, error = await python(program, engine, tmp_path / "first")
    second, _ = await python(program, engine, tmp_path / "second")

    assert first, error
    for folder in (first, second):
        for path, data in FILES.items():
            assert (Path(folder) / path).read_bytes() == data
    assert gets_of(hub, "/cdn/org/model/weights/model.bin") == 1
    assert hub.commit_of("org/model") in first


async def test_a_client_without_the_token_gets_nothing_that_is_in_the_cache(
    engine: Engine, tmp_path: Path
) -> None:
    program = "import huggingface_hub as h; print(h.hf_hub_download('org/model', '{}'))"
    await python(program.format("weights/model.bin"), engine, tmp_path / "first")

    out, error = await python(
        program.format("weights/model.bin"), engine, tmp_path / "second", token="wrong"
    )

    assert not out
    assert "401" in error


async def test_a_file_that_is_not_there_is_the_clients_own_error(
    engine: Engine, tmp_path: Path
) -> None:
    program = (
        "import huggingface_hub as h\n"
        "try: h.hf_hub_download('org/model', 'none.bin')\n"
        "except h.errors.EntryNotFoundError: print('not found')"
    )

    out, error = await python(program, engine, tmp_path / "home")

    assert out == "not found", error


async def test_a_head_tells_what_the_file_is_and_a_range_gives_a_part(
    hub: FakeHub, engine: Engine
) -> None:
    path = "/hf/org/model/resolve/main/weights/model.bin"
    digest = hashlib.sha256(WEIGHTS).hexdigest()

    head = await engine.ask(path, "HEAD", token="t0ken")
    part = await engine.ask(path, token="t0ken", Range="bytes=10-19")
    beyond = await engine.ask(path, token="t0ken", Range="bytes=99999999-")

    assert head.status == 200
    assert head.headers["ETag"] == f'"{digest}"'
    assert head.headers["Content-Length"] == str(len(WEIGHTS))
    assert head.headers["X-Repo-Commit"] == hub.commit_of("org/model")
    assert "Location" not in head.headers
    assert (part.status, part.body) == (206, WEIGHTS[10:20])
    assert beyond.status == 416


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("file", ["weights/model.bin", "config.json"])
async def test_who_has_a_file_already_is_told_so(engine: Engine, method: str, file: str) -> None:
    path = f"/hf/org/model/resolve/main/{file}"
    etag = (await engine.ask(path, "HEAD", token="t0ken")).headers["ETag"]

    same = await engine.ask(path, method, token="t0ken", If_None_Match=etag)
    other = await engine.ask(path, method, token="t0ken", If_None_Match='"x"')
    refused = await engine.ask(path, method, If_None_Match=etag)

    assert (same.status, same.body, same.headers["ETag"]) == (304, b"", etag)
    assert other.status == 200
    assert refused.status == 401


async def test_pages_of_a_tree_lead_back_here(engine: Engine) -> None:
    tree = await engine.ask("/hf/api/models/org/model/tree/main", token="t0ken")

    assert tree.status == 200
    assert f"<http://{engine._address}/hf/api/models/org/model/tree" in tree.headers["Link"]


async def test_a_hub_that_does_not_answer_is_named(tmp_path: Path) -> None:
    options = SourceOptions(hub_endpoint="http://127.0.0.1:1")
    async with a_host(tmp_path, "a") as host, an_engine(host, "", source=options) as engine:
        told = await engine.ask("/hf/org/model/resolve/main/a")

    assert told.status == 502
    assert b"http://127.0.0.1:1 cannot be reached" in told.body


async def test_disk_that_is_full_passes_files_on(hub: FakeHub, tmp_path: Path) -> None:
    options = SourceOptions(hub_endpoint=hub.url)
    async with (
        a_host(tmp_path, "a", quota_bytes=1) as host,
        an_engine(host, "", source=options) as engine,
    ):
        for path, data in FILES.items():
            told = await engine.ask(
                f"/hf/org/model/resolve/main/{path}", token="t0ken", Range="bytes=0-"
            )
            assert told.body == data
