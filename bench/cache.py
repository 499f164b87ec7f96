"""A SuperNode with many cached tasks: seconds from its start to healthy, memory for each task.

    python bench/cache.py [--tasks 100000] [--folder DIR [--fill]]

Makes a cache as years of use leave it, of small contents; then starts a
SuperNode on it, after an end in good order and after a SIGKILL, and asks `/healthy` until it
answers. Memory is what it has more than a SuperNode with an empty cache, both when idle.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import blake3
import crc32c
import msgspec

from damselfly.core.blocks import Span
from damselfly.core.digest import Digest
from damselfly.core.task import Edition, EditionId, TaskId, Validators
from damselfly.storage.catalog import EditionFile
from damselfly.storage.catalog_log import CatalogLog, Put
from damselfly.storage.disk import DiskStore, boot_id
from damselfly.storage.disk_entry import folder_of
from damselfly.storage.journal import Record

BIN = Path(sys.executable).parent
HEALTHY_S_WANTED = 5.0
TASK_BYTES_WANTED = 2048
STARTS = 3
SETTLED_S = 12.0  # the first round of settling is over
BODY = b"a small content\n" * 8


def fill(folder: Path, count: int) -> None:
    """Make a cache with the files that a store leaves, and let a store look at some of them.

    A store would wait for the disk three times for each entry: minutes that measure nothing.
    """
    with a_store(folder):
        pass
    rows = [make_entry(folder, number) for number in range(count)]
    catalog = CatalogLog(folder / "catalog", boot_id=boot_id())
    catalog.rewrite(rows, is_closing=True)
    with a_store(folder) as store:
        for row in rows[:: max(count // 100, 1)]:
            entry = store.find(EditionId(row.edition_id))
            assert entry is not None
            assert entry.read_span(Span(0, len(BODY))) == BODY


@contextlib.contextmanager
def a_store(folder: Path) -> Iterator[DiskStore]:
    """Give the store in a folder."""
    store = DiskStore(folder, boot_id=boot_id(), now_wall_s=time.time)
    yield store
    store.close()


def make_entry(root: Path, number: int) -> Put:
    """Make a sealed entry of a small content, and return its row in the catalog."""
    name = hashlib.sha256(str(number).encode()).hexdigest()
    digest = blake3.blake3(BODY)
    edition = Edition(
        edition_id=EditionId(name[:32]),
        task_id=TaskId(name),
        block_bytes=1 << 20,
        size_bytes=len(BODY),
        validators=Validators(etag=f'"{name[:32]}"', last_modified="Mon, 02 Jan 2006 15:04:05 GMT"),
        digest=Digest("blake3", digest.hexdigest()),
        display_url=f"https://models.example/org/name/resolve/main/file-{number}.bin",
    )
    folder = folder_of(root, edition)
    folder.mkdir(parents=True, mode=0o700)
    (folder / "content").write_bytes(BODY)
    record = Record(0, len(BODY), digest.digest(), crc32c.crc32c(BODY))
    (folder / "journal").write_bytes(record.encode())
    known = EditionFile.of(
        edition,
        boot_id=boot_id(),
        is_sealed=True,
        is_public=True,
        validated_wall_s=time.time(),
        used_wall_s=time.time(),
        content_mtime_ns=(folder / "content").stat().st_mtime_ns,
        content_bytes=len(BODY),
        is_settled=True,
    )
    (folder / "edition.json").write_bytes(msgspec.json.encode(known))
    return Put(known, len(BODY))


class Running:
    """A SuperNode.

    Attributes:
        healthy_s: From its start to its first answer.
        cpu_s: What it had computed by then, which does not depend on who else is there.
    """

    def __init__(self, folder: Path) -> None:
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [BIN / "damselfly", "supernode", "--listen", "127.0.0.1:0", "--data", folder],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        address = self._process.stdout.readline().split()[-1]
        self._url = f"http://{address}"
        assert json.loads(self._get("/healthy"))["status"] == "ok"
        self.healthy_s = time.perf_counter() - started
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        self.cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def _get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self._url}{path}", timeout=60) as answer:
            body: bytes = answer.read()
            return body

    def editions(self) -> int:
        """Return how many it has."""
        for line in self._get("/metrics").decode().splitlines():
            if line.startswith("damselfly_cache_editions "):
                return int(float(line.split()[1]))
        return -1

    def idle_bytes(self) -> int:
        """Return its resident memory when it has nothing to do."""
        time.sleep(SETTLED_S)
        fields = Path(f"/proc/{self._process.pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")

    def end(self, number: signal.Signals) -> float:
        """End it, and return how long that took."""
        started = time.perf_counter()
        self._process.send_signal(number)
        self._process.wait(120)
        return time.perf_counter() - started


def measure(folder: Path, count: int) -> None:
    """Measure, and print the table."""
    empty = Running(folder / "empty")
    empty_bytes = empty.idle_bytes()
    empty.end(signal.SIGTERM)
    print(f"empty cache: healthy after {empty.healthy_s:.2f} s, {empty_bytes / 1e6:.1f} MB idle")

    full = Running(folder / "full")
    full_bytes = full.idle_bytes()
    assert full.editions() == count
    ended_s = full.end(signal.SIGTERM)
    task_bytes = (full_bytes - empty_bytes) / count
    killed_s = []
    for _ in range(STARTS + 1):
        again = Running(folder / "full")
        killed_s.append(again.healthy_s)  # the first one is after an end in good order
        again.end(signal.SIGKILL)
    last = Running(folder / "full")
    time.sleep(3)  # its gauges
    assert last.editions() == count
    last.end(signal.SIGTERM)
    told = ", ".join(f"{each:.2f}" for each in killed_s[1:])

    def row(what: str, value: str, wanted: str) -> None:
        print(f"  {what:<52} {value:>12}   wanted <= {wanted}")

    print(f"SuperNode with {count} cached tasks:")
    wanted = f"{HEALTHY_S_WANTED:g} s"
    row("healthy after an end in good order", f"{full.healthy_s:.2f} s", wanted)
    row(f"healthy after a SIGKILL, the middle of {told}", f"{median(killed_s[1:]):.2f} s", wanted)
    cpu = f"{full.cpu_s:.2f} s, {empty.cpu_s:.2f} s with an empty cache"
    print(f"  {'CPU until healthy':<52} {cpu}")
    row("memory per idle cached task", f"{task_bytes:.0f} bytes", f"{TASK_BYTES_WANTED} bytes")
    print(f"  {'end in good order takes':<52} {ended_s:>10.2f} s")
    catalog = (folder / "full" / "catalog").stat().st_size
    print(f"  {'catalog per task':<52} {catalog / count:>6.0f} bytes")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=100_000)
    parser.add_argument("--folder", help="stays, and is used again")
    parser.add_argument("--fill", action="store_true", help="only make it")
    arguments = parser.parse_args()
    folder = Path(arguments.folder or tempfile.mkdtemp(prefix="damselfly-bench-"))
    try:
        if not (folder / "full").exists():
            fill(folder / "full", arguments.tasks)
        if not arguments.fill:
            measure(folder, arguments.tasks)
    finally:
        if not arguments.folder:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
