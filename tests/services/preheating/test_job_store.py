"""Guards that jobs are durable when a write ends, and get into their file beside the writes."""

import asyncio
import itertools
import shutil
from pathlib import Path

import pytest

from damselfly.core.preheating.jobs import Job, Kind, Wanted
from damselfly.errors import StorageUnusableError
from damselfly.services.preheating.job_store import JobStore


def a_job(job_id: int) -> Job:
    wanted = Wanted(kind=Kind.FILE, names=(f"http://source.test/{job_id}",))
    return Job(job_id=job_id, wanted=wanted, created_s=1.0)


async def jobs_in(path: Path) -> list[int]:
    """Return the jobs of a copy of a database."""
    store = JobStore(path)
    kept = await store.open(now_s=1.0)
    await store.close()
    return [job.job_id for job in kept.jobs]


def copied(path: Path, folder: Path, *endings: str) -> Path:
    folder.mkdir()
    for ending in endings:
        shutil.copy(f"{path}{ending}", folder)
    return folder / path.name


async def test_what_was_written_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "preheats.db"
    store = JobStore(path)
    await store.open(now_s=1.0)
    await store.put([a_job(1), a_job(2)], now_s=1.0)
    killed = copied(path, tmp_path / "killed", "", "-wal")
    await store.close()

    assert await jobs_in(killed) == [1, 2]


async def test_what_was_written_gets_into_the_file_beside_the_writes(tmp_path: Path) -> None:
    path = tmp_path / "preheats.db"
    store = JobStore(path, settle_s=0.0)
    await store.open(now_s=1.0)
    await store.put([a_job(1)], now_s=1.0)
    async with asyncio.timeout(10):
        for number in itertools.count():
            if await jobs_in(copied(path, tmp_path / str(number), "")) == [1]:
                break
    await store.close()


async def test_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    path = tmp_path / "preheats.db"
    path.write_bytes(b"no database" * 1000)

    with pytest.raises(StorageUnusableError, match="move the file away"):
        await JobStore(path).open(now_s=1.0)
